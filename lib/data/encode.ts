import { check, fail } from '../errors.ts'
import { IGNORED } from '../ops/ignored.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Columns } from './columns.ts'
import { type LabelMap, labelId } from './labels.ts'
import { listOf, placeOf, type Row, textOf } from './row.ts'
import { numberOf, type TaskChoice } from './task.ts'

export { IGNORED }

/**
 * One row ready for the model. `label` is a class id; the numbers of a regression [1] or the 0/1 targets of several
 * labels [C] (Float32Array); one class id a token, {@link IGNORED} where there is none (Int32Array); or undefined.
 */
export interface Example {
  readonly ids: Int32Array
  readonly typeIds?: Int32Array
  readonly label?: number | Float32Array | Int32Array | undefined
  /** Words of a tagged sentence, and the word of each token (−1 for special tokens). */
  readonly words?: readonly string[]
  readonly wordIds?: Int32Array
  readonly truncated: boolean
  readonly row: Row
}

/** What rows are encoded for. */
export interface EncodeSpec extends Pick<TaskChoice, 'task' | 'problemType'> {
  readonly columns: Columns
  /** Required where labels are read as classes. */
  readonly labels?: LabelMap | undefined
  /** Most tokens of an example, special tokens included. */
  readonly maxLength: number
  /** Leave labels out even where the rows have them. */
  readonly unlabelled?: boolean | undefined
}

/** Encoded rows, in order, and what was lost on the way. */
export interface EncodedRows {
  readonly examples: Example[]
  /** Examples that were cut to `maxLength`. */
  readonly truncated: number
  /** Words of tagged sentences that were cut away. */
  readonly lostWords: number
}

/**
 * Rows as examples. Texts (or pairs) of classification and masked LM are tokenised whole, tagged sentences word by
 * word with the tag on the first piece of each word.
 * @throws ERR_DATA naming the row for a label outside the map, lists of unequal length, values of a wrong type.
 */
export function encodeRows(rows: Iterable<Row>, tokenizer: Tokenizer, spec: EncodeSpec): EncodedRows {
  const examples: Example[] = []
  let truncated = 0
  let lostWords = 0
  for (const row of rows) {
    const example = encodeRow(row, tokenizer, spec)
    if (example.truncated) truncated++
    if (example.words) lostWords += example.words.length - wordsKept(example)
    examples.push(example)
  }
  return { examples, truncated, lostWords }
}

/** One row as an example; see {@link encodeRows}. */
export function encodeRow(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Example {
  return spec.task === 'token-classification' ? encodeTagged(row, tokenizer, spec) : encodeText(row, tokenizer, spec)
}

function encodeText(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Example {
  const { text, text2 } = spec.columns
  check(text !== undefined, 'ERR_OPTION', () => `columns.text: ${spec.task} needs a text column`)
  const pair = text2 === undefined ? undefined : textOf(row, text2)
  const { ids, typeIds, truncated } = tokenizer.encode(textOf(row, text), { pair, maxLength: spec.maxLength })
  return { ids, typeIds, label: labelOf(row, spec), truncated, row }
}

function labelOf(row: Row, { task, problemType, columns, labels, unlabelled }: EncodeSpec): Example['label'] {
  const { label } = columns
  if (unlabelled || label === undefined || task === 'masked-lm') return undefined
  if (problemType === 'regression') return Float32Array.of(numberOf(row, label))
  check(labels, 'ERR_OPTION', () => 'labels: classification needs a label map')
  const value = row.values[label]
  if (problemType !== 'multi_label_classification') return labelId(labels, row, value)
  check(Array.isArray(value), 'ERR_DATA', () => `labels: ${placeOf(row)}: "${label}" is no list of labels`)
  const target = new Float32Array(labels.names.length)
  for (const one of value) target[labelId(labels, row, one)] = 1
  return target
}

function encodeTagged(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Example {
  const { tokens, tags } = spec.columns
  check(tokens !== undefined, 'ERR_OPTION', () => 'columns.tokens: token-classification needs a column of words')
  const words = listOf(row, tokens)
  check(words.length > 0, 'ERR_DATA', () => `data: ${placeOf(row)}: "${tokens}" has no words`)
  const { ids, typeIds, wordIds, truncated } = tokenizer.encodeWords(words, { maxLength: spec.maxLength })
  const example = { ids, typeIds, words, wordIds, truncated, row }
  if (spec.unlabelled || tags === undefined) return example
  const { labels } = spec
  check(labels, 'ERR_OPTION', () => 'labels: token-classification needs a label map')
  const list = row.values[tags]
  if (!Array.isArray(list)) fail('ERR_DATA', `data: ${placeOf(row)}: "${tags}" is no list of tags`)
  check(list.length === words.length, 'ERR_DATA', () => {
    return `data: ${placeOf(row)}: ${words.length} words in "${tokens}" and ${list.length} tags in "${tags}"`
  })
  const wordLabels = list.map(tag => labelId(labels, row, tag))
  return { ...example, label: alignLabels(wordIds, wordLabels) }
}

/** Labels of words as labels of tokens: on the first piece of each word, {@link IGNORED} elsewhere. */
export function alignLabels(wordIds: Int32Array, wordLabels: readonly number[]): Int32Array {
  return wordIds.map((word, t) => (word >= 0 && word !== wordIds[t - 1] ? wordLabels[word]! : IGNORED))
}

/** Index of the first token of each word that was not cut away. */
export function firstPieces(wordIds: Int32Array): number[] {
  return [...wordIds.keys()].filter(t => wordIds[t]! >= 0 && wordIds[t] !== wordIds[t - 1])
}

function wordsKept({ wordIds }: Example): number {
  return wordIds ? wordIds.reduce((most, word) => Math.max(most, word + 1), 0) : 0
}
