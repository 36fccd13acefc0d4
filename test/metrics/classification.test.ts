import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  accuracy,
  classificationReport,
  confusionMatrix,
  matthewsCorrelation,
  precisionRecallF1,
} from '../../lib/metrics/classification.ts'
import { renderReport } from '../../lib/report/report.ts'
import { golden, near, nearScores, zeroDivisions } from './golden.ts'

type Rows = number[][]
type Averages = { classes: Rows; micro: number[]; macro: number[]; weighted: number[] }
type Case = {
  gold: number[]
  predicted: number[]
  classes: number
  accuracy: number
  confusion: Rows
  matthews: number
  averages: Record<keyof typeof zeroDivisions, Averages>
  macroAllClasses: number[]
  microFirstTwo: number[]
  binary?: Record<keyof typeof zeroDivisions, Rows>
}

const cases = golden<Case>('classification.json')
const names = (n: number) => Array.from({ length: n }, (_, i) => `label ${i}`)

test('every average equals scikit-learn, for each zero division', () => {
  assert.ok(cases.length > 50)
  for (const [k, { gold, predicted, averages }] of cases.entries())
    for (const key of ['0', '1', 'nan'] as const)
      for (const average of ['micro', 'macro', 'weighted'] as const) {
        const scores = precisionRecallF1(gold, predicted, { average, zeroDivision: zeroDivisions[key] })
        nearScores(scores, averages[key][average], `case ${k} ${average} zero division ${key}`)
      }
})

test('chosen classes: absent ones count in the macro mean, others drop out of the micro sum', () => {
  for (const [k, c] of cases.entries()) {
    const all = precisionRecallF1(c.gold, c.predicted, { average: 'macro', classes: [...Array(c.classes).keys()] })
    nearScores(all, c.macroAllClasses, `case ${k} macro of all`)
    const two = precisionRecallF1(c.gold, c.predicted, { average: 'micro', classes: [0, 1] })
    nearScores(two, c.microFirstTwo, `case ${k} micro of two`)
  }
})

test('binary average scores the positive class alone', () => {
  let seen = 0
  for (const [k, c] of cases.entries())
    for (const key of ['0', '1', 'nan'] as const)
      for (const positive of [0, 1] as const) {
        if (!c.binary) continue
        seen++
        const options = { average: 'binary', positive, zeroDivision: zeroDivisions[key] } as const
        nearScores(precisionRecallF1(c.gold, c.predicted, options), c.binary[key][positive]!, `case ${k} ${positive}`)
      }
  assert.ok(seen > 50)
})

test('the report holds per-class rows, confusion, accuracy and Matthews of scikit-learn', () => {
  for (const [k, c] of cases.entries())
    for (const key of ['0', '1', 'nan'] as const) {
      const report = classificationReport(c.gold, c.predicted, names(c.classes), { zeroDivision: zeroDivisions[key] })
      assert.equal(confusionMatrix(c.gold, c.predicted, report.classes.length), c.confusion)
      for (const [gold, predicted, count] of report.confusion) assert.is(c.confusion[gold]![predicted], count)
      near(report.accuracy, c.accuracy, `case ${k} accuracy`)
      near(report.matthews, c.matthews, `case ${k} Matthews`)
      near(matthewsCorrelation(c.gold, c.predicted), c.matthews, `case ${k} Matthews`)
      nearScores(report.weighted, c.averages[key].weighted, `case ${k} weighted`)
      for (const [i, row] of report.classes.entries())
        nearScores(row, c.averages[key].classes[i]!, `case ${k} class ${i} zero division ${key}`)
    }
})

test('two classes have a binary row, for the named class', () => {
  const report = classificationReport([0, 0, 1, 1], [0, 1, 1, 1], ['ham', 'spam'])
  assert.is(report.binary?.positive, 'spam')
  near(report.binary!.precision, 2 / 3, 'precision')
  assert.is(report.binary!.recall, 1)
  const ham = classificationReport([0, 0, 1, 1], [0, 1, 1, 1], ['ham', 'spam'], { positive: 'ham' })
  assert.is(ham.binary?.precision, 1)
  assert.is(classificationReport([0], [0], ['a', 'b', 'c']).binary, undefined)
  assert.throws(() => classificationReport([0], [0], ['a', 'b'], { positive: 'x' }), /positive: "x" is not one of a, b/)
})

test('F1 lies between the smaller of precision and recall and their mean; micro equals accuracy', () => {
  const label = fc.integer({ min: 0, max: 5 })
  const pairs = fc.array(fc.tuple(label, label), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(pairs, fc.constantFrom(0, 1, Number.NaN), (items, zeroDivision) => {
      const gold = items.map(([g]) => g)
      const predicted = items.map(([, p]) => p)
      const report = classificationReport(gold, predicted, names(6), { zeroDivision })
      for (const { precision, recall, f1 } of report.classes) {
        if (Number.isNaN(precision + recall + f1)) continue
        assert.ok(Math.min(precision, recall) <= f1 + 1e-12 && f1 <= (precision + recall) / 2 + 1e-12)
      }
      near(report.micro.f1, report.accuracy, 'micro F1')
      assert.is(
        report.confusion.reduce((sum, [, , count]) => sum + count, 0),
        items.length,
      )
      assert.is(
        report.classes.reduce((sum, row) => sum + row.support, 0),
        items.length,
      )
    }),
  )
})

test('bad input is an ERR_DATA or ERR_OPTION', () => {
  const code = (want: string) => (error: unknown) => (error as { code?: string }).code === want
  assert.throws(() => accuracy([], []), code('ERR_DATA'))
  assert.throws(() => accuracy([1, 2], [1]), /2 gold items but 1 predictions/)
  assert.throws(() => confusionMatrix([0, 3], [0, 1], 3), /item 1 is \(3, 1\), outside the 3 classes/)
  assert.throws(() => confusionMatrix([0, -1], [0, 1], 3), code('ERR_DATA'))
  assert.throws(() => confusionMatrix([0, 1], [0, 0.5], 3), code('ERR_DATA'))
  assert.throws(() => precisionRecallF1([0], [0], { average: 'macro', zeroDivision: 2 }), code('ERR_OPTION'))
})

test('twenty thousand classes take memory by examples, not by classes squared', () => {
  const classes = 20_000
  const labels = Array.from({ length: classes }, (_, i) => `class ${i}`)
  const gold = Array.from({ length: 3000 }, (_, i) => (i * 7) % classes)
  const predicted = gold.map((id, i) => (i % 2 ? id : (id + 1) % classes))
  const report = classificationReport(gold, predicted, labels)
  assert.is(report.confusion.length, 3000)
  assert.is(report.accuracy, 0.5)
  const confusion = { labels, cells: report.confusion }
  const page = renderReport({ title: 't', task: 'classification', confusion, classes: report.classes })
  assert.ok(page.length < 2e6, `${page.length}`)
  assert.match(page, /too many for a picture/)
})

test.run()
