// What an evaluation, and a comparison of two, say in tables.

import {
  type BootstrapInterval,
  bootstrapAccuracy,
  bootstrapEntityF1,
  bootstrapMacroF1,
  type McNemar,
  mcnemar,
  pairedBootstrap,
} from '../metrics/compare.ts'
import { METRICS, metricOf } from '../metrics/table.ts'
import type { Evaluation, Prediction } from '../train/evaluate.ts'
import { areEntityTags } from '../train/scores.ts'
import { metricText, probabilityText, signedText } from './terminal/format.ts'
import { type Column, table } from './terminal/table.ts'

/** One metric before and after. */
export interface MetricPair {
  /** Key of {@link Evaluation.metrics}. */
  readonly metric: string
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
export function titleOf(metric: string, kind: Prediction['kind'], entities: boolean): string {
  const average = kind === 'labels' ? 'micro' : entities ? 'entities' : 'macro'
  const { title } = metricOf(metric)
  if (['precision', 'recall', 'f1'].includes(metric)) return `${title} (${average})`
  return metric === 'accuracy' && kind === 'labels' ? 'accuracy (all labels right)' : title
}

/** The metrics to show, most telling first. */
export function shownMetrics({ metrics, reports }: Evaluation): string[] {
  const shown = METRICS.filter(({ name, shown }) => shown && name in metrics).map(({ name }) => name)
  const first = reports.entities ? ['f1', 'precision', 'recall'] : []
  return [...first, ...shown.filter(name => !first.includes(name))]
}

/** The metrics of two evaluations side by side, with what chance explains. */
export function compareEvaluations(
  before: Evaluation | undefined,
  after: Evaluation,
  labels: readonly string[],
  seed: number,
): Comparison {
  const kind = after.predictions[0]!.kind
  const entities = after.reports.entities !== undefined
  const intervals = before ? bootstrap(before, after, labels, seed) : {}
  const metrics = shownMetrics(after).map((metric): MetricPair => {
    const pair = { metric, name: titleOf(metric, kind, entities), after: after.metrics[metric]! }
    const was = before?.metrics[metric]
    const interval = intervals[metric]
    return { ...pair, ...(was === undefined ? {} : { before: was }), ...(interval ? { interval } : {}) }
  })
  const test = before && kind !== 'values' ? { mcnemar: mcnemarOf(before, after) } : {}
  return { examples: after.examples, metrics, ...test }
}

function bootstrap(
  before: Evaluation,
  after: Evaluation,
  labels: readonly string[],
  seed: number,
): Record<string, BootstrapInterval> {
  const [b, a] = [before.predictions, after.predictions]
  const kind = a[0]!.kind
  if (kind === 'class') {
    const ids = (list: readonly Prediction[], of: 'gold' | 'predicted') => list.map(p => p[of] as number)
    const args = [ids(a, 'gold'), ids(b, 'predicted'), ids(a, 'predicted'), { seed }] as const
    return { accuracy: bootstrapAccuracy(...args), f1: bootstrapMacroF1(...args) }
  }
  if (kind === 'tags' && areEntityTags(labels)) {
    const tags = (list: readonly Prediction[], of: 'gold' | 'predicted') => {
      return list.map(p => Array.from(p[of] as Int32Array, id => labels[id]!))
    }
    return { f1: bootstrapEntityF1(tags(a, 'gold'), tags(b, 'predicted'), tags(a, 'predicted'), { seed }) }
  }
  if (kind === 'values') return { rmse: bootstrapRmse(b, a, seed) }
  const share = (list: readonly Prediction[]) => list.map(p => rightShare(p))
  const [was, is] = [share(b), share(a)]
  const mean = (parts: readonly (readonly [number, number])[], sample: Uint32Array) => {
    let [right, all] = [0, 0]
    for (const i of sample) {
      right += parts[i]![0]
      all += parts[i]![1]
    }
    return all === 0 ? 0 : right / all
  }
  const score = (sample: Uint32Array) => ({ before: mean(was, sample), after: mean(is, sample) })
  return { accuracy: pairedBootstrap('accuracy', a.length, score, { seed }) }
}

function bootstrapRmse(before: readonly Prediction[], after: readonly Prediction[], seed: number): BootstrapInterval {
  const squares = (list: readonly Prediction[]) =>
    list.map(p => {
      const [gold, predicted] = [p.gold as Float32Array, p.predicted as Float32Array]
      return gold.reduce((sum, value, c) => sum + (value - predicted[c]!) ** 2, 0) / gold.length
    })
  const [b, a] = [squares(before), squares(after)]
  const rmse = (values: readonly number[], sample: Uint32Array) => {
    return Math.sqrt(sample.reduce((sum, i) => sum + values[i]!, 0) / sample.length)
  }
  const score = (sample: Uint32Array) => ({ before: rmse(b, sample), after: rmse(a, sample) })
  return pairedBootstrap('rmse', a.length, score, { seed })
}

/** Right answers of an example, and how many it has: words or hidden tokens, else the example as a whole. */
function rightShare(prediction: Prediction): readonly [number, number] {
  if (prediction.kind !== 'tags' && prediction.kind !== 'tokens') return [isRight(prediction) ? 1 : 0, 1]
  const { gold, predicted } = prediction
  return [predicted.reduce((sum, id, i) => sum + (id === gold![i] ? 1 : 0), 0), predicted.length]
}

/** Whether everything about an example is right. */
export function isRight({ kind, gold, predicted }: Prediction): boolean {
  if (kind === 'class') return gold === predicted
  return (predicted as Uint8Array).every((value, i) => value === (gold as Uint8Array)[i])
}

function mcnemarOf(before: Evaluation, after: Evaluation): McNemar {
  let [onlyBefore, onlyAfter] = [0, 0]
  for (const [i, prediction] of after.predictions.entries()) {
    const [was, is] = [isRight(before.predictions[i]!), isRight(prediction)]
    if (was && !is) onlyBefore++
    if (is && !was) onlyAfter++
  }
  return mcnemar(onlyBefore, onlyAfter)
}

/** The before/after table, and the test under it. */
export function comparisonLines({ metrics, mcnemar: test, examples }: Comparison, itemName: string): string[] {
  const compared = metrics.some(({ before }) => before !== undefined)
  const columns: Column[] = [{ header: 'metric' }]
  if (compared) columns.push({ header: 'before', align: 'right' })
  columns.push({ header: compared ? 'after' : 'value', align: 'right' })
  if (compared) columns.push({ header: 'difference', align: 'right' }, { header: '95 % interval' })
  const rows = metrics.map(({ name, before, after, interval }) => {
    if (!compared) return [name, metricText(after)]
    const difference = before === undefined ? '–' : signedText(after - before)
    const range = interval ? `${signedText(interval.low)} to ${signedText(interval.high)}` : ''
    return [name, metricText(before), metricText(after), difference, range]
  })
  const lines = table(columns, rows).split('\n')
  lines.push(`on ${examples.toLocaleString('en-US')} ${itemName}`)
  if (test) {
    const { onlyBefore, onlyAfter, pExact } = test
    const counts = `${onlyAfter} newly right, ${onlyBefore} newly wrong`
    lines.push(`McNemar's test: ${counts}, p ${pExact < 0.001 ? '' : '= '}${probabilityText(pExact)}`)
  }
  return lines
}
