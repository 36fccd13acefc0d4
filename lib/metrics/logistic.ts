// Multinomial logistic regression on sparse rows, the objective of scikit-learn's LogisticRegression.

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
export function fitLogistic(
  x: Features,
  labels: readonly number[],
  classes: number,
  c: number,
  options: LbfgsOptions & { start?: LogisticModel } = {},
): LogisticModel & { iterations: number } {
  const weights = options.start ? options.start.weights.slice() : new Float64Array((x.width + 1) * classes)
  const penalty = 1 / (c * labels.length)
  const result = minimise(weights, (w, gradient) => objective(x, labels, classes, penalty, w, gradient), options)
  return { weights, classes, iterations: result.iterations }
}

/** The most likely class of every row; ties go to the first. */
export function predictLogistic(x: Features, { weights, classes }: LogisticModel): number[] {
  const logits = new Float64Array(classes)
  return Array.from({ length: x.starts.length - 1 }, (_, row) => {
    score(x, row, weights, logits)
    return logits.indexOf(Math.max(...logits))
  })
}

function objective(
  x: Features,
  labels: readonly number[],
  classes: number,
  penalty: number,
  w: Float64Array,
  gradient: Float64Array,
): number {
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
  for (const [row, label] of labels.entries()) {
    score(x, row, w, logits)
    loss += toResidual(logits, label, labels.length)
    for (let i = x.starts[row]!; i < x.starts[row + 1]!; i++) {
      const at = x.columns[i]! * classes
      for (let k = 0; k < classes; k++) gradient[at + k]! += x.values[i]! * logits[k]!
    }
    for (let k = 0; k < classes; k++) gradient[bias + k]! += logits[k]!
  }
  return loss / labels.length + 0.5 * penalty * square
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
