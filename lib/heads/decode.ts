// From logits to answers.

import type { Problem } from './head.ts'
import type { Likeliest } from './likeliest.ts'

/** What a model says about one example, and the truth where it is known. */
export type Prediction =
  | {
      readonly kind: 'class'
      readonly gold: number | undefined
      readonly predicted: number
      /** One a class; they sum to 1. */
      readonly probabilities: Float32Array
    }
  | {
      readonly kind: 'labels'
      /** 0 or 1 a label. */
      readonly gold: Uint8Array | undefined
      readonly predicted: Uint8Array
      /** One a label, each for itself. */
      readonly probabilities: Float32Array
    }
  | { readonly kind: 'values'; readonly gold: Float32Array | undefined; readonly predicted: Float32Array }
  | {
      /** One item for each word (`tags`) or each hidden token (`tokens`). */
      readonly kind: 'tags' | 'tokens'
      /** The token in the example's ids: the first piece of each word. */
      readonly positions: Int32Array
      readonly gold: Int32Array | undefined
      readonly predicted: Int32Array
      /** Of what was predicted. */
      readonly probabilities: Float32Array
    }

/** Logits on the host, [rows, columns], row-major. */
export interface LogitRows {
  readonly data: Float32Array | Float64Array
  readonly columns: number
}

/** Where the answers of an example stand: `rows` in the logits, `positions` in its ids. */
export interface Items {
  readonly rows: ArrayLike<number>
  readonly positions: Int32Array
  readonly gold: Int32Array | undefined
}

/** Index of the largest number of a row, the first of equal ones. */
export function argmax({ data, columns }: LogitRows, row: number): number {
  const start = row * columns
  let best = 0
  for (let c = 1; c < columns; c++) if (data[start + c]! > data[start + best]!) best = c
  return best
}

/** Softmax of a row. */
export function softmax({ data, columns }: LogitRows, row: number): Float32Array {
  const logits = data.subarray(row * columns, (row + 1) * columns)
  let max = Number.NEGATIVE_INFINITY
  for (const x of logits) if (x > max) max = x
  const exps = new Float64Array(columns)
  let sum = 0
  for (let c = 0; c < columns; c++) {
    exps[c] = Math.exp(logits[c]! - max)
    sum += exps[c]!
  }
  return Float32Array.from(exps, e => e / sum)
}

/** Softmax of a row at one column alone, without the array of all of them. */
export function softmaxAt({ data, columns }: LogitRows, row: number, column: number): number {
  const start = row * columns
  const at = data[start + column]!
  let sum = 0
  for (let c = 0; c < columns; c++) sum += Math.exp(data[start + c]! - at)
  return 1 / sum
}

/** What one row of a sequence classifier says. `label`: the example's, as `encodeRow` makes it. */
export function decodeSequence(
  logits: LogitRows,
  row: number,
  problem: Problem,
  label: number | Float32Array | undefined,
): Prediction {
  const { data, columns } = logits
  const values = data.subarray(row * columns, (row + 1) * columns)
  if (problem === 'regression')
    return { kind: 'values', gold: label as Float32Array | undefined, predicted: Float32Array.from(values) }
  if (problem === 'multi') {
    const gold = label === undefined ? undefined : Uint8Array.from(label as Float32Array)
    const probabilities = Float32Array.from(values, x => 1 / (1 + Math.exp(-x)))
    return { kind: 'labels', gold, predicted: Uint8Array.from(values, x => (x > 0 ? 1 : 0)), probabilities }
  }
  const gold = label as number | undefined
  return { kind: 'class', gold, predicted: argmax(logits, row), probabilities: softmax(logits, row) }
}

/** What the rows of one example say, where each token or word has an answer of its own. */
export function decodeItems(answers: LogitRows | Likeliest, { rows, positions, gold }: Items): Prediction {
  const predicted = new Int32Array(rows.length)
  const probabilities = new Float32Array(rows.length)
  if ('ids' in answers) {
    for (let i = 0; i < rows.length; i++) {
      predicted[i] = answers.ids[rows[i]!]!
      probabilities[i] = answers.probabilities[rows[i]!]!
    }
    return { kind: 'tokens', positions, gold, predicted, probabilities }
  }
  for (let i = 0; i < rows.length; i++) {
    predicted[i] = argmax(answers, rows[i]!)
    probabilities[i] = softmaxAt(answers, rows[i]!, predicted[i]!)
  }
  return { kind: 'tags', positions, gold, predicted, probabilities }
}
