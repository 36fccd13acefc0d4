// A finished run as the report shows it.

import { bundled } from '../bundled.ts'
import type { Example } from '../data/encode.ts'
import { classCounts } from '../data/statistics.ts'
import { entitySpans } from '../metrics/entities.ts'
import { metricOf } from '../metrics/table.ts'
import type {
  ConfusionData,
  DataSummary,
  MetricRow,
  Mistake,
  ReportData,
  ReportTask,
  Setting,
} from '../report/report.ts'
import type { Evaluation, Prediction } from '../train/evaluate.ts'
import type { EvaluationEvent, HistoryEntry } from '../train/events.ts'
import { areEntityTags } from '../train/scores.ts'
import { textFor } from './predictions.ts'
import { packageVersion } from './program.ts'
import { type Comparison, isRight } from './results.ts'
import { deviceText, shareText } from './terminal/format.ts'
import type { Finished, Outcome } from './trainOutput.ts'

const mostMistakes = 20

/** Everything the report shows of a run. */
export function reportData(run: Finished, outcome: Outcome): ReportData {
  const { trial, start, end, after, warnings, settings } = run
  const judged = after.find(({ split }) => split === 'test') ?? after[0]
  const evaluation = judged?.evaluation
  const path = settings.data ?? settings.train ?? ''
  const name = path === bundled.sample ? 'the bundled sample' : path.split('/').at(-1)
  return {
    title: `${trial.attached.method.type === 'lora' ? 'LoRA' : 'Full fine-tuning'} on ${name}`,
    task: taskOf(run),
    date: new Date().toISOString(),
    ...(outcome.comparison ? { comparison: comparisonOf(outcome.comparison, judged!, start.metric, run) } : {}),
    cost: {
      trainable: start.trainable,
      total: start.total,
      seconds: end.seconds,
      peakBytes: outcome.peakBytes,
      adapterBytes: outcome.adapterBytes,
      tokensPerSecond: end.tokens / end.seconds,
      device: deviceText(start),
    },
    warnings: [...warnings],
    ...curves(end.history),
    ...(evaluation ? details(evaluation, run, judged!) : {}),
    data: dataOf(run),
    settings: settingsTable(run, outcome),
    environment: environment(run, outcome),
  }
}

function taskOf({ trial: { model } }: Finished): ReportTask {
  if (model.task !== 'sequence-classification') return model.task
  const { problem } = model.head
  return problem === 'multi' ? 'multi-label' : problem === 'regression' ? 'regression' : 'classification'
}

function comparisonOf(comparison: Comparison, judged: EvaluationEvent, metric: string, run: Finished) {
  const rows = comparison.metrics.map((pair): MetricRow => {
    const { interval } = pair
    return {
      name: pair.name.charAt(0).toUpperCase() + pair.name.slice(1),
      after: pair.after,
      unit: metricOf(pair.metric).unit,
      better: metricOf(pair.metric).better,
      ...(pair.before === undefined ? {} : { before: pair.before }),
      ...(interval ? { interval: { low: interval.low, high: interval.high, confidence: interval.confidence } } : {}),
    }
  })
  const main = comparison.metrics.findIndex(pair => pair.metric === metric)
  const ordered = main > 0 ? [rows[main]!, ...rows.filter((_, i) => i !== main)] : rows
  const head = run.trial.model.newTensors.length > 0 ? 'base model, untrained head' : 'before training'
  return {
    beforeName: run.settings.initFrom === undefined ? head : 'the adapter it started from',
    afterName: run.trial.attached.method.type === 'lora' ? 'with adapter' : 'after training',
    items: comparison.examples,
    itemName: `${judged.split} examples`,
    metrics: ordered,
    ...(comparison.mcnemar ? { mcnemar: comparison.mcnemar } : {}),
  }
}

function curves(history: readonly HistoryEntry[]): Pick<ReportData, 'steps' | 'evaluations'> {
  const steps = history.flatMap(entry => {
    return entry.kind === 'step' ? [{ step: entry.step, loss: entry.loss, learningRate: entry.lr }] : []
  })
  const evaluations = history.flatMap(entry => {
    if (entry.kind !== 'evaluation' || entry.split !== 'validation' || entry.when === 'after') return []
    const metrics = Object.entries(entry.metrics).filter(([name, value]) => {
      return metricOf(name).chart !== undefined && Number.isFinite(value)
    })
    return [{ epoch: entry.epoch, step: entry.step, metrics: Object.fromEntries(metrics) }]
  })
  return { steps, evaluations }
}

function details(evaluation: Evaluation, run: Finished, { split }: EvaluationEvent): Partial<ReportData> {
  const { reports, predictions } = evaluation
  const { labels } = run.trial.model
  const { classification, multiLabel, entities } = reports
  const classes = classification?.classes ?? multiLabel?.classes ?? entities?.types
  const confusion: ConfusionData | undefined = classification && { labels, counts: classification.confusion }
  const examples = run.trial.examples[split]!
  return {
    ...(classes ? { classes } : {}),
    ...(confusion ? { confusion } : {}),
    ...(reports.regression ? { scatter: scatterOf(predictions) } : {}),
    mistakes: mistakesOf(predictions, examples, run),
  }
}

function scatterOf(predictions: readonly Prediction[]) {
  const first = (of: 'gold' | 'predicted') => predictions.map(p => (p[of] as Float32Array)[0]!)
  return { gold: first('gold'), predicted: first('predicted') }
}

/** The wrong answers the model was surest of. */
function mistakesOf(predictions: readonly Prediction[], examples: readonly Example[], run: Finished): Mistake[] {
  const wrong = predictions.flatMap((prediction, i) => {
    return isRight(prediction) ? [] : [{ prediction, example: examples[i]!, sureness: sureness(prediction) }]
  })
  wrong.sort((a, b) => b.sureness - a.sureness)
  return wrong.slice(0, mostMistakes).flatMap(({ prediction, example }) => mistakeOf(prediction, example, run))
}

function sureness(prediction: Prediction): number {
  if (prediction.kind === 'class') return prediction.probabilities[prediction.predicted]!
  if (prediction.kind === 'values') return Math.abs(prediction.predicted[0]! - prediction.gold![0]!)
  if (prediction.kind === 'labels')
    return Math.max(
      ...prediction.probabilities.map((p, c) => (prediction.predicted[c] ? p : 1 - p) * wrongAt(prediction, c)),
    )
  return Math.max(...prediction.probabilities.map((p, i) => p * wrongAt(prediction, i)))
}

function wrongAt({ gold, predicted }: Exclude<Prediction, { kind: 'class' }>, i: number): number {
  return gold![i] === predicted[i] ? 0 : 1
}

function mistakeOf(prediction: Prediction, example: Example, { trial }: Finished): Mistake[] {
  const { labels } = trial.model
  const text = textFor(example, { tokenizer: trial.tokenizer, columns: trial.data.columns })
  const probability = sureness(prediction)
  switch (prediction.kind) {
    case 'class':
      return [
        { kind: 'label', text, gold: labels[prediction.gold!]!, predicted: labels[prediction.predicted]!, probability },
      ]
    case 'labels': {
      const names = (row: Uint8Array) => labels.filter((_, c) => row[c] === 1)
      return [
        { kind: 'labels', text, gold: names(prediction.gold!), predicted: names(prediction.predicted), probability },
      ]
    }
    case 'values':
      return [{ kind: 'value', text, gold: prediction.gold![0]!, predicted: prediction.predicted[0]! }]
    case 'tags':
      return tagMistake(prediction, example, labels)
    default:
      return tokenMistake(prediction, example, trial.tokenizer)
  }
}

type Items = Extract<Prediction, { positions: Int32Array }>

function tagMistake(prediction: Items, { words = [] }: Example, labels: readonly string[]): Mistake[] {
  if (!areEntityTags(labels)) {
    const at = prediction.predicted.findIndex((id, i) => id !== prediction.gold![i])
    const name = (ids: Int32Array) => labels[ids[at]!]!
    const [left, right] = [words.slice(0, at).join(' '), words.slice(at + 1).join(' ')]
    const probability = prediction.probabilities[at]!
    const mistake = {
      left: `${left} ${words[at]}`.trim(),
      right,
      gold: name(prediction.gold!),
      predicted: name(prediction.predicted),
    }
    return [{ kind: 'token', ...mistake, probability }]
  }
  const spans = (ids: Int32Array) => entitySpans(Array.from(ids, id => labels[id]!))
  const probability = sureness(prediction)
  return [{ kind: 'spans', words, gold: spans(prediction.gold!), predicted: spans(prediction.predicted), probability }]
}

function tokenMistake(prediction: Items, { ids }: Example, tokenizer: Finished['trial']['tokenizer']): Mistake[] {
  let worst = -1
  prediction.predicted.forEach((id, i) => {
    if (id === prediction.gold![i]) return
    if (worst < 0 || prediction.probabilities[i]! > prediction.probabilities[worst]!) worst = i
  })
  const position = prediction.positions[worst]!
  const name = (id: number) => tokenizer.token(id) ?? `#${id}`
  const text = (part: Int32Array) => tokenizer.decode(part)
  return [
    {
      kind: 'token',
      left: text(ids.slice(0, position)),
      right: text(ids.slice(position + 1)),
      gold: name(prediction.gold![worst]!),
      predicted: name(prediction.predicted[worst]!),
      probability: prediction.probabilities[worst]!,
    },
  ]
}

function dataOf({ trial }: Finished): DataSummary {
  const { model, examples, maxLength, truncated } = trial
  const { task, problem } = model.head
  const counted = task !== 'masked-lm' && problem !== 'regression'
  const splits = (['train', 'validation', 'test'] as const).flatMap(name => {
    const rows = examples[name] ?? []
    if (rows.length === 0) return []
    if (!counted) return [{ name, examples: rows.length }]
    const counts = classCounts(rows, model.labels.length)
    return [
      { name, examples: rows.length, labels: Object.fromEntries(model.labels.map((label, i) => [label, counts[i]!])) },
    ]
  })
  return { splits, lengths: examples.train.map(({ ids }) => ids.length), maxLength, truncated }
}

function settingsTable({ trial, settings, start }: Finished, { majority }: Outcome): Record<string, Setting> {
  const table: Record<string, Setting> = { base: trial.base.bundled ? 'the bundled encoder' : trial.base.path }
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || ['json', 'quiet', 'dryRun', 'config', 'texts'].includes(name)) continue
    table[name] = typeof value === 'object' ? JSON.stringify(value) : value
  }
  table.lr = start.lr
  table.maxLength = trial.maxLength
  if (trial.attached.matched.length > 0) table['adapted modules'] = trial.attached.matched.length
  if (majority)
    table['always the most frequent class'] = `"${majority.label}", accuracy ${shareText(majority.accuracy)}`
  return table
}

function environment({ start }: Finished, { processBytes }: Outcome): Record<string, Setting> {
  return {
    lowrank: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    device: start.device,
    kernels: start.isa,
    threads: start.threads,
    storage: start.storage,
    compute: start.compute,
    'peak of the process': `${(processBytes / 2 ** 20).toFixed(0)} MiB`,
  }
}
