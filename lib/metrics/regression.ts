// Scores of real-valued predictions, by the definitions of scikit-learn and SciPy.

import { check } from '../errors.ts'
import { averageRanks } from './ranks.ts'
import { checkPaired } from './scores.ts'

/** Everything the CLI and the report say about a regression. */
export type RegressionReport = {
  examples: number
  mse: number
  /** Square root of `mse`, in the unit of the target. */
  rmse: number
  mae: number
  /** Coefficient of determination; NaN for fewer than two examples. */
  r2: number
  /** NaN when either side is constant. */
  pearson: number
  spearman: number
}

function mean(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum / values.length
}

/** Pearson correlation in [−1, 1]; NaN for fewer than two items or a constant side. */
function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPaired('pearson', x, y)
  if (x.length < 2 || isConstant(x) || isConstant(y)) return Number.NaN
  const meanX = mean(x)
  const meanY = mean(y)
  let xx = 0
  let yy = 0
  let xy = 0
  for (let i = 0; i < x.length; i++) {
    const dx = x[i]! - meanX
    const dy = y[i]! - meanY
    xx += dx * dx
    yy += dy * dy
    xy += dx * dy
  }
  return Math.max(-1, Math.min(1, xy / Math.sqrt(xx) / Math.sqrt(yy)))
}

// The variance of a constant column may round to something other than 0, so equality is tested, not the variance.
function isConstant(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false
  return true
}

/** Spearman's rank correlation: Pearson of the ranks, ties at their mean rank. */
function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPaired('spearman', x, y)
  return pearson(averageRanks(x), averageRanks(y))
}

/** 1 − residual / total sum of squares. A constant target gives 1 for exact predictions and 0 otherwise. */
function r2(gold: ArrayLike<number>, predicted: ArrayLike<number>): number {
  checkPaired('r2', gold, predicted)
  if (gold.length < 2) return Number.NaN
  const centre = mean(gold)
  let residual = 0
  let total = 0
  for (let i = 0; i < gold.length; i++) {
    residual += (gold[i]! - predicted[i]!) ** 2
    total += (gold[i]! - centre) ** 2
  }
  if (total === 0) return residual === 0 ? 1 : 0
  return 1 - residual / total
}

/** All scores of a regression. Throws ERR_DATA for empty, unequal or non-finite input. */
export function regressionReport(gold: ArrayLike<number>, predicted: ArrayLike<number>): RegressionReport {
  checkPaired('regressionReport', gold, predicted)
  let squares = 0
  let absolute = 0
  for (let i = 0; i < gold.length; i++) {
    const error = gold[i]! - predicted[i]!
    check(
      Number.isFinite(error),
      'ERR_DATA',
      () => `regressionReport: item ${i} is (${gold[i]}, ${predicted[i]}); both must be finite`,
    )
    squares += error * error
    absolute += Math.abs(error)
  }
  const mse = squares / gold.length
  return {
    examples: gold.length,
    mse,
    rmse: Math.sqrt(mse),
    mae: absolute / gold.length,
    r2: r2(gold, predicted),
    pearson: pearson(gold, predicted),
    spearman: spearman(gold, predicted),
  }
}
