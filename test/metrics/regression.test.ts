import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { regressionReport } from '../../lib/metrics/regression.ts'
import { golden, near } from './golden.ts'

type Case = { gold: number[]; predicted: number[] } & Record<'mse' | 'mae' | 'r2' | 'pearson' | 'spearman', number>

test('every number equals scikit-learn and SciPy', () => {
  for (const [k, c] of golden<Case>('regression.json').entries()) {
    const report = regressionReport(c.gold, c.predicted)
    for (const name of ['mse', 'mae', 'r2', 'pearson', 'spearman'] as const)
      near(report[name], c[name], `case ${k} ${name}`)
    near(report.rmse, Math.sqrt(c.mse), `case ${k} rmse`)
  }
})

test('one item has no R² and no correlation; non-finite input is ERR_DATA', () => {
  const one = regressionReport([2], [3])
  assert.is(one.mse, 1)
  assert.ok(Number.isNaN(one.r2) && Number.isNaN(one.pearson) && Number.isNaN(one.spearman))
  assert.throws(() => regressionReport([1, Number.NaN], [1, 2]), /item 1 is \(NaN, 2\)/)
})

test.run()
