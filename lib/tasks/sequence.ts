// Sequence classification: a label, several labels, or numbers for each text or pair of texts.

import type { MicroBatch } from '../data/batches.ts'
import type { Columns } from '../data/columns.ts'
import type { Example } from '../data/example.ts'
import { type LabelMap, labelId, labelMap, labelsOf } from '../data/labels.ts'
import { listOf, placeOf, type Row, textOf } from '../data/row.ts'
import { check } from '../errors.ts'
import type { ClassificationReport } from '../metrics/classification.ts'
import { bootstrapAccuracy, bootstrapMacroF1, pairedBootstrap } from '../metrics/compare.ts'
import { type MultiLabelReport, multiLabelReport } from '../metrics/multiLabel.ts'
import { type RegressionReport, regressionReport } from '../metrics/regression.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { inferSequence, numberOf, vectorWidth } from './labelColumn.ts'
import { argmax, largest, logitsIn, rowOf, softmax } from './logits.ts'
import {
  averageTitles,
  balancedWeights,
  bootstrapShares,
  classScores,
  mapRows,
  named,
  oneClass,
  rarest,
  shareRun,
  textFor,
  textRows,
} from './shared.ts'
import type { Converted, EncodeSpec, LabelSource, Prediction, Run, Task } from './task.ts'

const name = 'sequence-classification'
const needs = 'a text column and a label column (columns.text, columns.label)'

/** One class. */
export interface ClassPrediction extends Prediction {
  readonly gold: number | undefined
  readonly predicted: number
  /** One a class; they sum to 1. */
  readonly probabilities: Float32Array
}

/** Any number of labels. */
export interface LabelsPrediction extends Prediction {
  /** 0 or 1 a label. */
  readonly gold: Uint8Array | undefined
  readonly predicted: Uint8Array
  /** One a label, each for itself. */
  readonly probabilities: Float32Array
}

/** Numbers. */
export interface ValuesPrediction extends Prediction {
  readonly gold: Float32Array | undefined
  readonly predicted: Float32Array
}

/** A label with its probability. */
interface Ranked {
  readonly label: string
  readonly probability: number
}

function* encodeText(
  row: Row,
  tokenizer: Tokenizer,
  spec: EncodeSpec,
  labelOf: (row: Row, column: string, labels: LabelMap | undefined) => Example['label'],
): Generator<Example> {
  const { columns, maxLength, unlabelled, labels } = spec
  const { text, text2, label: column } = columns
  check(text !== undefined, 'ERR_OPTION', () => `columns.text: ${name} needs a text column`)
  const pair = text2 === undefined ? undefined : textOf(row, text2)
  const { ids, typeIds, truncated } = tokenizer.encode(textOf(row, text), { pair, maxLength })
  const label = unlabelled || column === undefined ? undefined : labelOf(row, column, labels)
  yield { ids, typeIds, label, truncated, row }
}

function required(labels: LabelMap | undefined): LabelMap {
  check(labels, 'ERR_OPTION', () => 'labels: classification needs a label map')
  return labels
}

const rank = (probabilities: Float32Array, labels: readonly string[], count: number): Ranked[] =>
  largest(probabilities, count).map(c => ({ label: labels[c]!, probability: probabilities[c]! }))

const labelRuns = ({ label, probability }: Ranked): Run[] => [
  { text: label, style: 'bold' },
  { text: ' ' },
  shareRun(probability),
]

const parted = (lists: readonly Run[][]): Run[] =>
  lists.flatMap((list, i) => (i === 0 ? list : [{ text: ', ' }, ...list]))

const labelled = (columns: Columns): string => columns.label!

/** One label a text. */
export const single: Task<ClassPrediction> = {
  name,
  needs,
  problem: 'single',
  title: 'sequence classification',
  oneClass: true,

  infer: (rows, columns, asked) => inferSequence('single', rows, columns, asked),
  labels: (rows, columns, order) => labelsOf(rows, labelled(columns), order),
  strata: (rows, columns) => rows.map(row => String(row.values[labelled(columns)])),
  readable: textRows,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column, labels) => labelId(required(labels), row, row.values[column])),

  classes: label => (typeof label === 'number' ? [label] : []),
  balance: balancedWeights,
  checkCounts(split, counts, labels) {
    const alone = oneClass(split, counts, labels)
    const absent = [...counts.keys()].filter(id => counts[id] === 0)
    if (alone.length > 0 || split !== 'train' || absent.length === 0) return alone
    const names = absent.slice(0, 8).map(id => `"${labels[id] ?? id}"`)
    const message = `${absent.length} of ${counts.length} classes have no training example: ${names.join(', ')}`
    return [{ code: 'missing-class', message, cure: 'add rows of these classes, or drop the labels' }]
  },

  read(answers, examples) {
    const logits = logitsIn(answers)
    return examples.map(({ label }, i) => ({
      gold: label as number | undefined,
      predicted: argmax(logits, i),
      probabilities: softmax(logits, i),
    }))
  },
  score: (predictions, labels) =>
    classScores(
      predictions.map(p => p.gold!),
      predictions.map(p => p.predicted),
      labels,
    ),
  metric: () => 'accuracy',
  sample: () => ({ gold: 0, predicted: 0, probabilities: Float32Array.of(1) }),
  titles: () => averageTitles('macro'),
  resample(before, after, _, seed) {
    const ids = (list: readonly ClassPrediction[]) => list.map(p => p.predicted)
    const args = [after.map(p => p.gold!), ids(before), ids(after), { seed }] as const
    return { accuracy: bootstrapAccuracy(...args), f1: bootstrapMacroF1(...args) }
  },
  details({ classification }, _, labels) {
    const { classes, confusion } = classification as ClassificationReport
    return { className: 'class', classes, confusion: { labels, counts: confusion } }
  },

  wrong: ({ gold, predicted, probabilities }) => (gold === predicted ? undefined : probabilities[predicted]!),
  mistake: ({ gold, predicted, probabilities }, example, reader) => ({
    text: [{ text: textFor(example, reader) }],
    gold: reader.labels[gold!]!,
    predicted: reader.labels[predicted]!,
    probability: probabilities[predicted]!,
  }),
  record({ gold, probabilities }, example, reader, top) {
    const ranked = rank(probabilities, reader.labels, Math.max(1, top))
    const known = gold === undefined ? {} : { gold: reader.labels[gold]! }
    return { text: textFor(example, reader), ...ranked[0]!, ...(top > 1 ? { top: ranked } : {}), ...known }
  },
  line({ text, label, probability, top = [] }) {
    const others = (top as readonly Ranked[]).slice(1).map(one => `${one.label} ${shareRun(one.probability).text}`)
    const rest: Run[] = others.length > 0 ? [{ text: `  (${others.join(', ')})`, style: 'dim' }] : []
    const first: Run = { text: label as string, style: 'bold', width: 16 }
    return [first, { text: ' ' }, shareRun(probability as number, 5), { text: `  ${text}` }, ...rest]
  },
  view(batch, i, { labels }, weights) {
    const id = batch.targets!.values[i]!
    return { label: labels[id] ?? `#${id}`, weight: weights?.[id] ?? 1 }
  },
}

const on = (row: ArrayLike<number>, labels: readonly string[]) => labels.filter((_, c) => row[c]! > 0)
const list = (names: readonly string[]) => (names.length === 0 ? '(none)' : names.join(', '))

/** Any number of labels a text. */
export const multi: Task<LabelsPrediction> = {
  name,
  needs,
  problem: 'multi',
  title: 'multi-label classification',

  infer: (rows, columns, asked) => inferSequence('multi', rows, columns, asked),
  convert: namedVectors,
  labels: (rows, columns, order) => labelsOf(rows, labelled(columns), order),
  strata: (rows, columns) => rarest(rows.map(row => listOf(row, labelled(columns)))),
  readable: textRows,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column, given) => {
      const labels = required(given)
      const value = row.values[column]
      check(Array.isArray(value), 'ERR_DATA', () => `labels: ${placeOf(row)}: "${column}" is no list of labels`)
      const target = new Float32Array(labels.names.length)
      for (const one of value) target[labelId(labels, row, one)] = 1
      return target
    }),

  *classes(label) {
    if (label instanceof Float32Array) for (const [id, value] of label.entries()) if (value > 0) yield id
  },
  balance: (counts, examples) => Array.from(counts, count => (count > 0 ? (examples - count) / count || 1 : 1)),

  read: (answers, examples) =>
    examples.map(({ label }, i) => {
      const values = rowOf(logitsIn(answers), i)
      return {
        gold: label === undefined ? undefined : Uint8Array.from(label as Float32Array),
        predicted: Uint8Array.from(values, x => (x > 0 ? 1 : 0)),
        probabilities: Float32Array.from(values, x => 1 / (1 + Math.exp(-x))),
      }
    }),
  score(predictions, labels) {
    const report: MultiLabelReport = multiLabelReport(
      predictions.map(p => p.gold!),
      predictions.map(p => p.predicted),
      labels,
    )
    const metrics = {
      accuracy: report.subsetAccuracy,
      ...named('', report.micro),
      ...named('macro', report.macro),
      ...named('weighted', report.weighted),
      ...named('samples', report.samples),
      hammingLoss: report.hammingLoss,
    }
    return { metrics, reports: { multiLabel: report } }
  },
  metric: () => 'f1',
  sample: outputs => ({
    gold: new Uint8Array(outputs),
    predicted: new Uint8Array(outputs),
    probabilities: new Float32Array(outputs),
  }),
  titles: () => ({ ...averageTitles('micro'), accuracy: 'accuracy (all labels right)' }),
  resample(before, after, _, seed) {
    const right = (predictions: readonly LabelsPrediction[]) =>
      predictions.map(p => [multi.wrong(p) === undefined ? 1 : 0, 1] as const)
    return { accuracy: bootstrapShares(right(before), right(after), seed) }
  },
  details: ({ multiLabel }) => ({ className: 'label', classes: (multiLabel as MultiLabelReport).classes }),

  wrong({ gold, predicted, probabilities }) {
    let most: number | undefined
    predicted.forEach((value, c) => {
      if (value !== gold![c]) most = Math.max(most ?? 0, value ? probabilities[c]! : 1 - probabilities[c]!)
    })
    return most
  },
  mistake: (prediction, example, reader) => ({
    text: [{ text: textFor(example, reader) }],
    gold: list(on(prediction.gold!, reader.labels)),
    predicted: list(on(prediction.predicted, reader.labels)),
    probability: multi.wrong(prediction)!,
  }),
  record({ gold, probabilities }, example, reader) {
    const found = rank(probabilities, reader.labels, probabilities.length).filter(one => one.probability > 0.5)
    return { text: textFor(example, reader), labels: found, ...(gold ? { gold: on(gold, reader.labels) } : {}) }
  },
  line({ text, labels }) {
    const found = (labels as readonly Ranked[]).map(labelRuns)
    return [...(found.length > 0 ? parted(found) : [{ text: '(none)' }]), { text: `  ${text}` }]
  },
  view(batch, i, { labels }) {
    return { label: on(numbersAt(batch, i), labels), weight: labels.length }
  },
}

/** Vectors of 0 and 1 as lists of the names of their ones: those given, else LABEL_0 and so on. */
function namedVectors({ splits, columns, labels }: LabelSource, notice: (text: string) => void): Converted {
  const column = labelled(columns)
  const width = vectorWidth(Object.values(splits).flat(), column)
  if (width === undefined) return { splits }
  const names = labels?.names ?? Array.from({ length: width }, (_, i) => `LABEL_${i}`)
  check(names.length === width, 'ERR_DATA', () => {
    return `labels: "${column}" holds ${width} values a row and ${names.length} labels are given; name one for each`
  })
  if (!labels)
    notice(`"${column}" names no labels: they are called ${names[0]} to ${names.at(-1)}; name them with labels`)
  const convert = (row: Row): Row => {
    const value = names.filter((_, i) => (row.values[column] as number[])[i] === 1)
    return { ...row, values: { ...row.values, [column]: value } }
  }
  return { splits: mapRows(splits, convert), labels: labels ?? labelMap(names) }
}

const deciles = 10

function decilesOf(numbers: readonly number[]): string[] {
  const sorted = [...numbers].sort((a, b) => a - b)
  const bounds = Array.from({ length: deciles - 1 }, (_, i) => sorted[Math.floor(((i + 1) * sorted.length) / deciles)]!)
  return numbers.map(number => String(bounds.filter(bound => number >= bound).length))
}

const meanSquare = ({ gold, predicted }: ValuesPrediction) =>
  gold!.reduce((sum, value, c) => sum + (value - predicted[c]!) ** 2, 0) / predicted.length

const plain = (values: Float32Array) => (values.length === 1 ? values[0]! : Array.from(values))

/** Numbers: one, or several, a text. */
export const regression: Task<ValuesPrediction> = {
  name,
  needs,
  problem: 'regression',
  title: 'regression',
  graded: true,

  infer: (rows, columns, asked) => inferSequence('regression', rows, columns, asked),
  outputs(rows, columns) {
    const column = columns.label ?? 'value'
    const value = rows[0]?.values[column]
    return Array.isArray(value) && value.length > 1 ? value.map((_, i) => `${column}_${i}`) : [column]
  },
  strata: (rows, columns) => decilesOf(rows.map(row => numbersOf(row, labelled(columns))[0]!)),
  readable: textRows,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column) => Float32Array.from(numbersOf(row, column))),

  read: (answers, examples) =>
    examples.map(({ label }, i) => ({
      gold: label as Float32Array | undefined,
      predicted: Float32Array.from(rowOf(logitsIn(answers), i)),
    })),
  score(predictions) {
    const reports: RegressionReport[] = Array.from(predictions[0]!.predicted, (_, c) =>
      regressionReport(
        predictions.map(p => p.gold![c]!),
        predictions.map(p => p.predicted[c]!),
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
      Math.sqrt(sample.reduce((sum, i) => sum + values[i]!, 0) / sample.length)
    const score = (sample: Uint32Array) => ({ before: rmse(b, sample), after: rmse(a, sample) })
    return { rmse: pairedBootstrap('rmse', after.length, score, { seed }) }
  },
  details: (_, predictions) => ({
    scatter: { gold: predictions.map(p => p.gold![0]!), predicted: predictions.map(p => p.predicted[0]!) },
  }),

  wrong({ gold, predicted }) {
    const errors = Array.from(predicted, (value, c) => Math.abs(value - gold![c]!))
    return errors.every(error => error === 0) ? undefined : Math.max(...errors)
  },
  mistake: ({ gold, predicted }, example, reader) => {
    const worst = largest(
      predicted.map((value, c) => Math.abs(value - gold![c]!)),
      1,
    )[0]!
    return { text: [{ text: textFor(example, reader) }], gold: gold![worst]!, predicted: predicted[worst]! }
  },
  record: ({ gold, predicted }, example, reader) => ({
    text: textFor(example, reader),
    value: plain(predicted),
    ...(gold === undefined ? {} : { gold: plain(gold) }),
  }),
  line({ text, value }) {
    const values = (typeof value === 'number' ? [value] : value) as readonly number[]
    return [{ text: `${values.map(one => one.toPrecision(4)).join(' ')}  ${text}` }]
  },
  view(batch, i) {
    const label = numbersAt(batch, i)
    return { label, weight: label.length }
  },
}

function numbersAt({ targets }: MicroBatch, i: number): number[] {
  const { values, width } = targets!
  return Array.from(values.subarray(i * width, (i + 1) * width))
}

/** The numbers in a label: one, or a list. */
function numbersOf(row: Row, column: string): number[] {
  const value = row.values[column]
  return Array.isArray(value) ? value.map(one => numberOf(row, column, one)) : [numberOf(row, column, value)]
}
