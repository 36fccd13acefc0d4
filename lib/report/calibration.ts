// Whether a model is as sure as it is right: answers by their probability, and what a threshold would leave out.

import { type CalibrationBin, calibrationBins, calibrationError, type SureAnswer } from '../metrics/probability.ts'
import { lineChart, type Point } from './chart.ts'
import { integer, percent } from './format.ts'
import { type Html, html } from './html.ts'

/** Answers kept from a probability on. */
export type ThresholdRow = { threshold: number; covered: number; accuracy: number }

/** How sure answers were, and how often they were right. */
export type CalibrationData = {
  bins: readonly CalibrationBin[]
  /** Expected calibration error: the mean distance of probability and accuracy over all answers. */
  error: number
  thresholds: readonly ThresholdRow[]
}

const BINS = 10
const THRESHOLDS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]

/** Bins and thresholds of answers. */
export function calibrationOf(answers: readonly SureAnswer[]): CalibrationData {
  const bins = calibrationBins(answers, BINS)
  const thresholds = THRESHOLDS.flatMap(threshold => {
    const kept = answers.filter(({ probability }) => probability >= threshold)
    if (kept.length === 0) return []
    const accuracy = kept.filter(({ right }) => right).length / kept.length
    return [{ threshold, covered: kept.length / answers.length, accuracy }]
  })
  return { bins, error: calibrationError(bins), thresholds }
}

/** A reliability diagram, and accuracy by threshold. */
export function calibrationSection({ calibration }: { calibration?: CalibrationData }): Html | undefined {
  if (!calibration || calibration.bins.length === 0) return undefined
  const { bins, error, thresholds } = calibration
  const points = bins.map(({ confidence, accuracy }): Point => [confidence, accuracy])
  const ideal: Point[] = [
    [0, 0],
    [1, 1],
  ]
  const series = [
    { name: 'as right as sure', points: ideal, color: 5, faint: true },
    { name: 'this model', points, color: 1, dots: true },
  ]
  const format = (y: number) => percent(y, 0)
  const title = 'Accuracy by probability of the answer'
  const rows = thresholds.map(({ threshold, covered, accuracy }) => {
    return html`<tr><th>${percent(threshold, 0)}</th><td class="num">${percent(covered)}</td><td
class="num">${percent(accuracy)}</td></tr>`
  })
  const count = bins.reduce((sum, bin) => sum + bin.count, 0)
  return html`<section><h2>How sure, how right</h2><p class="lead">Over ${integer(count)} answers, probability and
accuracy are ${percent(error)} apart on average. A threshold answers only where the model is that sure.</p>
<figure>${lineChart({ series, xName: 'probability', format, yRange: [0, 1], height: 260, title })}</figure>
<div class="sideways"><table><thead><tr><th>Threshold</th><th class="num">Answered</th><th
class="num">Accuracy of these</th></tr></thead><tbody>${rows}</tbody></table></div></section>`
}
