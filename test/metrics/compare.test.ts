import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { precisionRecallF1 } from '../../lib/metrics/classification.ts'
import {
  bootstrapAccuracy,
  bootstrapEntityF1,
  bootstrapMacroF1,
  mcnemar,
  mcnemarOfPredictions,
} from '../../lib/metrics/compare.ts'
import { entityReport } from '../../lib/metrics/entities.ts'
import { resampler } from '../../lib/random.ts'
import { golden, near } from './golden.ts'

type Case = { b: number; c: number; exact: number; chiSquare: number; pChiSquare: number }

test('McNemar equals the formulas of statsmodels', () => {
  for (const { b, c, exact, chiSquare, pChiSquare } of golden<Case>('mcnemar.json')) {
    const result = mcnemar(b, c)
    near(result.pExact / exact, 1, `exact p of ${b}, ${c}`, 1e-9)
    near(result.chiSquare, chiSquare, `chi-square of ${b}, ${c}`)
    near(result.pChiSquare / pChiSquare, 1, `chi-square p of ${b}, ${c}`, 1e-11)
  }
})

test('McNemar counts discordant items only', () => {
  const result = mcnemarOfPredictions([0, 0, 0, 1, 1], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0])
  assert.equal([result.onlyBefore, result.onlyAfter], [1, 2])
})

const draw = resampler(7)
const gold = Array.from({ length: 400 }, () => draw(5))
const before = gold.map(g => (draw(100) < 50 ? g : draw(5)))
const after = gold.map(g => (draw(100) < 80 ? g : draw(5)))

test('the bootstrap is reproducible by seed and brackets the observed difference', () => {
  const one = bootstrapAccuracy(gold, before, after, { resamples: 1000, seed: 3 })
  assert.equal(one, bootstrapAccuracy(gold, before, after, { resamples: 1000, seed: 3 }))
  assert.is.not(one.low, bootstrapAccuracy(gold, before, after, { resamples: 1000, seed: 4 }).low)
  assert.ok(one.low < one.difference && one.difference < one.high)
  assert.ok(one.low > 0, 'a thirty-point gain over 400 items excludes 0')
})

test('the accuracy interval has the width theory gives', () => {
  const { difference, low, high } = bootstrapAccuracy(gold, before, after, { resamples: 4000, seed: 1 })
  let squares = 0
  for (const [i, g] of gold.entries()) squares += (Number(after[i] === g) - Number(before[i] === g) - difference) ** 2
  const standardError = Math.sqrt(squares) / gold.length
  near((high - low) / (2 * 1.96 * standardError), 1, 'width', 0.08)
})

test('the point estimates are those of the metrics', () => {
  const macro = bootstrapMacroF1(gold, before, after, { resamples: 50 })
  near(macro.before, precisionRecallF1(gold, before, { average: 'macro' }).f1, 'before')
  near(macro.after, precisionRecallF1(gold, after, { average: 'macro' }).f1, 'after')
  const tags = [
    ['B-A', 'I-A', 'O'],
    ['O', 'B-B'],
    ['B-A', 'O'],
  ]
  const poor = [
    ['B-A', 'O', 'O'],
    ['O', 'B-B'],
    ['O', 'O'],
  ]
  const entity = bootstrapEntityF1(tags, poor, tags, { resamples: 50 })
  near(entity.before, entityReport(tags, poor).micro.f1, 'before')
  assert.is(entity.after, 1)
})

test('equal systems have a zero interval', () => {
  const { difference, low, high } = bootstrapMacroF1(gold, after, after, { resamples: 100 })
  assert.equal([difference, low, high], [0, 0, 0])
})

test('draws are uniform', () => {
  const next = resampler(11)
  const counts = new Array<number>(7).fill(0)
  for (let i = 0; i < 70_000; i++) counts[next(7)]!++
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 450, `${counts}`)
})

test('bad options are ERR_OPTION', () => {
  assert.throws(() => bootstrapAccuracy(gold, before, after, { resamples: 0 }), /resamples: 0/)
  assert.throws(() => bootstrapAccuracy(gold, before, after, { confidence: 95 }), /confidence: 95/)
})

test.run()
