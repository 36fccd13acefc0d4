// Multinomial logistic regression on sparse rows, the objective of scikit-learn's LogisticRegression.

import type { Pieces } from '../io/turn.ts'
import { type LbfgsOptions, minimise } from './lbfgs.ts'
import type { Features } from './tfidf.ts'

/** Weights [width + 1, classes], the last row the intercept. */
interface LogisticModel {
  readonly weights: Float64Array
  readonly classes: number
}

/**
 * Minimises mean cross-entropy + ‖W‖² / (2·C·n); the intercept is not penalised. `start` continues from another model
 * of the same shape.
 */
export function* fitLogistic(
  x: Features,
  labels: readonly number[],
  classes: number,
  c: number,
  options: LbfgsOptions & { start?: LogisticModel } = {},
): Pieces<LogisticModel & { iterations: number }> {
  const weights = options.start ? options.start.weights.slice() : new Float64Array((x.width + 1) * classes)
  const penalty = 1 / (c * labels.length)
  const result = yield* minimise(weights, (w, gradient) => objective(x, labels, classes, penalty, w, gradient), options)
  return { weights, classes, iterations: result.iterations }
}

/** The most likely class of every row; ties go to the first. */
export function* predictLogistic(x: Features, { weights, classes }: LogisticModel): Pieces<number[]> {
  const logits = new Float64Array(classes)
  const predicted: number[] = []
  for (let row = 0; row < x.starts.length - 1; row++) {
    if (row % ROWS === 0) yield
    score(x, row, weights, logits)
    predicted.push(logits.indexOf(Math.max(...logits)))
  }
  return predicted
}

/** Rows between two places where the work may pause. */
const ROWS = 64

function* objective(
  x: Features,
  labels: readonly number[],
  classes: number,
  penalty: number,
  w: Float64Array,
  gradient: Float64Array,
): Pieces<number> {
  const bias = x.width * classes
  let square = 0
  for (let i = 0; i < bias; i++) {
    const weight = w[i]!
    gradient[i] = penalty * weight
    square += weight * weight
  }
  gradient.fill(0, bias)
  const logits = new Float64Array(classes)
  let loss = 0
  for (let from = 0; from < labels.length; from += ROWS) {
    loss = addRows(x, labels, from, loss, logits, w, gradient)
    yield
  }
  return loss / labels.length + 0.5 * penalty * square
}

/** Adds the gradients of the rows from `from` on, and returns `loss` with their cross-entropies. */
function addRows(
  x: Features,
  labels: readonly number[],
  from: number,
  loss: number,
  logits: Float64Array,
  w: Float64Array,
  gradient: Float64Array,
): number {
  const classes = logits.length
  const bias = x.width * classes
  let sum = loss
  for (let row = from; row < Math.min(labels.length, from + ROWS); row++) {
    score(x, row, w, logits)
    sum += toResidual(logits, labels[row]!, labels.length)
    for (let i = x.starts[row]!; i < x.starts[row + 1]!; i++) {
      const at = x.columns[i]! * classes
      for (let k = 0; k < classes; k++) gradient[at + k]! += x.values[i]! * logits[k]!
    }
    for (let k = 0; k < classes; k++) gradient[bias + k]! += logits[k]!
  }
  return sum
}

function score(x: Features, row: number, w: Float64Array, logits: Float64Array): void {
  const classes = logits.length
  for (let k = 0; k < classes; k++) logits[k] = w[x.width * classes + k]!
  for (let i = x.starts[row]!; i < x.starts[row + 1]!; i++) {
    const at = x.columns[i]! * classes
    for (let k = 0; k < classes; k++) logits[k]! += x.values[i]! * w[at + k]!
  }
}

/** Turns logits into (softmax − one-hot) / n and returns the row's cross-entropy. */
function toResidual(logits: Float64Array, label: number, n: number): number {
  const top = Math.max(...logits)
  const own = logits[label]!
  let sum = 0
  for (let k = 0; k < logits.length; k++) sum += Math.exp(logits[k]! - top)
  for (let k = 0; k < logits.length; k++) logits[k] = Math.exp(logits[k]! - top) / sum / n
  logits[label]! -= 1 / n
  return top + Math.log(sum) - own
}
