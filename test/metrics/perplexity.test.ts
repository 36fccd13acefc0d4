import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { perplexityReport } from '../../lib/metrics/perplexity.ts'
import { near } from './golden.ts'

test('tokens weigh equally across batches of different length', () => {
  const report = perplexityReport([
    { sum: 10 * Math.log(8), tokens: 10, correct: 4 },
    { sum: 30 * Math.log(2), tokens: 30, correct: 26 },
  ])
  near(report.loss, (10 * Math.log(8) + 30 * Math.log(2)) / 40, 'loss')
  near(report.perplexity, 2 ** 1.5, 'perplexity')
  near(report.bitsPerToken, 1.5, 'bits')
  assert.is(report.accuracy, 0.75)
})

test('a uniform guess over V words has perplexity V; bytes give bits per byte', () => {
  const report = perplexityReport([{ sum: 5 * Math.log(1000), tokens: 5 }], { bytes: 20 })
  near(report.perplexity, 1000, 'perplexity', 1e-9)
  near(report.bitsPerByte!, (5 * Math.log2(1000)) / 20, 'bits per byte')
  assert.is(report.accuracy, undefined)
})

test('no scored token is ERR_DATA', () => {
  assert.throws(() => perplexityReport([]), /0 scored tokens/)
})

test.run()
