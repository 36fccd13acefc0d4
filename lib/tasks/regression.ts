import { columnOf } from '../data/columns.ts'
// Regression: one number, or several, for each text or pair of texts.

import type { Row } from '../data/row.ts'
import { pairedBootstrap } from '../metrics/compare.ts'
import { type RegressionReport, regressionReport } from '../metrics/regression.ts'
import { must, nth } from '../tuple.ts'
import { inferSequence, numberOf } from './labelColumn.ts'
import { largest, logitsIn, rowOf } from './logits.ts'
import { textFor, textRows } from './shared.ts'
import type { Answer, Prediction, PredictionRecord, Task } from './task.ts'
import { encodeText, sequenceName as name, sequenceNeeds as needs, numbersAt, textParts } from './texts.ts'
import { meanOf } from './windows.ts'

/** Numbers. */
export interface ValuesPrediction extends Prediction {
  readonly gold: Float32Array | undefined
  readonly predicted: Float32Array
}

const deciles = 10

function decilesOf(numbers: readonly number[]): string[] {
  const sorted = [...numbers].sort((a, b) => a - b)
  const bounds = Array.from({ length: deciles - 1 }, (_, i) =>
    nth(sorted, Math.floor(((i + 1) * sorted.length) / deciles)),
  )
  return numbers.map(number => String(bounds.filter(bound => number >= bound).length))
}

const meanSquare = ({ gold, predicted }: Answer<ValuesPrediction>) =>
  must(gold, 'gold').reduce((sum, value, c) => sum + (value - nth(predicted, c)) ** 2, 0) / predicted.length

const plain = (values: Float32Array) => (values.length === 1 ? nth(values, 0) : Array.from(values))

/** Numbers: one, or several, a text. */
/** What predict tells of a text: its value, or its values. */
type ValueRecord = PredictionRecord & { readonly value: number | readonly number[] }

export const regression: Task<ValuesPrediction, ValueRecord> = {
  name,
  needs,
  problem: 'regression',
  title: 'regression',
  graded: true,

  infer: (rows, columns, asked) => inferSequence('regression', rows, columns, asked),
  outputs(rows, columns) {
    const column = columns.label ?? 'value'
    const value = rows.at(0)?.values[column]
    return Array.isArray(value) && value.length > 1 ? value.map((_, i) => `${column}_${i}`) : [column]
  },
  strata: (rows, columns) => decilesOf(rows.map(row => nth(numbersOf(row, columnOf(columns, 'label')), 0))),
  readable: textRows,
  parts: textParts,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column) => Float32Array.from(numbersOf(row, column))),
  merge: predictions => ({ gold: undefined, predicted: meanOf(predictions.map(p => p.predicted)) }),

  read: (answers, examples) =>
    examples.map(({ label }, i) => ({
      gold: label instanceof Float32Array ? label : undefined,
      predicted: Float32Array.from(rowOf(logitsIn(answers), i)),
    })),
  score(predictions) {
    const reports: RegressionReport[] = Array.from(nth(predictions, 0).predicted, (_, c) =>
      regressionReport(
        predictions.map(p => nth(must(p.gold, 'gold'), c)),
        predictions.map(p => nth(p.predicted, c)),
      ),
    )
    const mean = (of: (report: RegressionReport) => number) =>
      reports.reduce((sum, report) => sum + of(report), 0) / reports.length
    const metrics = {
      mse: mean(r => r.mse),
      rmse: Math.sqrt(mean(r => r.mse)),
      mae: mean(r => r.mae),
      r2: mean(r => r.r2),
      pearson: mean(r => r.pearson),
      spearman: mean(r => r.spearman),
    }
    return { metrics, reports: { regression: reports } }
  },
  metric: () => 'loss',
  sample: outputs => ({ gold: new Float32Array(outputs), predicted: new Float32Array(outputs) }),
  resample(before, after, _, seed) {
    const [b, a] = [before.map(meanSquare), after.map(meanSquare)]
    const rmse = (values: readonly number[], sample: Uint32Array) =>
      Math.sqrt(sample.reduce((sum, i) => sum + nth(values, i), 0) / sample.length)
    const score = (sample: Uint32Array) => ({ before: rmse(b, sample), after: rmse(a, sample) })
    return { rmse: pairedBootstrap('rmse', after.length, score, { seed }) }
  },
  details: (_, predictions) => ({
    scatter: {
      gold: predictions.map(p => nth(must(p.gold, 'gold'), 0)),
      predicted: predictions.map(p => nth(p.predicted, 0)),
    },
  }),

  right: ({ gold, predicted }) => predicted.every((value, c) => value === must(gold, 'gold')[c]),
  wrong({ gold, predicted }) {
    const errors = Array.from(predicted, (value, c) => Math.abs(value - nth(must(gold, 'gold'), c)))
    return errors.every(error => error === 0) ? undefined : Math.max(...errors)
  },
  mistake: ({ gold, predicted }, example, reader) => {
    const errors = predicted.map((value, c) => Math.abs(value - nth(must(gold, 'gold'), c)))
    const worst = nth(largest(errors, 1), 0)
    return {
      text: [{ text: textFor(example, reader) }],
      gold: nth(must(gold, 'gold'), worst),
      predicted: nth(predicted, worst),
    }
  },
  record: ({ gold, predicted }, example, reader) => ({
    text: textFor(example, reader),
    value: plain(predicted),
    ...(gold === undefined ? {} : { gold: plain(gold) }),
  }),
  line({ text, value }) {
    const values = typeof value === 'number' ? [value] : value
    return [{ text: `${values.map(one => one.toPrecision(4)).join(' ')}  ${text}` }]
  },
  view(batch, i) {
    const label = numbersAt(batch, i)
    return { label, weight: label.length }
  },
}

/** The numbers in a label: one, or a list. */
function numbersOf(row: Row, column: string): number[] {
  const value = row.values[column]
  return Array.isArray(value) ? value.map(one => numberOf(row, column, one)) : [numberOf(row, column, value)]
}
