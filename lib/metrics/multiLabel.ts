// Multi-label classification: each row is a 0/1 vector over the labels; every number equals scikit-learn's.

import { check } from '../errors.ts'
import { checkOptions } from '../options.ts'
import { nth } from '../tuple.ts'
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

/** Rows of 0/1 indicators, [examples][labels]. */
export type Indicators = ArrayLike<ArrayLike<number>>

/** Everything the CLI and the report say about multi-label predictions. */
export type MultiLabelReport = {
  examples: number
  /** Share of rows that are right in every label. */
  subsetAccuracy: number
  /** Share of wrong cells. */
  hammingLoss: number
  micro: Scores
  macro: Scores
  weighted: Scores
  /** Mean over rows of each row's own scores; support is the number of gold cells. */
  samples: Scores
  /** One row per label, in label order. */
  classes: (Scores & { label: string; predicted: number })[]
}

function checkIndicators(gold: Indicators, predicted: Indicators, width: number): void {
  checkPaired('multiLabelReport', gold, predicted)
  for (const [side, rows] of [
    ['gold', gold],
    ['predicted', predicted],
  ] as const) {
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!
      check(
        row.length === width,
        'ERR_DATA',
        () => `multiLabelReport: ${side} row ${i} has ${row.length} cells, there are ${width} labels`,
      )
      for (let j = 0; j < width; j++)
        check(
          row[j] === 0 || row[j] === 1,
          'ERR_DATA',
          () => `multiLabelReport: ${side} row ${i} holds ${row[j]} at label ${j}; only 0 and 1 are indicators`,
        )
    }
  }
}

function rowCounts(gold: ArrayLike<number>, predicted: ArrayLike<number>): Counts {
  const counts = { truePositive: 0, predicted: 0, gold: 0 }
  for (let j = 0; j < gold.length; j++) addCell(counts, gold[j]!, predicted[j]!)
  return counts
}

function addCell(counts: Counts, gold: number, predicted: number): void {
  counts.gold += gold
  counts.predicted += predicted
  counts.truePositive += gold & predicted
}

/** All scores of multi-label predictions. Throws ERR_DATA for ragged rows or cells other than 0 and 1. */
export function multiLabelReport(
  gold: Indicators,
  predicted: Indicators,
  labels: readonly string[],
  options: { zeroDivision?: ZeroDivision } = {},
): MultiLabelReport {
  checkOptions('multiLabelReport', options, { zeroDivision: true })
  const { zeroDivision = 0 } = options
  checkZeroDivision(zeroDivision)
  checkIndicators(gold, predicted, labels.length)
  const counts = labels.map(() => ({ truePositive: 0, predicted: 0, gold: 0 }))
  const samples: Scores[] = []
  let exact = 0
  let wrongCells = 0
  for (let i = 0; i < gold.length; i++) {
    const goldRow = gold[i]!
    const predictedRow = predicted[i]!
    const row = rowCounts(goldRow, predictedRow)
    const wrong = row.gold + row.predicted - 2 * row.truePositive
    wrongCells += wrong
    if (wrong === 0) exact++
    samples.push(scoresFromCounts(row, zeroDivision))
    for (const [j, c] of counts.entries()) addCell(c, goldRow[j]!, predictedRow[j]!)
  }
  const classes = counts.map(c => scoresFromCounts(c, zeroDivision))
  const weights = counts.map(c => c.gold)
  return {
    examples: gold.length,
    subsetAccuracy: exact / gold.length,
    hammingLoss: wrongCells / (gold.length * labels.length),
    micro: microAverage(counts, zeroDivision),
    macro: meanScores(classes),
    weighted: meanScores(classes, weights),
    samples: meanScores(samples),
    classes: classes.map((scores, j) => ({ label: nth(labels, j), ...scores, predicted: nth(counts, j).predicted })),
  }
}
