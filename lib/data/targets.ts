// What a micro-batch is compared with. A task names the function that makes it of examples; the loader calls it once.

import { check } from '../errors.ts'
import { type Device, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { type Example, IGNORED } from './example.ts'

/** Where sequences begin in a packed batch, and where the last one ends. */
export interface SequenceBounds {
  readonly cuSeqlens: Int32Array
}

/** What the logits of a packed batch are compared with. */
export interface Targets {
  /** Tokens of the batch that get logits, ascending; undefined: those that the head reads by itself. */
  readonly rows: Int32Array | undefined
  /** Class ids, one a row of logits, {@link IGNORED} for none; or numbers, row-major, `width` a row. */
  readonly values: Int32Array | Float32Array
  /** Values of a row of logits. */
  readonly width: number
  /** Supervised weight: rows that count, or the sum of their class weights; for numbers, how many. */
  readonly weight: number
  /** Those of the sequences from `from` to before `to` of the batch they belong to. */
  slice(from: number, to: number, batch: SequenceBounds): Targets
}

/** Makes the targets of examples that are packed in their order; undefined where they have no labels. */
export type Collate = (examples: readonly Example[], classWeights?: ArrayLike<number>) => Targets | undefined

/** A class for each sequence: `label` is its id. */
export const sequenceClasses: Collate = (examples, classWeights) => {
  const labels = labelsOf(examples, 'a class', (label): label is number => typeof label === 'number')
  return labels && perSequence(Int32Array.from(labels), 1, values => weightOf(values, classWeights))
}

/** Numbers for each sequence, those of a regression or 0 and 1 for each of several labels: `label` holds them. */
export const sequenceNumbers: Collate = examples => {
  const labels = labelsOf(examples, 'numbers', (label): label is Float32Array => label instanceof Float32Array)
  if (!labels) return undefined
  const width = nth(labels, 0).length
  for (const { length } of labels)
    check(length === width, 'ERR_DATA', () => `batches: labels of ${width} and ${length} numbers in one batch`)
  return perSequence(joined(Float32Array, labels), width, values => values.length)
}

/** A class for each token: `label` holds an id, or {@link IGNORED}, for each. */
export const tokenClasses: Collate = (examples, classWeights) => {
  const labels = tokenLabels(examples)
  return labels && perToken(joined(Int32Array, labels), 1, values => weightOf(values, classWeights))
}

/** The tokens that were hidden: `label` holds the old id of each, else {@link IGNORED}. Only these get logits. */
export const hiddenTokens: Collate = examples => {
  const labels = tokenLabels(examples)
  return labels && supervised(joined(Int32Array, labels))
}

/**
 * The token after each token: `label` holds the ids to learn at their own places, else {@link IGNORED}; the token
 * before each gets logits. The first of a sequence has none before it.
 */
export const nextTokens: Collate = examples => {
  const labels = tokenLabels(examples)
  return labels && supervised(joined(Int32Array, labels.map(shifted)))
}

/** Every token that a decoder is to say: `target` holds them. */
export const decoderTokens: Collate = examples => {
  const targets = examples.flatMap(({ target }) => (target ? [target] : []))
  if (targets.length === 0) return undefined
  check(targets.length === examples.length, 'ERR_DATA', () => {
    return 'batches: examples with and without targets in one batch'
  })
  return perDecoderToken(targets)
}

/** On the device: ids i32[rows], or numbers f32[rows, width]. Throws ERR_DATA for what `outputs` columns can't meet. */
export function uploadTargets(
  targets: Pick<Targets, 'values' | 'width'>,
  rows: number,
  outputs: number,
  device: Device,
): Tensor {
  const { values, width } = targets
  const given = values.length / width
  check(given === rows, 'ERR_DATA', () => `labels: ${given} for ${rows} rows of logits, expected one a row`)
  check(rows > 0, 'ERR_DATA', () => 'labels: no token of a micro-batch is to be learnt; raise maskProbability')
  if (values instanceof Int32Array) {
    checkClasses(values, outputs)
    return Tensor.from(values, [rows], { device })
  }
  check(width === outputs, 'ERR_DATA', () => `labels: ${width} numbers a row, expected ${outputs}, one an output`)
  const isClean = values.every(Number.isFinite)
  check(isClean, 'ERR_DATA', () => 'labels: a number is NaN or infinite; clean the label column')
  return Tensor.from(values, [rows, width], { device })
}

function checkClasses(ids: Int32Array, classes: number): void {
  for (const id of ids)
    check(id === IGNORED || (id >= 0 && id < classes), 'ERR_DATA', () => {
      return `labels: ${id} is no class of 0 to ${classes - 1}; make the label map from the data that is trained on`
    })
}

type Values = Targets['values']

function perSequence(values: Values, width: number, weigh: (values: Values) => number): Targets {
  const slice = (from: number, to: number) => perSequence(values.slice(from * width, to * width), width, weigh)
  return { rows: undefined, values, width, weight: weigh(values), slice }
}

/** Targets with `width` values for every token; `weigh` says what some of them weigh. */
export function perToken(values: Values, width: number, weigh: (values: Values) => number): Targets {
  const slice = (from: number, to: number, { cuSeqlens }: SequenceBounds) =>
    perToken(values.slice(width * nth(cuSeqlens, from), width * nth(cuSeqlens, to)), width, weigh)
  return { rows: undefined, values, width, weight: weigh(values), slice }
}

/** Its sequences are those of the decoder, whatever batch it belongs to. */
function perDecoderToken(targets: readonly Int32Array[]): Targets {
  const values = joined(Int32Array, targets)
  const slice = (from: number, to: number) => perDecoderToken(targets.slice(from, to))
  return { rows: undefined, values, width: 1, weight: weightOf(values, undefined), slice }
}

/** Rows of their own for the tokens that have a label. */
function supervised(labels: Int32Array): Targets {
  const rows = Int32Array.from(labels.keys()).filter(t => labels[t] !== IGNORED)
  const slice = (from: number, to: number, { cuSeqlens }: SequenceBounds) =>
    supervised(labels.slice(cuSeqlens[from], cuSeqlens[to]))
  return { rows, values: rows.map(t => nth(labels, t)), width: 1, weight: rows.length, slice }
}

function shifted(labels: Int32Array): Int32Array {
  const next = new Int32Array(labels.length).fill(IGNORED)
  next.set(labels.subarray(1))
  return next
}

function tokenLabels(examples: readonly Example[]): Int32Array[] | undefined {
  const isList = (label: Example['label']): label is Int32Array => label instanceof Int32Array
  const labels = labelsOf(examples, 'an id for each token', isList)
  labels?.forEach((label, i) => {
    const { length } = nth(examples, i).ids
    check(label.length === length, 'ERR_DATA', () => `labels: ${label.length} for ${length} tokens`)
  })
  return labels
}

function labelsOf<L>(
  examples: readonly Example[],
  expected: string,
  fits: (label: Example['label']) => label is L & Example['label'],
): L[] | undefined {
  const labels = examples.map(({ label }) => label)
  if (labels.every(label => label === undefined)) return undefined
  return labels.map(label => {
    check(label !== undefined, 'ERR_DATA', () => 'batches: examples with and without labels in one batch')
    check(fits(label), 'ERR_DATA', () => `batches: a label is ${kindOf(label)}, expected ${expected} by this task`)
    return label
  })
}

function kindOf(label: Example['label']): string {
  if (typeof label === 'number') return 'a class'
  return label instanceof Float32Array ? 'numbers' : 'an id for each token'
}

function weightOf(ids: Values, classWeights: ArrayLike<number> | undefined): number {
  let sum = 0
  for (const id of ids) if (id !== IGNORED) sum += classWeights ? (classWeights[id] ?? 0) : 1
  return sum
}

function joined<A extends Int32Array | Float32Array>(kind: { new (n: number): A }, parts: readonly A[]): A {
  const all = new kind(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
