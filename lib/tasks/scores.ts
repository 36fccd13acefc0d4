// Numbers of an evaluation, for whoever holds a model.

import { check } from '../errors.ts'
import type { Model } from '../model.ts'
import { taskOfModel } from './index.ts'
import type { Prediction, Scored } from './task.ts'

type Scorable = Pick<Model, 'head' | 'labels'>

/**
 * The metrics of predictions with known truth, by name. `precision`, `recall` and `f1` are the headline averages: macro
 * for classes, micro for several labels and for entities (seqeval's default). `loss` is the mean over `weight` labels.
 */
export function score(model: Scorable, predictions: readonly Prediction[], mean: number, weight: number): Scored {
  check(predictions.length > 0, 'ERR_DATA', () => 'evaluate: there is no example; the split is empty')
  const { metrics, reports } = taskOfModel(model).score(predictions, model.labels, { mean, weight })
  return { metrics: { loss: mean, ...metrics }, reports }
}

/** Names of all metrics that a model's evaluations have. */
export function metricNames(model: Scorable): string[] {
  return Object.keys(score(model, [taskOfModel(model).sample(model.head.outputs)], 0, 1).metrics)
}

/** The metric that judges a model unless told otherwise. */
export function defaultMetric(model: Scorable): string {
  return taskOfModel(model).metric(model.labels)
}
