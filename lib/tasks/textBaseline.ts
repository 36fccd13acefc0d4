// What words alone tell: TF-IDF and logistic regression, fitted on the training texts in seconds. A model that reads
// should do better.

import type { Columns } from '../data/columns.ts'
import type { Example } from '../data/example.ts'
import { type List, spread } from '../data/list.ts'
import { accuracy, precisionRecallF1 } from '../metrics/classification.ts'
import { fitLogistic, predictLogistic } from '../metrics/logistic.ts'
import { tfidf } from '../metrics/tfidf.ts'
import type { Model } from '../model.ts'
import { must } from '../tuple.ts'
import { taskOfModel } from './index.ts'

/** Scores of TF-IDF with logistic regression on the examples that a model is judged by. */
export interface TextBaseline {
  readonly accuracy: number
  readonly macroF1: number
}

/** Its name for people. */
export const TEXT_BASELINE = 'TF-IDF + logistic regression'

/** Inverse strength of the L2 penalty, as scikit-learn's C. */
const C = 10
/** Training rows, evenly spread: more of them change little, and their words would take more memory than the run. */
const MOST_ROWS = 100_000
/** Weights of the largest fit, and numbers touched in a pass over the training rows: seconds on one core. */
const MOST_WEIGHTS = 300_000
const MOST_WORK = 20_000_000
const FIT = { memory: 5, iterations: 40, tolerance: 1e-4 }

/** Undefined where answers are no single class of a text, or there are no texts: examples made by hand. */
export function textBaselineOf(
  model: Pick<Model, 'head' | 'labels'>,
  { text, text2 }: Columns,
  train: List<Example>,
  judged: List<Example>,
): TextBaseline | undefined {
  const classes = model.labels.length
  const read = ({ row }: Example) => [text, text2].map(column => (column ? row.values[column] : '')).join(' ')
  const isText = ({ row, label }: Example) =>
    typeof row.values[must(text, 'text')] === 'string' && typeof label === 'number'
  const fits = taskOfModel(model).oneClass && text !== undefined && train.length > 0 && judged.length > 0
  const rows = fits ? spread(train, Math.min(MOST_ROWS, Math.floor(MOST_WORK / (30 * classes)))) : []
  if (!fits || !rows.every(isText) || !judged.every(isText)) return undefined
  const labels = (examples: List<Example>) => examples.map(({ label }) => Number(label))
  const transform = tfidf(readBy(rows, read), Math.floor(MOST_WEIGHTS / classes))
  const fitted = fitLogistic(transform(readBy(rows, read)), labels(rows), classes, C, FIT)
  const [gold, predicted] = [labels(judged), predictLogistic(transform(readBy(judged, read)), fitted)]
  const average = { average: 'macro', classes: model.labels.map((_, i) => i) } as const
  return { accuracy: accuracy(gold, predicted), macroF1: precisionRecallF1(gold, predicted, average).f1 }
}

/** Texts one after another. */
function* readBy(examples: List<Example>, read: (example: Example) => string): Generator<string> {
  for (const example of examples) yield read(example)
}
