// Precision, recall and F1 from counts, and their averages, by scikit-learn's definitions.

import { check } from '../errors.ts'

/** What a ratio with denominator 0 becomes: 0, 1 or NaN (NaN is left out of averages). */
export type ZeroDivision = number

/** Counts of one class: hits, predictions and gold members. */
export type Counts = { truePositive: number; predicted: number; gold: number }

/** Scores in [0, 1] (or NaN) and the number of gold members they rest on. */
export type Scores = { precision: number; recall: number; f1: number; support: number }

/** Throws ERR_OPTION unless `value` is 0, 1 or NaN. */
export function checkZeroDivision(value: ZeroDivision): void {
  check(
    value === 0 || value === 1 || Number.isNaN(value),
    'ERR_OPTION',
    () => `zeroDivision: ${value} is not a choice; use 0, 1 or NaN`,
  )
}

/** Throws ERR_DATA unless both sides have the same, positive number of items. */
export function checkPaired(op: string, gold: ArrayLike<unknown>, predicted: ArrayLike<unknown>): void {
  check(gold.length > 0, 'ERR_DATA', () => `${op}: there is nothing to score (0 gold items)`)
  check(
    gold.length === predicted.length,
    'ERR_DATA',
    () => `${op}: ${gold.length} gold items but ${predicted.length} predictions`,
  )
}

function ratio(numerator: number, denominator: number, zeroDivision: ZeroDivision): number {
  return denominator === 0 ? zeroDivision : numerator / denominator
}

/** Scores of one class. F1 is 2·tp / (gold + predicted), so it is undefined only when both are 0. */
export function scoresFromCounts(counts: Counts, zeroDivision: ZeroDivision = 0): Scores {
  const { truePositive, predicted, gold } = counts
  return {
    precision: ratio(truePositive, predicted, zeroDivision),
    recall: ratio(truePositive, gold, zeroDivision),
    f1: ratio(2 * truePositive, gold + predicted, zeroDivision),
    support: gold,
  }
}

/** Scores of the summed counts. */
export function microAverage(counts: readonly Counts[], zeroDivision: ZeroDivision = 0): Scores {
  const total = { truePositive: 0, predicted: 0, gold: 0 }
  for (const c of counts) {
    total.truePositive += c.truePositive
    total.predicted += c.predicted
    total.gold += c.gold
  }
  return scoresFromCounts(total, zeroDivision)
}

/** Mean of `values` without NaN, weighted when `weights` are given; weights that sum to 0 count as equal ones. */
function nanMean(values: readonly number[], weights?: readonly number[]): number {
  let sum = 0
  let weightSum = 0
  let plain = 0
  let n = 0
  for (const [i, value] of values.entries()) {
    if (Number.isNaN(value)) continue
    const weight = weights?.[i] ?? 1
    sum += weight * value
    weightSum += weight
    plain += value
    n++
  }
  if (n === 0) return Number.NaN
  return weightSum === 0 ? plain / n : sum / weightSum
}

/** Mean of the rows' scores; `weights` (one per row) make it the weighted average. Support is the sum. */
export function meanScores(rows: readonly Scores[], weights?: readonly number[]): Scores {
  return {
    precision: nanMean(
      rows.map(row => row.precision),
      weights,
    ),
    recall: nanMean(
      rows.map(row => row.recall),
      weights,
    ),
    f1: nanMean(
      rows.map(row => row.f1),
      weights,
    ),
    support: rows.reduce((sum, row) => sum + row.support, 0),
  }
}
