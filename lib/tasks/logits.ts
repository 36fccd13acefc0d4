// Reading logits on the host.

import { check } from '../errors.ts'
import type { Likeliest } from '../heads/likeliest.ts'
import { lastOf, nth } from '../tuple.ts'

/** Logits on the host, [rows, columns], row-major. */
export interface LogitRows {
  readonly data: Float32Array | Float64Array
  readonly columns: number
}

/** What a forward pass says: logits, or of a vocabulary the likeliest ids alone. */
export type Answers = LogitRows | Likeliest

/** Logits, where a task always has them. */
export function logitsIn(answers: Answers): LogitRows {
  check(
    'data' in answers,
    'ERR_UNSUPPORTED',
    () => 'evaluate: the head gives no logits; give it the task it belongs to',
  )
  return answers
}

/** One row of logits. */
export function rowOf({ data, columns }: LogitRows, row: number): Float32Array | Float64Array {
  return data.subarray(row * columns, (row + 1) * columns)
}

/** Index of the largest number of a row, the first of equal ones. */
export function argmax({ data, columns }: LogitRows, row: number): number {
  const start = row * columns
  let best = 0
  for (let c = 1; c < columns; c++) if (nth(data, start + c) > nth(data, start + best)) best = c
  return best
}

/** Softmax of a row. */
export function softmax(rows: LogitRows, row: number): Float32Array {
  const { columns } = rows
  const logits = rowOf(rows, row)
  let max = Number.NEGATIVE_INFINITY
  for (const x of logits) if (x > max) max = x
  const exps = new Float64Array(columns)
  let sum = 0
  for (let c = 0; c < columns; c++) {
    exps[c] = Math.exp(nth(logits, c) - max)
    sum += nth(exps, c)
  }
  return Float32Array.from(exps, e => e / sum)
}

/** Softmax of a row at one column alone, without the array of all of them. */
export function softmaxAt({ data, columns }: LogitRows, row: number, column: number): number {
  const start = row * columns
  const at = nth(data, start + column)
  let sum = 0
  for (let c = 0; c < columns; c++) sum += Math.exp(nth(data, start + c) - at)
  return 1 / sum
}

/** Indices of the `count` largest numbers, largest first. */
export function largest(values: ArrayLike<number>, count: number): number[] {
  const best: number[] = []
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && nth(values, i) <= nth(values, lastOf(best))) continue
    let at = best.length
    while (at > 0 && nth(values, nth(best, at - 1)) < nth(values, i)) at--
    best.splice(at, 0, i)
    if (best.length > count) best.pop()
  }
  return best
}
