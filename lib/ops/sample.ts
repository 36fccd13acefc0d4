import { check } from '../errors.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { site } from './random.ts'

export interface SampleOptions {
  /** Divides the logits; 0 takes the largest. Default 1. */
  temperature?: number
  /** Only the so many largest; 0 is off. Default 0. */
  topK?: number
  /** Only the fewest tokens that together have this probability; 1 is off. Default 1. */
  topP?: number
  /** A whole number below 2^53. */
  seed: number
  /** Which token of the text this is: each step draws anew. */
  step: number
  /** Number of the first row, where a batch is drawn in parts. Default 0. */
  row?: number
}

/**
 * Draws a token from each row of logits [N, V]; ids i32[N]. The same seed, step and row give the same token on every
 * device, for the same logits; equal logits go by id. It has no gradient. Errors: ERR_OPTION, ERR_SHAPE, ERR_DTYPE.
 */
export function sample(logits: Tensor, options: SampleOptions): Tensor {
  const { temperature = 1, topK = 0, topP = 1, seed, step, row = 0 } = options
  check(Number.isSafeInteger(seed) && seed >= 0, 'ERR_OPTION', () => `seed: ${seed}, expected a whole number from 0`)
  const [low, high] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)]
  const struct = Float64Array.of(temperature, topK, topP, site('generate', 'sample'), step, low, high, row)
  return new Tensor(native.sample(logits.handle, struct))
}
