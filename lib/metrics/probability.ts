// Scores of predicted probabilities: log loss, ROC AUC, calibration. Rows are [examples][classes].

import { check } from '../errors.ts'
import { nth } from '../tuple.ts'
import { averageRanks } from './ranks.ts'
import { checkPaired } from './scores.ts'

/** Probabilities, [examples][classes]; each row sums to 1. */
export type Probabilities = ArrayLike<ArrayLike<number>>

// scikit-learn clips at the machine epsilon of float64.
const EPSILON = Number.EPSILON

/** Mean −log p(gold) in nats, p clipped to [2⁻⁵², 1 − 2⁻⁵²] as scikit-learn does for float64. */
export function logLoss(gold: ArrayLike<number>, probabilities: Probabilities): number {
  checkPaired('logLoss', gold, probabilities)
  let sum = 0
  for (let i = 0; i < gold.length; i++) {
    const p = probabilities[i]![gold[i]!]
    check(
      p !== undefined && p >= 0 && p <= 1,
      'ERR_DATA',
      () => `logLoss: item ${i} gives gold class ${gold[i]} probability ${p}; it must lie in [0, 1]`,
    )
    sum -= Math.log(Math.min(1 - EPSILON, Math.max(EPSILON, p)))
  }
  return sum / gold.length
}

/** Area under the ROC curve of scores for the class 1 against 0, ties counted half; NaN when a class is absent. */
export function rocAuc(gold: ArrayLike<number>, scores: ArrayLike<number>): number {
  checkPaired('rocAuc', gold, scores)
  const ranks = averageRanks(scores)
  let positives = 0
  let rankSum = 0
  for (let i = 0; i < gold.length; i++) {
    check(
      !Number.isNaN(scores[i]) && (gold[i] === 0 || gold[i] === 1),
      'ERR_DATA',
      () => `rocAuc: item ${i} is (${gold[i]}, ${scores[i]}); gold is 0 or 1, the score a number`,
    )
    if (gold[i] !== 1) continue
    positives++
    rankSum += ranks[i]!
  }
  const negatives = gold.length - positives
  if (positives === 0 || negatives === 0) return Number.NaN
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}

/**
 * Plain mean over classes of the AUC of each class against the rest; NaN when a class has no gold member.
 * Of two classes only the second's column is read, as scikit-learn does (both columns agree but for rounding).
 */
export function rocAucOneVsRest(gold: ArrayLike<number>, probabilities: Probabilities): number {
  checkPaired('rocAucOneVsRest', gold, probabilities)
  const classes = nth(probabilities, 0).length
  const first = classes === 2 ? 1 : 0
  let sum = 0
  for (let c = first; c < classes; c++) {
    const indicator = Array.from(gold, id => (id === c ? 1 : 0))
    const scores = Array.from(probabilities, row => row[c] ?? Number.NaN)
    sum += rocAuc(indicator, scores)
  }
  return sum / (classes - first)
}

/** An answer: how probable it is by the model, and whether it is right. */
export type SureAnswer = { readonly probability: number; readonly right: boolean }

/** One bin of a reliability diagram: mean probability and share of right answers. */
export type CalibrationBin = { confidence: number; accuracy: number; count: number }

/** Bins (from, to] of equal width over the probability of answers. Empty bins are left out. */
export function calibrationBins(answers: readonly SureAnswer[], bins: number): CalibrationBin[] {
  const sums = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, correct: 0 }))
  for (const [i, { probability, right }] of answers.entries()) {
    const bin = sums[Math.min(bins - 1, Math.max(0, Math.ceil(probability * bins) - 1))]
    check(bin, 'ERR_DATA', () => `calibrationBins: item ${i} has highest probability ${probability}`)
    bin.count++
    bin.confidence += probability
    if (right) bin.correct++
  }
  return sums.flatMap(({ count, confidence, correct }) => {
    return count === 0 ? [] : [{ confidence: confidence / count, accuracy: correct / count, count }]
  })
}

/** Mean gap between confidence and accuracy over the bins, weighted by their counts (Guo et al. 2017); in [0, 1]. */
export function calibrationError(bins: readonly CalibrationBin[]): number {
  let [gap, all] = [0, 0]
  for (const { count, accuracy, confidence } of bins) {
    gap += count * Math.abs(accuracy - confidence)
    all += count
  }
  return gap / all
}

/** Expected calibration error of the likeliest classes. */
export function expectedCalibrationError(gold: ArrayLike<number>, probabilities: Probabilities, bins = 15): number {
  checkPaired('expectedCalibrationError', gold, probabilities)
  const answers = Array.from(probabilities, (row, i) => {
    const { index, value } = argmax(row)
    return { probability: value, right: index === gold[i] }
  })
  return calibrationError(calibrationBins(answers, bins))
}

function argmax(row: ArrayLike<number>): { index: number; value: number } {
  let index = 0
  for (let j = 1; j < row.length; j++) if (row[j]! > row[index]!) index = j
  return { index, value: row[index] ?? Number.NaN }
}
