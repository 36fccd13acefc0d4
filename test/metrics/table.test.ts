import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { higherIsBetter, METRICS, metricOf } from '../../lib/metrics/table.ts'
import { renderReport } from '../../lib/report/report.ts'
import { evaluate } from '../../lib/train/evaluate.ts'
import { hideTokens, sentences, sequences, TAGS, tinyModel } from '../train/support.ts'

test('every metric of every task stands in the table once', async () => {
  const floats = (width: number) => sequences(8).map(e => ({ ...e, label: new Float32Array(width).fill(1) }))
  const runs = [
    { model: tinyModel(), examples: sequences(8) },
    { model: tinyModel({ labels: ['a', 'b'] }), examples: sequences(8).map((e, i) => ({ ...e, label: i % 2 })) },
    { model: tinyModel({ problem: 'multi' }), examples: floats(3) },
    { model: tinyModel({ problem: 'regression', labels: ['y'] }), examples: floats(1) },
    { model: tinyModel({ task: 'token-classification', labels: TAGS }), examples: sentences(8) },
    { model: tinyModel({ task: 'masked-lm' }), examples: sequences(8), transform: hideTokens },
  ] as const
  const names = METRICS.map(({ name }) => name)
  assert.is(new Set(names).size, names.length)
  for (const { model, examples, ...options } of runs) {
    const { metrics } = await evaluate(model, examples, options)
    for (const name of Object.keys(metrics)) assert.ok(names.includes(name), name)
    model.dispose()
  }
})

test('errors and correlations are no percentages, losses should fall', () => {
  for (const name of ['rmse', 'mse', 'mae', 'r2', 'pearson', 'spearman', 'matthews', 'loss', 'perplexity'])
    assert.is(metricOf(name).unit, 'number', name)
  for (const name of ['loss', 'mse', 'rmse', 'mae', 'hammingLoss', 'perplexity', 'bitsPerToken'])
    assert.not(higherIsBetter(name), name)
  assert.ok(higherIsBetter('accuracy') && higherIsBetter('pearson') && higherIsBetter('no such metric'))
})

test('a report shows values in their unit, and metrics of one axis in one chart', () => {
  const point = (epoch: number) => ({
    epoch,
    metrics: { rmse: 0.62, pearson: 0.31, accuracy: 0.5, f1: 0.25, loss: 0.7 },
  })
  const page = renderReport({ title: 't', task: 'regression', evaluations: [point(1), point(2)] })
  assert.not.match(page, /62\.0\s*%|31\.0\s*%/)
  for (const text of ['>0.620<', '>0.310<', '>50.0\u2009%<']) assert.ok(page.includes(text), text)
  const charts = [...page.matchAll(/aria-label="(Validation [^"]*)"/g)].map(match => match[1])
  assert.equal(charts, [
    'Validation RMSE by epoch',
    'Validation Pearson by epoch',
    'Validation accuracy, F1 by epoch',
    'Validation loss by epoch',
  ])
})

test.run()
