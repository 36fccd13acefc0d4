import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  calibrationBins,
  expectedCalibrationError,
  logLoss,
  rocAuc,
  rocAucOneVsRest,
} from '../../lib/metrics/probability.ts'
import { golden, near } from './golden.ts'

type Case = { gold: number[]; probabilities: number[][]; coarse: number[] } & Record<
  'logLoss' | 'aucLast' | 'aucCoarse' | 'aucOneVsRest' | 'calibration15' | 'calibration10',
  number
>

test('log loss, AUC and calibration error equal the references', () => {
  for (const [k, c] of golden<Case>('probability.json').entries()) {
    const classes = c.probabilities[0]!.length
    const last = c.gold.map(id => (id === classes - 1 ? 1 : 0))
    near(logLoss(c.gold, c.probabilities), c.logLoss, `case ${k} log loss`)
    near(
      rocAuc(
        last,
        c.probabilities.map(row => row[classes - 1]!),
      ),
      c.aucLast,
      `case ${k} AUC`,
    )
    near(rocAuc(last, c.coarse), c.aucCoarse, `case ${k} AUC with ties`)
    near(rocAucOneVsRest(c.gold, c.probabilities), c.aucOneVsRest, `case ${k} one against rest`)
    near(expectedCalibrationError(c.gold, c.probabilities), c.calibration15, `case ${k} 15 bins`)
    near(expectedCalibrationError(c.gold, c.probabilities, 10), c.calibration10, `case ${k} 10 bins`)
  }
})

test('an absent class has no AUC; a certain wrong answer has a finite log loss', () => {
  assert.ok(Number.isNaN(rocAuc([1, 1], [0.2, 0.9])))
  near(logLoss([0], [[0, 1]]), 52 * Math.LN2, 'clipped')
  assert.throws(() => logLoss([3], [[0.5, 0.5]]), /gold class 3 probability undefined/)
  assert.throws(() => rocAuc([0, 2], [1, 2]), /gold is 0 or 1/)
})

test('calibration bins keep their counts', () => {
  const answers = [1, 0.55, 0.6].map((probability, i) => ({ probability, right: i < 2 }))
  const bins = calibrationBins(answers, 10)
  assert.equal(
    bins.map(bin => [bin.count, bin.accuracy]),
    [
      [2, 0.5],
      [1, 1],
    ],
  )
})

test.run()
