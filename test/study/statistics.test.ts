// Numbers of a few seeds against tables and hand computation; plans against their own sums.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { studentQuantile } from '../../lib/metrics/tails.ts'
import { planSteps } from '../../lib/study/budget.ts'
import { gridAround } from '../../lib/study/compare.ts'
import { differenceOf, median, spreadOf } from '../../lib/study/statistics.ts'

test("Student's t: the table's quantiles", () => {
  const table: [df: number, q975: number, q95: number][] = [
    [1, 12.7062, 6.3138],
    [2, 4.3027, 2.92],
    [3, 3.1824, 2.3534],
    [4, 2.7764, 2.1318],
    [9, 2.2622, 1.8331],
    [30, 2.0423, 1.6973],
  ]
  for (const [df, q975, q95] of table) {
    assert.ok(Math.abs(studentQuantile(0.975, df) - q975) < 6e-5, `${df}: ${studentQuantile(0.975, df)}`)
    assert.ok(Math.abs(studentQuantile(0.95, df) - q95) < 6e-5, `${df}: ${studentQuantile(0.95, df)}`)
  }
})

test('mean, deviation, paired differences', () => {
  const { mean: average, sd, count } = spreadOf([1, 2, 4])
  assert.ok(Math.abs(average - 7 / 3) < 1e-15 && Math.abs(sd! - Math.sqrt(7 / 3)) < 1e-14 && count === 3)
  assert.is(spreadOf([5]).sd, undefined)
  const { mean, low, high } = differenceOf([0.7, 0.72, 0.74], [0.69, 0.7, 0.73])
  assert.ok(Math.abs(mean - 0.04 / 3) < 1e-12)
  const reach = (4.30265 * Math.sqrt(1 / 3) * 0.01) / Math.sqrt(3)
  assert.ok(Math.abs(high! - mean - reach) < 1e-6 && Math.abs(mean - low! - reach) < 1e-6)
  assert.is(differenceOf([1], [2]).low, undefined)
  assert.is(median([3, 1, 2, 10]), 2.5)
})

test('a grid is √10 apart around its centre', () => {
  assert.equal(gridAround(2e-3, 3), [6.3e-4, 2e-3, 6.3e-3])
  assert.equal(gridAround(2e-3, 1), [2e-3])
  assert.equal(gridAround(1e-3, 2), [5.6e-4, 1.8e-3])
})

test('a plan has the most steps that fit, and says what is too little', () => {
  const costs = [
    { method: 'a', step: 0.1, validation: 1, test: 2, spent: 1, totalSteps: 1000, stepsPerEpoch: 50, runs: 4 },
    { method: 'b', step: 0.3, validation: 2, test: 2, spent: 1, totalSteps: 1000, stepsPerEpoch: 50, runs: 5 },
  ]
  const seconds = (steps: number) =>
    2 + 4 * (0.1 * steps + Math.ceil(steps / 50) + 4) + 5 * (0.3 * steps + 2 * Math.ceil(steps / 50) + 4)
  const { maxSteps, epochs } = planSteps(600, costs)
  assert.ok(seconds(maxSteps) <= 510 && seconds(maxSteps + 1) > 510, `${maxSteps}`)
  assert.is(epochs, Math.ceil(maxSteps / 50))
  assert.is(planSteps(1e6, costs).maxSteps, 1000, 'never more than asked for')
  assert.throws(
    () => planSteps(20, costs),
    (error: Error) => /^budget: 20 s is too short, one step of each of the 9 runs takes \d+ s/.test(error.message),
  )
})

test.run()
