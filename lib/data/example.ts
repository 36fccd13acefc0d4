import { IGNORED } from '../ops/ignored.ts'
import type { Row } from './row.ts'

export { IGNORED }

/**
 * One row, or a part of one, ready for the model. `label` is a class id; the numbers of a regression or the 0/1 targets
 * of several labels [C] (Float32Array); one id a token, {@link IGNORED} where there is none (Int32Array); or undefined.
 */
export interface Example {
  readonly ids: Int32Array
  readonly typeIds?: Int32Array | undefined
  /** What an encoder-decoder is to say, its last token included. */
  readonly target?: Int32Array | undefined
  readonly label?: number | Float32Array | Int32Array | undefined
  /** Words of a tagged sentence, and the word of each token (−1 for special tokens). */
  readonly words?: readonly string[] | undefined
  readonly wordIds?: Int32Array | undefined
  /** Positions of tokens that are asked for without a label: the masks of a text. */
  readonly asked?: Int32Array | undefined
  readonly truncated: boolean
  readonly row: Row
}

/** Index of the first token of each word that was not cut away. */
export function firstPieces(wordIds: Int32Array): number[] {
  return [...wordIds.keys()].filter(t => wordIds[t]! >= 0 && wordIds[t] !== wordIds[t - 1])
}
