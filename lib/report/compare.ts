// Two evaluations of the same examples side by side, with what chance explains.

import { type BootstrapInterval, type McNemar, mcnemar } from '../metrics/compare.ts'
import { METRICS, metricOf } from '../metrics/table.ts'
import type { Model } from '../model.ts'
import { taskOfModel } from '../tasks/index.ts'
import type { Answer, Task } from '../tasks/task.ts'
import type { Evaluation } from '../train/evaluate.ts'
import { nth, under } from '../tuple.ts'

/** One metric before and after. */
export interface MetricPair {
  /** Key of {@link Evaluation.metrics}. */
  readonly metric: string
  /** For people: says which average it is. */
  readonly name: string
  readonly before?: number
  readonly after: number
  readonly interval?: BootstrapInterval
}

/** Two evaluations of the same examples. */
export interface Comparison {
  readonly examples: number
  readonly metrics: readonly MetricPair[]
  /** Over examples that are right as a whole. */
  readonly mcnemar?: McNemar
}

/** A metric's name for people. `precision`, `recall` and `f1` say which average they are. */
export function titleOf(metric: string, model: Pick<Model, 'head' | 'labels'>): string {
  return taskOfModel(model).titles?.(model.labels)[metric] ?? metricOf(metric).title
}

/** What is compared with: of an evaluation the answers alone. */
export interface Compared {
  readonly metrics: Readonly<Record<string, number>>
  /** One an example. */
  readonly predictions: readonly Answer[]
}

/** The metrics of two evaluations, most telling first; the bootstrap is seeded. */
export function compareEvaluations(
  model: Pick<Model, 'head' | 'labels'>,
  before: Compared | undefined,
  after: Evaluation,
  seed: number,
): Comparison {
  const task = taskOfModel(model)
  const { labels } = model
  const intervals = before ? task.resample(before.predictions, after.predictions, labels, seed) : {}
  const metrics = shownMetrics(after, task.leading?.(labels) ?? []).map((metric): MetricPair => {
    const pair = { metric, name: titleOf(metric, model), after: under(after.metrics, metric) }
    const was = before?.metrics[metric]
    const interval = intervals[metric]
    return { ...pair, ...(was === undefined ? {} : { before: was }), ...(interval ? { interval } : {}) }
  })
  const test = before && !task.graded && !task.relative ? { mcnemar: mcnemarOf(task, before, after) } : {}
  return { examples: after.examples, metrics, ...test }
}

function shownMetrics({ metrics }: Evaluation, leading: readonly string[]): string[] {
  const shown = METRICS.filter(({ name, shown }) => shown && name in metrics).map(({ name }) => name)
  return [...leading, ...shown.filter(name => !leading.includes(name))]
}

function mcnemarOf(task: Task, before: Compared, after: Compared): McNemar {
  let [onlyBefore, onlyAfter] = [0, 0]
  for (const [i, prediction] of after.predictions.entries()) {
    const [was, is] = [task.right(nth(before.predictions, i)), task.right(prediction)]
    if (was && !is) onlyBefore++
    if (is && !was) onlyAfter++
  }
  return mcnemar(onlyBefore, onlyAfter)
}
