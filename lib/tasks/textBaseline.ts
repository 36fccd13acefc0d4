// What words alone tell: TF-IDF and logistic regression, fitted on the training texts in seconds. A model that reads
// should do better.

import type { Columns } from '../data/columns.ts'
import type { Example } from '../data/example.ts'
import { type List, spread } from '../data/list.ts'
import { inTurns, type Pieces } from '../io/turn.ts'
import { accuracy, precisionRecallF1 } from '../metrics/classification.ts'
import { fitLogistic, predictLogistic } from '../metrics/logistic.ts'
import { multiLabelReport } from '../metrics/multiLabel.ts'
import { type Features, tfidf } from '../metrics/tfidf.ts'
import type { Model } from '../model.ts'
import { nth } from '../tuple.ts'
import { taskOfModel } from './index.ts'

/** Scores of TF-IDF with logistic regression on the examples that a model is judged by. */
export interface TextBaseline {
  /** Of texts with any number of labels the share that has every label right. */
  readonly accuracy: number
  readonly macroF1: number
  /** Of texts with any number of labels; of one class it is the accuracy. */
  readonly microF1?: number
  /** Training rows and terms that it was fitted on, where the data have more: all of them would score higher. */
  readonly part?: { readonly rows: number; readonly of: number; readonly terms: number }
}

/** Its name for people, with what it saw where that is not all. */
export function textBaselineName({ part }: TextBaseline): string {
  const rows = part && (part.rows < part.of ? `${part.rows} of ${part.of} rows` : `${part.rows} rows`)
  return `TF-IDF + logistic regression${part ? ` (fitted on ${rows}, ${part.terms} terms)` : ''}`
}

/** A line that says it, numbers as the caller writes them. */
export function textBaselineText(baseline: TextBaseline, written: (value: number) => string): string {
  const { accuracy, macroF1, microF1 } = baseline
  const micro = microF1 === undefined ? '' : `, F1 (micro) ${written(microF1)}`
  return `${textBaselineName(baseline)}: accuracy ${written(accuracy)}${micro}, F1 (macro) ${written(macroF1)}`
}

/** Inverse strength of the L2 penalty, as scikit-learn's C. */
const C = 10
/** Training rows, evenly spread: more of them change little, and their words would take more memory than the run. */
const MOST_ROWS = 100_000
/** Weights of the largest fit, and numbers touched in a pass over the training rows: seconds on one core. */
const MOST_WEIGHTS = 300_000
const MOST_WORK = 20_000_000
const FIT = { memory: 5, iterations: 40, tolerance: 1e-4 }

/** Undefined where answers are no classes of a text, or there are no texts: examples made by hand. */
export function textBaselineOf(
  model: Pick<Model, 'head' | 'labels'>,
  columns: Columns,
  train: List<Example>,
  judged: List<Example>,
): Promise<TextBaseline | undefined> {
  return inTurns(baselineOf(model, columns, train, judged))
}

function* baselineOf(
  model: Pick<Model, 'head' | 'labels'>,
  { text, text2 }: Columns,
  train: List<Example>,
  judged: List<Example>,
): Pieces<TextBaseline | undefined> {
  const { oneClass, problem } = taskOfModel(model)
  const isAnswer = oneClass ? isClass : problem === 'multi' ? isVector : undefined
  if (!isAnswer || text === undefined || train.length === 0 || judged.length === 0) return undefined
  const classes = model.labels.length
  const read = ({ row }: Example) => [text, text2].map(column => (column ? row.values[column] : '')).join(' ')
  const isText = ({ row, label }: Example) => typeof row.values[text] === 'string' && isAnswer(label)
  const rows = spread(train, Math.min(MOST_ROWS, Math.floor(MOST_WORK / (30 * classes))))
  for (const examples of [rows, judged])
    for (const example of examples) {
      if (!isText(example)) return undefined
      yield
    }
  const most = Math.floor(MOST_WEIGHTS / classes)
  const transform = yield* tfidf(readBy(rows, read), most)
  const x = yield* transform(readBy(rows, read))
  const unseen = yield* transform(readBy(judged, read))
  const task = { x, rows, unseen, judged, labels: model.labels }
  const scores = yield* oneClass ? ofClasses(task) : ofLabels(task)
  const isWhole = rows.length === train.length && x.width < most
  return isWhole ? scores : { ...scores, part: { rows: rows.length, of: train.length, terms: x.width } }
}

/** What is fitted, and judged. */
interface Fit {
  /** Of `rows`, and of those `judged`. */
  readonly x: Features
  readonly unseen: Features
  readonly rows: List<Example>
  readonly judged: List<Example>
  readonly labels: readonly string[]
}

const isClass = (label: Example['label']) => typeof label === 'number'
const isVector = (label: Example['label']) => label instanceof Float32Array

/** One model for all classes. */
function* ofClasses({ x, rows, unseen, judged, labels }: Fit): Pieces<TextBaseline> {
  const idOf = ({ label }: Example) => Number(label)
  const model = yield* fitLogistic(x, yield* mapped(rows, idOf), labels.length, C, FIT)
  const predicted = yield* predictLogistic(unseen, model)
  const gold = yield* mapped(judged, idOf)
  const average = { average: 'macro', classes: [...labels.keys()] } as const
  return { accuracy: accuracy(gold, predicted), macroF1: precisionRecallF1(gold, predicted, average).f1 }
}

/** A model for each label, which says whether a text has it. */
function* ofLabels({ x, rows, unseen, judged, labels }: Fit): Pieces<TextBaseline> {
  const has = ({ label }: Example, c: number) => (valueAt(label, c) > 0.5 ? 1 : 0)
  const columns: number[][] = []
  for (const c of labels.keys()) {
    const own = yield* mapped(rows, example => has(example, c))
    // Two columns of weights share what one would be penalised for: half of C is the C of one.
    columns.push(yield* predictLogistic(unseen, yield* fitLogistic(x, own, 2, C / 2, FIT)))
  }
  const gold = yield* mapped(judged, example => Array.from(labels, (_, c) => has(example, c)))
  const predicted = gold.map((_, i) => columns.map(column => nth(column, i)))
  const { subsetAccuracy, macro, micro } = multiLabelReport(gold, predicted, labels)
  return { accuracy: subsetAccuracy, macroF1: macro.f1, microF1: micro.f1 }
}

function* mapped<T>(examples: List<Example>, change: (example: Example) => T): Pieces<T[]> {
  const values: T[] = []
  for (const example of examples) {
    values.push(change(example))
    yield
  }
  return values
}

const valueAt = (label: Example['label'], c: number) => (label instanceof Float32Array ? nth(label, c) : 0)

/** Texts one after another. */
function* readBy(examples: List<Example>, read: (example: Example) => string): Generator<string> {
  for (const example of examples) yield read(example)
}
