// What a few seeds say.

import { studentQuantile } from '../metrics/tails.ts'
import type { Spread } from '../report/methods.ts'
import { nth } from '../tuple.ts'

/** Mean with the standard deviation of a sample. */
export function spreadOf(values: readonly number[]): Spread {
  const count = values.length
  const mean = values.reduce((sum, x) => sum + x, 0) / count
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0)
  return { mean, sd: count > 1 ? Math.sqrt(squares / (count - 1)) : undefined, count }
}

/** A mean difference of pairs with its interval. */
interface Difference {
  readonly mean: number
  /** Student's t over the pairs; undefined for fewer than two. */
  readonly low: number | undefined
  readonly high: number | undefined
  readonly confidence: number
}

/** `values` less `others`, pair by pair: runs of the same seed see the same rows in the same order. */
export function differenceOf(values: readonly number[], others: readonly number[], confidence = 0.95): Difference {
  const { mean, sd, count } = spreadOf(values.map((x, i) => x - nth(others, i)))
  if (sd === undefined) return { mean, low: undefined, high: undefined, confidence }
  const reach = (studentQuantile((1 + confidence) / 2, count - 1) * sd) / Math.sqrt(count)
  return { mean, low: mean - reach, high: mean + reach, confidence }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? nth(sorted, half) : (nth(sorted, half - 1) + nth(sorted, half)) / 2
}
