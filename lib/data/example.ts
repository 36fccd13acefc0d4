import { IGNORED } from '../ops/ignored.ts'
import { nth } from '../tuple.ts'
import type { List } from './list.ts'
import type { Row } from './row.ts'

export { IGNORED }

/**
 * One row, or a part of one, ready for the model. `label` is a class id; the numbers of a regression or the 0/1 targets
 * of several labels [C] (Float32Array); one id a token, {@link IGNORED} where there is none, or the first and the last
 * token of an answer (Int32Array); or undefined.
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
  /** Of a question: the text that may answer it. */
  readonly passage?: Passage | undefined
  /** Which part of its row it is, where its answer is put together from all of them: from 0, one after another. */
  readonly part?: number | undefined
  /**
   * The answer that is to lose, after the same prompt; of an answer that stands alone another answer, by which is
   * measured how far the model has moved.
   */
  readonly other?: OtherSequence | undefined
  readonly preference?: Preference | undefined
  readonly truncated: boolean
  readonly row: Row
}

/** A sequence that belongs to another, and is packed behind it. */
export interface OtherSequence {
  readonly ids: Int32Array
  readonly typeIds?: Int32Array | undefined
  /** As that of the first. */
  readonly label?: Int32Array | undefined
}

/** What is made of preferences. */
export interface PreferenceGoal {
  /** The loss. */
  readonly loss: string
  /** How dear it is to move away from the reference. */
  readonly beta: number
  /** Which model training holds answers against: as it stands before its first step, or with its adapters off. */
  readonly reference: 'start' | 'base'
  /** Weight of answers that are wanted, and of those that are not, where they stand alone. */
  readonly weights: readonly [number, number]
}

/** What is wanted of answers. */
export interface Preference {
  readonly goal: PreferenceGoal
  /** Of an answer that stands alone: whether it is wanted. Undefined: its other sequence is the answer to lose. */
  readonly wanted?: boolean | undefined
  /** Log-probabilities of both answers under the reference, in nats, where the loss needs them and they are known. */
  readonly reference?: readonly [number, number] | undefined
}

/** The text in which an answer is looked for. */
export interface Passage {
  readonly text: string
  /** Right answers; none where the text has no answer, undefined where they are not known. */
  readonly golds: readonly string[] | undefined
  /** Where each token of the example begins and ends in the text, in UTF-16 units; −1 for tokens not of it. */
  readonly places: Int32Array
  /** Whether there may be no answer. */
  readonly mayLack: boolean
}

/** All that is packed of an example, in order. */
export function sequencesOf(example: Example): readonly Example[] {
  const { other, row, truncated } = example
  return other ? [example, { ...other, row, truncated }] : [example]
}

/** The first part of each row: what there is one answer for. */
export function wholeRows(examples: List<Example>): List<Example> {
  return examples.some(({ part }) => part !== undefined && part > 0) ? examples.filter(({ part }) => !part) : examples
}

/** Tokens of a sequence that are learned, none of which is the first: nothing says it. */
export function learnedTokens(label: Example['label']): number {
  return label instanceof Int32Array ? label.subarray(1).filter(id => id !== IGNORED).length : 0
}

/** Tokens of all examples. */
export function tokensOf(examples: Iterable<Example>): number {
  let tokens = 0
  for (const { ids, other } of examples) tokens += ids.length + (other?.ids.length ?? 0)
  return tokens
}

/** Index of the first token of each word that was not cut away. */
export function firstPieces(wordIds: Int32Array): number[] {
  return [...wordIds.keys()].filter(t => nth(wordIds, t) >= 0 && wordIds[t] !== wordIds[t - 1])
}
