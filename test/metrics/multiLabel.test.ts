import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { multiLabelReport } from '../../lib/metrics/multiLabel.ts'
import { golden, near, nearScores, zeroDivisions } from './golden.ts'

type Averages = Record<'micro' | 'macro' | 'weighted' | 'samples', number[]> & { classes: number[][] }
type Case = {
  gold: number[][]
  predicted: number[][]
  subsetAccuracy: number
  hammingLoss: number
  averages: Record<keyof typeof zeroDivisions, Averages>
}

test('every number equals scikit-learn, for each zero division', () => {
  const cases = golden<Case>('multiLabel.json')
  assert.ok(cases.length > 30)
  for (const [k, c] of cases.entries())
    for (const key of ['0', '1', 'nan'] as const) {
      const labels = c.gold[0]!.map((_, j) => `label ${j}`)
      const report = multiLabelReport(c.gold, c.predicted, labels, { zeroDivision: zeroDivisions[key] })
      near(report.subsetAccuracy, c.subsetAccuracy, `case ${k} subset accuracy`)
      near(report.hammingLoss, c.hammingLoss, `case ${k} Hamming loss`)
      for (const average of ['micro', 'macro', 'weighted', 'samples'] as const)
        nearScores(report[average], c.averages[key][average], `case ${k} ${average} zero division ${key}`)
      for (const [j, row] of report.classes.entries())
        nearScores(row, c.averages[key].classes[j]!, `case ${k} label ${j}`)
    }
})

test('ragged rows and cells other than 0 and 1 are ERR_DATA', () => {
  assert.throws(() => multiLabelReport([[0, 1]], [[0]], ['a', 'b']), /predicted row 0 has 1 cells, there are 2 labels/)
  assert.throws(() => multiLabelReport([[0, 1]], [[0, 0.5]], ['a', 'b']), /holds 0.5 at label 1/)
  assert.throws(() => multiLabelReport([], [], ['a']), /nothing to score/)
})

test.run()
