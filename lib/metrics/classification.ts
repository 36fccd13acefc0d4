// Single-label classification. Gold and predicted labels are class ids; every number equals scikit-learn's.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { checkIdle, checkOptions } from '../options.ts'
import { isOneOf, nth, under } from '../tuple.ts'
import {
  type Counts,
  checkPaired,
  checkZeroDivision,
  meanScores,
  microAverage,
  type Scores,
  scoresFromCounts,
  type ZeroDivision,
} from './scores.ts'

const AVERAGES = ['micro', 'macro', 'weighted', 'binary'] as const

/** How per-class scores become one: over summed counts, plain mean, mean by support, or the positive class alone. */
export type Average = (typeof AVERAGES)[number]

/** Options of {@link precisionRecallF1}. */
export type AverageOptions = {
  average: Average
  /** Classes that take part; default: those that occur in gold or predictions, as scikit-learn has it. */
  classes?: readonly number[]
  /** The class scored by `binary`; default 1. */
  positive?: number
  zeroDivision?: ZeroDivision
}

/** Scores of one class under its name, and how often it was predicted. */
export type ClassScores = Scores & { label: string; predicted: number }

/** One cell of a confusion matrix: class ids and how often they met. */
export type ConfusionCell = readonly [gold: number, predicted: number, count: number]

/** Everything the CLI and the report say about single-label predictions. */
export type ClassificationReport = {
  examples: number
  accuracy: number
  /** Over the classes that occur in gold or predictions. */
  micro: Scores
  macro: Scores
  weighted: Scores
  /** Scores of the positive class, for two classes only. */
  binary?: Scores & { positive: string }
  matthews: number
  /** One row per label, in label order, absent classes included. */
  classes: ClassScores[]
  /** The cells of the confusion matrix that are not 0, in row order: at most one an example, however many classes. */
  confusion: ConfusionCell[]
}

/** Share of equal items. */
export function accuracy(gold: ArrayLike<number>, predicted: ArrayLike<number>): number {
  checkPaired('accuracy', gold, predicted)
  let correct = 0
  for (let i = 0; i < gold.length; i++) if (gold[i] === predicted[i]) correct++
  return correct / gold.length
}

/** Counts [gold][predicted] over class ids 0 … classes − 1: classes² numbers, so for few of them. */
export function confusionMatrix(gold: ArrayLike<number>, predicted: ArrayLike<number>, classes: number): number[][] {
  const cells = confusionCells(gold, predicted, classes)
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  for (const [row, column, count] of cells) nth(matrix, row)[column] = count
  return matrix
}

/** The cells of the confusion matrix that are not 0, in row order. @throws ERR_DATA for ids outside the classes */
function confusionCells(gold: ArrayLike<number>, predicted: ArrayLike<number>, classes: number): ConfusionCell[] {
  checkPaired('confusionMatrix', gold, predicted)
  const counts = new Map<number, number>()
  const isClass = (id: number) => Number.isInteger(id) && id >= 0 && id < classes
  for (let i = 0; i < gold.length; i++) {
    const [row, column] = [gold[i]!, predicted[i]!]
    check(isClass(row) && isClass(column), 'ERR_DATA', () => {
      return `confusionMatrix: item ${i} is (${row}, ${column}), outside the ${classes} classes`
    })
    const cell = row * classes + column
    counts.set(cell, (counts.get(cell) ?? 0) + 1)
  }
  const order = [...counts.keys()].sort((a, b) => a - b)
  return order.map(cell => [Math.floor(cell / classes), cell % classes, under(counts, cell)])
}

/** Class ids that occur in gold or predictions, ascending. */
export function occurringClasses(gold: ArrayLike<number>, predicted: ArrayLike<number>): number[] {
  const seen = new Set<number>()
  for (let i = 0; i < gold.length; i++) seen.add(gold[i]!)
  for (let i = 0; i < predicted.length; i++) seen.add(predicted[i]!)
  return [...seen].sort((a, b) => a - b)
}

/** Hits, predictions and gold members of each of `classes`. */
function classCounts(gold: ArrayLike<number>, predicted: ArrayLike<number>, classes: readonly number[]): Counts[] {
  const counts = new Map(classes.map(id => [id, { truePositive: 0, predicted: 0, gold: 0 }]))
  for (let i = 0; i < gold.length; i++) {
    const goldCounts = counts.get(gold[i]!)
    const predictedCounts = counts.get(predicted[i]!)
    if (goldCounts) goldCounts.gold++
    if (predictedCounts) predictedCounts.predicted++
    if (goldCounts && gold[i] === predicted[i]) goldCounts.truePositive++
  }
  return classes.map(id => under(counts, id))
}

/**
 * Precision, recall, F1 and support averaged over classes.
 * @throws ERR_DATA for unequal or empty input, ERR_OPTION for an average that is none or an option without effect on it
 */
export function precisionRecallF1(
  gold: ArrayLike<number>,
  predicted: ArrayLike<number>,
  options: AverageOptions,
): Scores {
  checkOptions('precisionRecallF1', options, { average: true, classes: true, positive: true, zeroDivision: true })
  const { average, positive = 1, zeroDivision = 0 } = options ?? {}
  check(isOneOf(AVERAGES, average), 'ERR_OPTION', () => {
    return `average: ${shown(average)} is none; use ${AVERAGES.join(', ')}`
  })
  if (average === 'binary') checkIdle('classes', options.classes, () => 'on the binary average', 'name one as positive')
  else checkIdle('positive', options.positive, () => `on the ${average} average`, 'leave it out, or take binary')
  checkPaired('precisionRecallF1', gold, predicted)
  checkZeroDivision(zeroDivision)
  const classes = average === 'binary' ? [positive] : (options.classes ?? occurringClasses(gold, predicted))
  return averageCounts(classCounts(gold, predicted, classes), average, zeroDivision)
}

function averageCounts(counts: readonly Counts[], average: Average, zeroDivision: ZeroDivision): Scores {
  if (average === 'micro') return microAverage(counts, zeroDivision)
  const rows = counts.map(c => scoresFromCounts(c, zeroDivision))
  if (average === 'weighted')
    return meanScores(
      rows,
      rows.map(row => row.support),
    )
  return meanScores(rows)
}

/** Matthews correlation of any number of classes, in [−1, 1]; 0 when gold or predictions are constant. */
export function matthewsCorrelation(gold: ArrayLike<number>, predicted: ArrayLike<number>): number {
  checkPaired('matthewsCorrelation', gold, predicted)
  const n = gold.length
  let correct = 0
  let cross = 0
  let goldSquares = 0
  let predictedSquares = 0
  for (const c of classCounts(gold, predicted, occurringClasses(gold, predicted))) {
    correct += c.truePositive
    cross += c.gold * c.predicted
    goldSquares += c.gold * c.gold
    predictedSquares += c.predicted * c.predicted
  }
  const goldVariance = n * n - goldSquares
  const predictedVariance = n * n - predictedSquares
  if (goldVariance === 0 || predictedVariance === 0) return 0
  return (correct * n - cross) / Math.sqrt(goldVariance) / Math.sqrt(predictedVariance)
}

/**
 * All scores of single-label predictions.
 *
 * @param gold class ids, indices into `labels`
 * @param predicted class ids, indices into `labels`
 * @param labels names in id order
 * @param options `positive`: name of the positive class of a two-class task (default: the second label);
 * `zeroDivision`: default 0
 */
export function classificationReport(
  gold: ArrayLike<number>,
  predicted: ArrayLike<number>,
  labels: readonly string[],
  options: { positive?: string; zeroDivision?: ZeroDivision } = {},
): ClassificationReport {
  checkOptions('classificationReport', options, { positive: true, zeroDivision: true })
  const { zeroDivision = 0 } = options
  checkZeroDivision(zeroDivision)
  const confusion = confusionCells(gold, predicted, labels.length)
  const counts = classCounts(gold, predicted, [...labels.keys()])
  const occurring = counts.filter(c => c.gold + c.predicted > 0)
  const report: ClassificationReport = {
    examples: gold.length,
    accuracy: accuracy(gold, predicted),
    micro: averageCounts(occurring, 'micro', zeroDivision),
    macro: averageCounts(occurring, 'macro', zeroDivision),
    weighted: averageCounts(occurring, 'weighted', zeroDivision),
    matthews: matthewsCorrelation(gold, predicted),
    classes: counts.map((c, id) => ({
      label: nth(labels, id),
      ...scoresFromCounts(c, zeroDivision),
      predicted: c.predicted,
    })),
    confusion,
  }
  if (labels.length !== 2) {
    check(options.positive === undefined, 'ERR_OPTION', () => `positive: needs 2 classes, there are ${labels.length}`)
    return report
  }
  const positive = options.positive ?? nth(labels, 1)
  const row = report.classes.find(scores => scores.label === positive)
  check(row, 'ERR_OPTION', () => `positive: "${positive}" is not one of ${labels.join(', ')}`)
  const { precision, recall, f1, support } = row
  return { ...report, binary: { precision, recall, f1, support, positive } }
}
