import { columnOf } from '../data/columns.ts'
import { mapRows } from '../data/duplicates.ts'
import { type LabelMap, labelId, labelMap, labelsOf } from '../data/labels.ts'
import { changed, joinedLists } from '../data/list.ts'
import { itemsIn, listOf, placeOf, type Row } from '../data/row.ts'
import { check } from '../errors.ts'
import { bootstrapAccuracy, bootstrapMacroF1 } from '../metrics/compare.ts'
import { type MultiLabelReport, multiLabelReport } from '../metrics/multiLabel.ts'
import { must, nth } from '../tuple.ts'
import { inferSequence, vectorWidth } from './labelColumn.ts'
import { largest, logitsIn, rowOf, softmax } from './logits.ts'
import {
  averageTitles,
  balancedWeights,
  bootstrapShares,
  classScores,
  named,
  oneClass,
  rarest,
  shareRun,
  textFor,
  textRows,
} from './shared.ts'
import type { Answer, Converted, LabelSource, Prediction, PredictionRecord, Task, TextRun } from './task.ts'
import { encodeText, sequenceName as name, sequenceNeeds as needs, numbersAt, textParts } from './texts.ts'
import { meanOf } from './windows.ts'

/** One class. */
export interface ClassPrediction extends Prediction {
  readonly gold: number | undefined
  readonly predicted: number
  /** Of what was predicted. */
  readonly probability: number
  /** One a class; they sum to 1. Absent where there are more than 1000 classes. */
  readonly probabilities?: Float32Array
  /** The likeliest classes, where not all are kept. */
  readonly likeliest?: readonly { readonly id: number; readonly probability: number }[]
}

/** Classes from which on a prediction keeps its likeliest alone. */
const MANY = 1000
const KEPT = 50

/** Any number of labels. */
export interface LabelsPrediction extends Prediction {
  /** 0 or 1 a label. */
  readonly gold: Uint8Array | undefined
  readonly predicted: Uint8Array
  /** One a label, each for itself. */
  readonly probabilities: Float32Array
}

/** A label with its probability. */
interface Ranked {
  readonly label: string
  readonly probability: number
}

function required(labels: LabelMap | undefined): LabelMap {
  check(labels, 'ERR_OPTION', () => 'labels: classification needs a label map')
  return labels
}

const rank = (probabilities: Float32Array, labels: readonly string[], count: number): Ranked[] =>
  largest(probabilities, count).map(c => ({ label: nth(labels, c), probability: nth(probabilities, c) }))

function classPrediction(gold: number | undefined, probabilities: Float32Array): ClassPrediction {
  const best = largest(probabilities, probabilities.length > MANY ? KEPT : 1)
  const [predicted] = best
  const found = {
    gold,
    predicted: must(predicted, 'predicted'),
    probability: nth(probabilities, must(predicted, 'predicted')),
  }
  if (probabilities.length <= MANY) return { ...found, probabilities }
  return { ...found, likeliest: best.map(id => ({ id, probability: nth(probabilities, id) })) }
}

function spread(likeliest: readonly { readonly id: number; readonly probability: number }[], classes: number) {
  const all = new Float32Array(classes)
  for (const { id, probability } of likeliest) all[id] = probability
  return all
}

const labelRuns = ({ label, probability }: Ranked): TextRun[] => [
  { text: label, style: 'bold' },
  { text: ' ' },
  shareRun(probability),
]

const parted = (lists: readonly TextRun[][]): TextRun[] =>
  lists.flatMap((list, i) => (i === 0 ? list : [{ text: ', ' }, ...list]))

/** One label a text. */
/** What predict tells of a text of one class. */
type ClassRecord = PredictionRecord & Ranked & { readonly top?: readonly Ranked[] }

/** What predict tells of a text of any number of labels. */
type LabelsRecord = PredictionRecord & { readonly labels: readonly Ranked[] }

export const single: Task<ClassPrediction, ClassRecord> = {
  name,
  needs,
  problem: 'single',
  title: 'sequence classification',
  ranks: true,
  oneClass: true,

  infer: (rows, columns, asked) => inferSequence('single', rows, columns, asked),
  labels: (rows, columns, order) => labelsOf(rows, columnOf(columns, 'label'), order),
  strata: (rows, columns) => changed(rows, row => String(row.values[columnOf(columns, 'label')])),
  readable: textRows,
  parts: textParts,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column, labels) => labelId(required(labels), row, row.values[column])),

  merge(predictions) {
    if (predictions.length === 1) return nth(predictions, 0)
    const classes = Math.max(0, ...predictions.flatMap(p => p.likeliest?.map(({ id }) => id + 1) ?? []))
    const known = predictions.map(p => p.probabilities ?? spread(must(p.likeliest, 'likeliest'), classes))
    return classPrediction(undefined, meanOf(known))
  },

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
    return examples.map(({ label }, i) =>
      classPrediction(typeof label === 'number' ? label : undefined, softmax(logits, i)),
    )
  },
  score: (predictions, labels) =>
    classScores(
      predictions.map(p => must(p.gold, 'gold')),
      predictions.map(p => p.predicted),
      labels,
    ),
  metric: () => 'accuracy',
  sample: () => ({ gold: 0, predicted: 0, probability: 1, probabilities: Float32Array.of(1) }),
  titles: () => averageTitles('macro'),
  resample(before, after, _, seed) {
    const ids = (list: readonly Answer<ClassPrediction>[]) => list.map(p => p.predicted)
    const args = [after.map(p => must(p.gold, 'gold')), ids(before), ids(after), { seed }] as const
    return { accuracy: bootstrapAccuracy(...args), f1: bootstrapMacroF1(...args) }
  },
  details({ classification }, _, labels) {
    const { classes = [], confusion = [] } = classification ?? {}
    return { className: 'class', classes, confusion: { labels, cells: confusion } }
  },

  right: ({ gold, predicted }) => gold === predicted,
  wrong: ({ gold, predicted, probability }) => (gold === predicted ? undefined : probability),
  mistake: ({ gold, predicted, probability }, example, reader) => ({
    text: [{ text: textFor(example, reader) }],
    gold: nth(reader.labels, must(gold, 'gold')),
    predicted: nth(reader.labels, predicted),
    probability,
  }),
  record({ gold, probabilities, likeliest }, example, reader, top) {
    const count = Math.max(1, top)
    const ranked = probabilities
      ? rank(probabilities, reader.labels, count)
      : must(likeliest, 'likeliest')
          .slice(0, count)
          .map(one => ({ label: nth(reader.labels, one.id), probability: one.probability }))
    const known = gold === undefined ? {} : { gold: nth(reader.labels, gold) }
    return { text: textFor(example, reader), ...nth(ranked, 0), ...(top > 1 ? { top: ranked } : {}), ...known }
  },
  line({ text, label, probability, top = [] }) {
    const others = top.slice(1).map(one => `${one.label} ${shareRun(one.probability).text}`)
    const rest: TextRun[] = others.length > 0 ? [{ text: `  (${others.join(', ')})`, style: 'dim' }] : []
    const first: TextRun = { text: label, style: 'bold', width: 16 }
    return [first, { text: ' ' }, shareRun(probability, 5), { text: `  ${text}` }, ...rest]
  },
  view(batch, i, { labels }, weights) {
    const id = nth(must(batch.targets, 'targets').values, i)
    return { label: labels[id] ?? `#${id}`, weight: weights?.[id] ?? 1 }
  },
}

const on = (row: ArrayLike<number>, labels: readonly string[]) => labels.filter((_, c) => nth(row, c) > 0)
const list = (names: readonly string[]) => (names.length === 0 ? '(none)' : names.join(', '))

/** Any number of labels a text. */
export const multi: Task<LabelsPrediction, LabelsRecord> = {
  name,
  needs,
  problem: 'multi',
  title: 'multi-label classification',

  infer: (rows, columns, asked) => inferSequence('multi', rows, columns, asked),
  convert: namedVectors,
  labels: (rows, columns, order) => labelsOf(rows, columnOf(columns, 'label'), order),
  strata: (rows, columns) => rarest(changed(rows, row => listOf(row, columnOf(columns, 'label')))),
  readable: textRows,
  parts: textParts,
  encode: (row, tokenizer, spec) =>
    encodeText(row, tokenizer, spec, (row, column, given) => {
      const labels = required(given)
      const value = row.values[column]
      check(Array.isArray(value), 'ERR_DATA', () => `labels: ${placeOf(row)}: "${column}" is no list of labels`)
      const target = new Float32Array(labels.names.length)
      for (const one of value) target[labelId(labels, row, one)] = 1
      return target
    }),

  merge(predictions) {
    const most = (c: number) => Math.max(...predictions.map(p => nth(p.probabilities, c)))
    const probabilities = nth(predictions, 0).probabilities.map((_, c) => most(c))
    return { gold: undefined, predicted: Uint8Array.from(probabilities, p => (p > 0.5 ? 1 : 0)), probabilities }
  },

  *classes(label) {
    if (label instanceof Float32Array) for (const [id, value] of label.entries()) if (value > 0) yield id
  },
  balance: (counts, examples) => Array.from(counts, count => (count > 0 ? (examples - count) / count || 1 : 1)),

  read: (answers, examples) =>
    examples.map(({ label }, i) => {
      const values = rowOf(logitsIn(answers), i)
      return {
        gold: label instanceof Float32Array ? Uint8Array.from(label) : undefined,
        predicted: Uint8Array.from(values, x => (x > 0 ? 1 : 0)),
        probabilities: Float32Array.from(values, x => 1 / (1 + Math.exp(-x))),
      }
    }),
  score(predictions, labels) {
    const report: MultiLabelReport = multiLabelReport(
      predictions.map(p => must(p.gold, 'gold')),
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
    const right = (answers: readonly Answer<LabelsPrediction>[]) =>
      answers.map(p => [multi.right(p) ? 1 : 0, 1] as const)
    return { accuracy: bootstrapShares(right(before), right(after), seed) }
  },
  details: ({ multiLabel }) => ({ className: 'label', classes: multiLabel?.classes ?? [] }),

  right: ({ gold, predicted }) => predicted.every((value, c) => value === must(gold, 'gold')[c]),
  wrong({ gold, predicted, probabilities }) {
    let most: number | undefined
    predicted.forEach((value, c) => {
      if (value !== must(gold, 'gold')[c])
        most = Math.max(most ?? 0, value ? nth(probabilities, c) : 1 - nth(probabilities, c))
    })
    return most
  },
  mistake: (prediction, example, reader) => ({
    text: [{ text: textFor(example, reader) }],
    gold: list(on(must(prediction.gold, 'gold'), reader.labels)),
    predicted: list(on(prediction.predicted, reader.labels)),
    probability: must(multi.wrong(prediction), 'wrong label'),
  }),
  record({ gold, probabilities }, example, reader) {
    const found = rank(probabilities, reader.labels, probabilities.length).filter(one => one.probability > 0.5)
    return { text: textFor(example, reader), labels: found, ...(gold ? { gold: on(gold, reader.labels) } : {}) }
  },
  line({ text, labels }) {
    const found = labels.map(labelRuns)
    return [...(found.length > 0 ? parted(found) : [{ text: '(none)' }]), { text: `  ${text}` }]
  },
  view(batch, i, { labels }) {
    return { label: on(numbersAt(batch, i), labels), weight: labels.length }
  },
}

/** Vectors of 0 and 1 as lists of the names of their ones: those given, else LABEL_0 and so on. */
function namedVectors({ splits, columns, labels }: LabelSource, notice: (text: string) => void): Converted {
  const column = columnOf(columns, 'label')
  const rows = joinedLists(Object.values(splits))
  const width = vectorWidth(rows, column)
  if (width === undefined) return { splits }
  const names = labels?.names ?? Array.from({ length: width }, (_, i) => `LABEL_${i}`)
  check(names.length === width, 'ERR_DATA', () => {
    return `labels: "${column}" holds ${width} values a row and ${names.length} labels are given; name one for each`
  })
  if (width > 1 && rows.every(row => itemsIn(row, column).filter(value => value === 1).length === 1))
    notice(
      `"${column}" has one 1 in each row, and any number is learned; write its name, or number, for one label a row`,
    )
  if (!labels)
    notice(`"${column}" names no labels: they are called ${names[0]} to ${names.at(-1)}; name them with labels`)
  const convert = (row: Row): Row => {
    const value = names.filter((_, i) => itemsIn(row, column)[i] === 1)
    return { ...row, values: { ...row.values, [column]: value } }
  }
  return { splits: mapRows(splits, convert), labels: labels ?? labelMap(names) }
}
