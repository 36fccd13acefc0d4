import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { entityReport, entitySpans } from '../../lib/metrics/entities.ts'
import { golden, near, nearScores } from './golden.ts'

type Rows = Record<'micro' | 'macro' | 'weighted', number[]> & { types: number[][] }
type Case = {
  gold: string[][]
  predicted: string[][]
  tokenAccuracy: number
} & Record<'default0' | 'default1' | 'strict0' | 'strict1', Rows | null>

const cases = golden<Case>('entities.json')

for (const mode of ['default', 'strict'] as const)
  for (const zeroDivision of [0, 1] as const)
    test(`${mode} mode equals seqeval, zero division ${zeroDivision}`, () => {
      let refused = 0
      for (const [k, c] of cases.entries()) {
        const want = c[`${mode}${zeroDivision}`]
        if (!want) {
          refused++
          assert.throws(() => entityReport(c.gold, c.predicted, { mode }), /is not IOB2/)
          continue
        }
        const report = entityReport(c.gold, c.predicted, { mode, zeroDivision })
        const what = `case ${k} ${JSON.stringify(c.gold)} ${JSON.stringify(c.predicted)}`
        nearScores(report.micro, want.micro, `${what} micro`)
        nearScores(report.weighted, want.weighted, `${what} weighted`)
        // Without any entity seqeval's macro average is a mean of nothing; ours is the zero-division value.
        if (want.types.length > 0) nearScores(report.macro, want.macro, `${what} macro`)
        else assert.is(report.macro.precision, zeroDivision)
        assert.is(report.types.length, want.types.length)
        for (const [i, row] of report.types.entries()) nearScores(row, want.types[i]!, `${what} type ${row.label}`)
        near(report.tokenAccuracy, c.tokenAccuracy, `${what} tokens`)
      }
      assert.is(mode === 'strict' ? refused > 30 : refused === 0, true)
      assert.ok(cases.length - refused > 50)
    })

test('an I- after O starts an entity by default and is dropped when strict', () => {
  assert.equal(entitySpans(['I-NP', 'I-NP', 'O']), [{ type: 'NP', start: 0, end: 2 }])
  assert.equal(entitySpans(['I-NP', 'I-NP', 'O'], 'strict'), [])
  assert.equal(entitySpans(['B-A-x', 'I-A-x', 'B-A-x'], 'strict'), [
    { type: 'A-x', start: 0, end: 2 },
    { type: 'A-x', start: 2, end: 3 },
  ])
})

test('token accuracy with and without O', () => {
  const report = entityReport([['O', 'O', 'B-A', 'I-A']], [['O', 'B-A', 'B-A', 'O']])
  assert.is(report.tokenAccuracy, 0.5)
  assert.is(report.tokenAccuracyWithoutO, 0.5)
  assert.ok(Number.isNaN(entityReport([['O']], [['O']]).tokenAccuracyWithoutO))
})

const tag = fc.constantFrom('O', 'O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
const corpus = fc.array(fc.array(tag, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 6 })

test('a perfect prediction scores 1 in both modes', () => {
  fc.assert(
    fc.property(corpus, fc.constantFrom('default', 'strict' as const), (gold, mode) => {
      const report = entityReport(gold, gold, { mode: mode as 'default' | 'strict' })
      assert.is(report.tokenAccuracy, 1)
      for (const row of report.types) assert.equal([row.precision, row.recall, row.f1], [1, 1, 1])
      if (report.types.length > 0) assert.is(report.micro.f1, 1)
    }),
  )
})

test('swapping gold and prediction swaps precision and recall', () => {
  fc.assert(
    fc.property(corpus, fc.infiniteStream(tag), (gold, stream) => {
      const predicted = gold.map(tags => tags.map(() => stream.next().value))
      const one = entityReport(gold, predicted).micro
      const other = entityReport(predicted, gold).micro
      assert.is(one.precision, other.recall)
      near(one.f1, other.f1, 'F1')
    }),
  )
})

test('the spans of strict mode cover B- and I- tags once and never overlap', () => {
  fc.assert(
    fc.property(fc.array(tag, { maxLength: 20 }), tags => {
      let last = 0
      for (const span of entitySpans(tags, 'strict')) {
        assert.ok(span.start >= last && span.end > span.start)
        assert.is(tags[span.start], `B-${span.type}`)
        last = span.end
      }
    }),
  )
})

test('unequal lengths, empty tags and empty input are ERR_DATA', () => {
  assert.throws(() => entityReport([['O', 'O']], [['O']]), /sentence 0 has 2 gold tags but 1 predicted/)
  assert.throws(() => entityReport([['']], [['O']]), /empty tag/)
  assert.throws(() => entityReport([], []), /nothing to score/)
})

test.run()
