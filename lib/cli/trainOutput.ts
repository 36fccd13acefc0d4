// What a finished run leaves: metrics.json, predictions.jsonl, report.html, and the tables on the screen.

import { readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { classCounts } from '../data/statistics.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { writeReport } from '../report/report.ts'
import type { EndEvent, EvaluationEvent, StartEvent } from '../train/events.ts'
import type { Settings } from './options/options.ts'
import { predictionRecord } from './predictions.ts'
import { reportData } from './reportData.ts'
import { type Comparison, compareEvaluations, comparisonLines } from './results.ts'
import { type Console, paint, plainJson } from './terminal/console.ts'
import { bytesText, countText, metricText, shareText } from './terminal/format.ts'
import { formatDuration } from './terminal/progress.ts'
import type { Trial } from './trainRun.ts'

/** A finished run. */
export interface Finished {
  readonly trial: Trial
  readonly settings: Settings
  readonly start: StartEvent
  readonly end: EndEvent
  /** Of the adapter or model. */
  readonly folder: string
  readonly before: readonly EvaluationEvent[]
  readonly after: readonly EvaluationEvent[]
  readonly warnings: readonly string[]
}

/** Its results. */
export interface Outcome {
  /** Over the test split, else the validation split; undefined where there is neither. */
  readonly comparison: Comparison | undefined
  readonly majority: Majority | undefined
  readonly peakBytes: number
  readonly processBytes: number
  readonly adapterBytes: number
  /** The summary, for --json to print last. */
  readonly summary: Readonly<Record<string, unknown>>
}

/** The most frequent training label, and how often it would be right. */
export interface Majority {
  readonly label: string
  readonly accuracy: number
}

/** Writes the files of a run and prints its results. */
export async function writeOutcome(run: Finished, console: Console): Promise<Outcome> {
  const { trial, settings, start, end, folder } = run
  const after = judged(run.after)
  const before = after && run.before.find(({ split }) => split === after.split)
  const comparison = after && compareWithHistory(run, before, after)
  const outcome = {
    comparison,
    majority: after && majorityOf(trial, after),
    peakBytes: end.memory.peak,
    processBytes: process.resourceUsage().maxRSS * 1024,
    adapterBytes: folderBytes(folder),
  }
  const files = { adapter: folder, ...(settings.report ? { report: join(trial.out, 'report.html') } : {}) }
  const summary = {
    type: 'summary',
    reason: end.reason,
    split: after?.split ?? null,
    examples: after?.evaluation.examples ?? 0,
    ...(before ? { before: before.metrics } : {}),
    ...(after ? { after: after.metrics } : {}),
    comparison,
    majority: outcome.majority ?? null,
    trainable: start.trainable,
    total: start.total,
    steps: end.step,
    bestStep: end.bestStep ?? null,
    seconds: end.seconds,
    tokens: end.tokens,
    peakBytes: outcome.peakBytes,
    processBytes: outcome.processBytes,
    adapterBytes: outcome.adapterBytes,
    ...files,
    out: trial.out,
  }
  await writeFiles(run, after, summary)
  if (settings.report) writeReport(join(trial.out, 'report.html'), reportData(run, { ...outcome, summary }))
  show(run, { ...outcome, summary }, console)
  return { ...outcome, summary }
}

/** The evaluation that counts: on the test split where there is one. */
function judged(events: readonly EvaluationEvent[]): EvaluationEvent | undefined {
  return events.find(({ split }) => split === 'test') ?? events.find(({ split }) => split === 'validation')
}

/** Of a resumed run only the numbers before are known, from its history: they come without interval and test. */
function compareWithHistory(run: Finished, before: EvaluationEvent | undefined, after: EvaluationEvent): Comparison {
  const { labels } = run.trial.model
  const comparison = compareEvaluations(before?.evaluation, after.evaluation, labels, run.settings.seed)
  if (before) return comparison
  const known = run.end.history.find(e => e.kind === 'evaluation' && e.when === 'before' && e.split === after.split)
  if (known?.kind !== 'evaluation') return comparison
  const metrics = comparison.metrics.map(pair => {
    const was = known.metrics[pair.metric]
    return was === undefined ? pair : { ...pair, before: was }
  })
  return { ...comparison, metrics }
}

function majorityOf({ model, examples }: Trial, { evaluation }: EvaluationEvent): Majority | undefined {
  if (model.task !== 'sequence-classification' || model.head.problem !== 'single') return undefined
  const counts = classCounts(examples.train, model.labels.length)
  const id = counts.indexOf(Math.max(...counts))
  const right = evaluation.predictions.filter(({ gold }) => gold === id).length
  return { label: model.labels[id]!, accuracy: right / evaluation.predictions.length }
}

function folderBytes(folder: string): number {
  return readdirSync(folder)
    .filter(name => name.endsWith('.safetensors'))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

async function writeFiles(
  { trial, settings }: Finished,
  after: EvaluationEvent | undefined,
  summary: object,
): Promise<void> {
  const { out, tokenizer, model, data, examples } = trial
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))
  const { type: _, ...record } = { type: '', ...summary }
  const all = {
    ...record,
    base: trial.base.path,
    method: trial.attached.method.type,
    task: model.task,
    labels: model.labels,
    maxLength: trial.maxLength,
    splitHash: data.splitHash,
    duplicates: data.duplicates,
    settings: given,
  }
  await writeFileAtomic(join(out, 'metrics.json'), `${JSON.stringify(JSON.parse(plainJson(all)), null, 2)}\n`)
  if (!after) return
  const reader = { tokenizer, labels: model.labels, columns: data.columns }
  const lines = after.evaluation.predictions.map((prediction, i) => {
    return plainJson(predictionRecord(prediction, examples[after.split]![i]!, reader))
  })
  await writeFileAtomic(join(out, 'predictions.jsonl'), `${lines.join('\n')}\n`)
}

function show(run: Finished, outcome: Outcome, console: Console): void {
  const { start, end, trial, folder, settings } = run
  const { comparison, majority } = outcome
  const split = judged(run.after)?.split ?? 'test'
  if (comparison) for (const line of comparisonLines(comparison, `${split} examples`)) console.line(line)
  if (majority) console.line(`always "${majority.label}": accuracy ${metricText(majority.accuracy)}`)
  console.line()
  const { trainable, total } = start
  const best = end.bestStep === undefined || end.bestStep === end.step ? '' : `, best at step ${end.bestStep}`
  const rows: [string, string][] = [
    ['trained', `${countText(trainable)} of ${countText(total)} parameters (${shareText(trainable / total)})`],
    [
      'time',
      `${formatDuration(end.seconds)}, ${end.step} steps${best}${end.reason === 'early-stopping' ? ', stopped early' : ''}`,
    ],
    ['memory', `peak ${bytesText(outcome.peakBytes)} of tensors, ${bytesText(outcome.processBytes)} of the process`],
    ['adapter', `${shown(folder)} (${bytesText(outcome.adapterBytes)})`],
  ]
  if (settings.report) rows.push(['report', shown(join(trial.out, 'report.html'))])
  for (const [name, value] of rows) console.line(`${paint(console.color, 'bold', name.padEnd(8))}  ${value}`)
}

/** A path as the user would type it. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' || short.startsWith('..') ? path : short
}
