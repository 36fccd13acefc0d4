import { type Random, random } from '../random.ts'
import { nth } from '../tuple.ts'
import type { Example } from './example.ts'

/** Changes examples as they go into a batch; the data themselves stay as they are. */
export interface Transform {
  /** What it is called; its random numbers are keyed by it. */
  readonly name: string
  /** In words, all that decides what it does: a checkpoint goes on under an equal one alone. */
  readonly key: string
  /** Examples have their labels only from here, so that evaluation goes through it too. Default false. */
  readonly labels?: boolean
  /** An example as the model is to see it; equal for equal numbers. */
  apply(example: Example, rng: Random): Example
}

/** Examples as a transform leaves them; `rows` are their places in the data, which key its numbers. */
export function transformed(
  examples: readonly Example[],
  rows: ArrayLike<number>,
  { name, apply }: Transform,
  seed: number | bigint,
  epoch: number,
): Example[] {
  return examples.map((example, i) => apply(example, random(seed, name, epoch, nth(rows, i))))
}
