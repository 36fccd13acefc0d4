// From predictions to the numbers of a task.

import { check } from '../errors.ts'
import type { Prediction } from '../heads/decode.ts'
import { type ClassificationReport, classificationReport } from '../metrics/classification.ts'
import { type EntityReport, entityReport } from '../metrics/entities.ts'
import { type MultiLabelReport, multiLabelReport } from '../metrics/multiLabel.ts'
import { type PerplexityReport, perplexityReport } from '../metrics/perplexity.ts'
import { type RegressionReport, regressionReport } from '../metrics/regression.ts'
import type { Scores } from '../metrics/scores.ts'
import type { Model } from '../model.ts'

/** The reports of an evaluation: those that fit its task. */
export interface Reports {
  /** Single-label classification, or tags that are no entities, word by word. */
  readonly classification?: ClassificationReport
  readonly multiLabel?: MultiLabelReport
  /** One an output. */
  readonly regression?: readonly RegressionReport[]
  /** seqeval's default reading, and its strict one. */
  readonly entities?: EntityReport
  readonly entitiesStrict?: EntityReport
  readonly perplexity?: PerplexityReport
}

type Of<K extends Prediction['kind']> = Extract<Prediction, { kind: K }>
type ItemPrediction = Extract<Prediction, { positions: Int32Array }>
type Scored = { metrics: Record<string, number>; reports: Reports }

/** Whether labels are entity tags (O, B-x, I-x), which are scored as spans. */
export function areEntityTags(labels: readonly string[]): boolean {
  return labels.some(label => /^[BI]-/.test(label)) && labels.every(label => label === 'O' || /^[BI]-./s.test(label))
}

/**
 * The metrics of predictions with known truth, by name. `precision`, `recall` and `f1` are the headline averages: macro
 * for classes, micro for several labels and for entities (seqeval's default). `loss` is the mean over `weight` labels.
 */
export function score(model: Model, predictions: readonly Prediction[], loss: number, weight: number): Scored {
  const first = predictions[0]
  check(first, 'ERR_DATA', () => 'evaluate: there is no example; the split is empty')
  const scored = scoreKind(model, predictions, first.kind, loss, weight)
  return { ...scored, metrics: { loss, ...scored.metrics } }
}

function scoreKind(
  model: Model,
  predictions: readonly Prediction[],
  kind: Prediction['kind'],
  loss: number,
  weight: number,
): Scored {
  const { labels } = model
  if (kind === 'class') return scoreClasses(predictions as Of<'class'>[], labels)
  if (kind === 'labels') return scoreLabels(predictions as Of<'labels'>[], labels)
  if (kind === 'values') return scoreValues(predictions as Of<'values'>[])
  const items = predictions as ItemPrediction[]
  return kind === 'tags' ? scoreTags(items, labels) : scoreTokens(items, loss, weight)
}

function named(prefix: string, { precision, recall, f1 }: Scores): Record<string, number> {
  if (prefix === '') return { precision, recall, f1 }
  return { [`${prefix}Precision`]: precision, [`${prefix}Recall`]: recall, [`${prefix}F1`]: f1 }
}

function scoreClasses(predictions: readonly Of<'class'>[], labels: readonly string[]): Scored {
  const gold = predictions.map(p => p.gold!)
  return classScores(
    gold,
    predictions.map(p => p.predicted),
    labels,
  )
}

function classScores(gold: readonly number[], predicted: readonly number[], labels: readonly string[]): Scored {
  const report = classificationReport(gold, predicted, labels)
  const { accuracy, micro, macro, weighted, binary, matthews } = report
  const metrics = {
    accuracy,
    ...named('', macro),
    ...named('micro', micro),
    ...named('weighted', weighted),
    ...(binary ? named('binary', binary) : {}),
    matthews,
  }
  return { metrics, reports: { classification: report } }
}

function scoreLabels(predictions: readonly Of<'labels'>[], labels: readonly string[]): Scored {
  const gold = predictions.map(p => p.gold!)
  const report = multiLabelReport(
    gold,
    predictions.map(p => p.predicted),
    labels,
  )
  const { subsetAccuracy, hammingLoss, micro, macro, weighted, samples } = report
  const metrics = {
    accuracy: subsetAccuracy,
    ...named('', micro),
    ...named('macro', macro),
    ...named('weighted', weighted),
    ...named('samples', samples),
    hammingLoss,
  }
  return { metrics, reports: { multiLabel: report } }
}

function scoreValues(predictions: readonly Of<'values'>[]): Scored {
  const width = predictions[0]!.predicted.length
  const reports = Array.from({ length: width }, (_, c) => {
    return regressionReport(
      predictions.map(p => p.gold![c]!),
      predictions.map(p => p.predicted[c]!),
    )
  })
  const mean = (of: (report: RegressionReport) => number) => reports.reduce((sum, r) => sum + of(r), 0) / width
  const metrics = {
    mse: mean(r => r.mse),
    rmse: Math.sqrt(mean(r => r.mse)),
    mae: mean(r => r.mae),
    r2: mean(r => r.r2),
    pearson: mean(r => r.pearson),
    spearman: mean(r => r.spearman),
  }
  return { metrics, reports: { regression: reports } }
}

function scoreTags(predictions: readonly ItemPrediction[], labels: readonly string[]): Scored {
  if (!areEntityTags(labels)) {
    const all = (of: (p: ItemPrediction) => Int32Array) => predictions.flatMap(p => Array.from(of(p)))
    return classScores(
      all(p => p.gold!),
      all(p => p.predicted),
      labels,
    )
  }
  const names = (ids: Int32Array) => Array.from(ids, id => labels[id]!)
  const gold = predictions.map(p => names(p.gold!))
  const predicted = predictions.map(p => names(p.predicted))
  const entities = entityReport(gold, predicted)
  const entitiesStrict = entityReport(gold, predicted, { mode: 'strict' })
  const metrics = {
    ...named('', entities.micro),
    ...named('macro', entities.macro),
    ...named('weighted', entities.weighted),
    ...named('strict', entitiesStrict.micro),
    accuracy: entities.tokenAccuracy,
    accuracyWithoutO: entities.tokenAccuracyWithoutO,
  }
  return { metrics, reports: { entities, entitiesStrict } }
}

function scoreTokens(predictions: readonly ItemPrediction[], loss: number, weight: number): Scored {
  let correct = 0
  for (const { gold, predicted } of predictions)
    for (let i = 0; i < predicted.length; i++) if (predicted[i] === gold![i]) correct++
  const report = perplexityReport([{ sum: loss * weight, tokens: weight, correct }])
  return {
    metrics: { perplexity: report.perplexity, accuracy: correct / weight, bitsPerToken: report.bitsPerToken },
    reports: { perplexity: report },
  }
}

/** Names of all metrics that a model's evaluations have. */
export function metricNames(model: Model): string[] {
  const { task, problem, outputs } = model.head
  const [gold, one] = [Int32Array.of(0), Float32Array.of(1)]
  const items = { positions: gold, gold, predicted: gold, probabilities: one }
  const cells = { gold: new Uint8Array(outputs), predicted: new Uint8Array(outputs) }
  const values = { gold: new Float32Array(outputs), predicted: new Float32Array(outputs) }
  let sample: Prediction = { kind: 'class', gold: 0, predicted: 0, probabilities: one }
  if (task !== 'sequence-classification') sample = { kind: task === 'masked-lm' ? 'tokens' : 'tags', ...items }
  else if (problem === 'multi') sample = { kind: 'labels', ...cells, probabilities: one }
  else if (problem === 'regression') sample = { kind: 'values', ...values }
  return Object.keys(score(model, [sample], 0, 1).metrics)
}

/** The metric that judges a task unless told otherwise. */
export function defaultMetric(model: Model): string {
  const { task, problem } = model.head
  if (task === 'masked-lm' || problem === 'regression') return 'loss'
  if (problem === 'multi') return 'f1'
  return task === 'token-classification' && areEntityTags(model.labels) ? 'f1' : 'accuracy'
}
