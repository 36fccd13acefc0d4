// What a finished run leaves: metrics.json, predictions.jsonl, report.html, and the tables on the screen.

import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { bundled } from '../bundled.ts'
import { itemAt } from '../data/list.ts'
import { shortName } from '../hub/id.ts'
import { referenceOf } from '../hub/reference.ts'
import { sha256File, writeFileAtomic } from '../io/atomic.ts'
import { packageVersion } from '../io/package.ts'
import { spectra } from '../peft/index.ts'
import { clockText } from '../report/format.ts'
import { modelCard } from '../report/modelCard.ts'
import { type Setting, writeReport } from '../report/report.ts'
import { methodTitle, type RunFacts, type RunRecord, type RunResult, reportData, resultOf } from '../report/run.ts'
import { taskOfModel } from '../tasks/index.ts'
import type { EvaluationEvent, StartEvent } from '../train/events.ts'
import type { Settings } from './options/options.ts'
import { plainSettings, runSettings } from './options/settings.ts'
import type { RunSetup } from './setup.ts'
import { type Console, paint, plainJson } from './terminal/console.ts'
import { bytesText, commandLine, countText, deviceText, metricText, shareText, shownPath } from './terminal/format.ts'
import { comparisonLines, textBaselineLine } from './terminal/results.ts'

/** A finished run. */
interface Finished {
  readonly trial: RunSetup
  readonly settings: Settings
  readonly run: RunRecord
  /** Of the adapter or model. */
  readonly folder: string
}

/** What it came to. */
export interface RunOutcome extends RunResult {
  readonly peakBytes: number
  readonly processBytes: number
  readonly adapterBytes: number
  /** The summary, for --json to print last. */
  readonly summary: Readonly<Record<string, unknown>>
}

/** Writes the files of a run and prints its results. */
export async function writeOutcome(finished: Finished, console: Console): Promise<RunOutcome> {
  const { trial, settings, run, folder } = finished
  const { start, end } = run
  const result = await resultOf(run)
  const { judged } = result
  const outcome = {
    ...result,
    peakBytes: end.memory.peak,
    processBytes: process.resourceUsage().maxRSS * 1024,
    adapterBytes: folderBytes(folder),
  }
  const final = (name: string) => join(trial.folder.out, name)
  const files = { adapter: final(basename(folder)), ...(settings.report ? { report: final('report.html') } : {}) }
  const summary = {
    type: 'summary',
    reason: end.reason,
    ...measured(run, result),
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
    out: trial.folder.out,
  }
  await writeFiles(finished, judged, summary)
  if (settings.report) {
    const facts = { ...factsOf(finished, outcome), spectra: await spectra(run.attached) }
    await writeReport(join(trial.folder.work, 'report.html'), await reportData(run, facts, result))
  }
  await writeCard(finished, result)
  await trial.folder.finish()
  show(finished, { ...outcome, summary }, console)
  return { ...outcome, summary }
}

/** README.md of the folder, for whoever gets it without the run. */
async function writeCard({ trial, settings, run, folder }: Finished, result: RunResult): Promise<void> {
  const weights = ['adapter_model.safetensors', 'model.safetensors'].map(name => join(folder, name)).find(existsSync)
  if (weights === undefined) return
  const facts = {
    base: await referenceOf(trial.base.path),
    bundled: trial.base.bundled,
    whole: basename(weights) === 'model.safetensors',
    data: dataName(settings),
    splitHash: trial.data.splitHash,
    sha256: await sha256File(weights),
    version: packageVersion(),
    maxLength: trial.maxLength,
  }
  await writeFileAtomic(join(folder, 'README.md'), modelCard(run, result, facts))
}

function dataName({ data, train }: Settings): string {
  const path = data ?? train ?? ''
  return path === bundled.sample ? 'the bundled sample' : basename(resolve(path))
}

function measured({ before }: RunRecord, { judged, comparison, majority, textBaseline }: RunResult): object {
  const was = before.find(({ split }) => split === judged?.split)
  return {
    split: judged?.split ?? null,
    examples: judged?.evaluation.examples ?? 0,
    ...(was ? { before: was.metrics } : {}),
    ...(judged ? { after: judged.metrics } : {}),
    comparison,
    majority: majority ?? null,
    textBaseline: textBaseline ?? null,
  }
}

/** Bytes of the tensors in a folder. */
export function folderBytes(folder: string): number {
  return readdirSync(folder)
    .filter(name => name.endsWith('.safetensors'))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

/** What the report says of a run beside its record. */
function factsOf(
  { trial, settings, run }: Finished,
  { processBytes, adapterBytes }: Omit<RunOutcome, 'summary'>,
): RunFacts {
  const { start } = run
  return {
    title: `${methodTitle(run)} on ${dataName(settings)}`,
    beforeName: settings.initFrom === undefined ? undefined : 'the adapter it started from',
    maxLength: trial.maxLength,
    truncated: trial.truncated,
    adapterBytes,
    device: deviceText(start),
    settings: settingsTable(trial, settings, start),
    command: typedCommand(process.argv.slice(2)),
    environment: {
      lowrank: packageVersion(),
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      device: start.device,
      kernels: start.isa,
      threads: start.threads,
      storage: start.storage,
      compute: start.compute,
      'peak of the process': `${(processBytes / 2 ** 20).toFixed(0)} MiB`,
    },
  }
}

/** As it was typed, but without the folders of this machine. */
function typedCommand(args: readonly string[]): string {
  return commandLine(args.map(arg => (isAbsolute(arg) ? basename(arg) : arg)))
}

/** Settings that a run finds out where they are not given. */
export const foundIn = ({ lr, headLr, epochs }: StartEvent): Record<string, unknown> => ({ lr, headLr, epochs })

function settingsTable(trial: RunSetup, settings: Settings, start: StartEvent): Record<string, Setting> {
  const table: Record<string, Setting> = {
    base: trial.base.bundled ? 'the bundled encoder' : shortName(trial.base.path),
  }
  // A page that goes elsewhere says nothing of the folders of this machine.
  const settled = plainSettings(runSettings(settings, trial.attached.method, foundIn(start)))
  for (const [name, value] of Object.entries(settled))
    table[name] = typeof value === 'string' && isAbsolute(value) ? basename(value) : value
  table.maxLength = trial.maxLength
  if (trial.attached.matched.length > 0) table['adapted modules'] = trial.attached.matched.length
  return table
}

async function writeFiles(
  { run, trial, settings }: Finished,
  after: EvaluationEvent | undefined,
  summary: object,
): Promise<void> {
  const { tokenizer, model, data, examples } = trial
  const out = trial.folder.work
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
    settings: runSettings(settings, trial.attached.method, foundIn(run.start)),
  }
  await writeFileAtomic(join(out, 'metrics.json'), `${plainJson(all, 2)}\n`)
  if (!after) return
  const task = taskOfModel(model)
  const reader = { tokenizer, labels: model.labels, columns: data.columns }
  const judged = examples[after.split] ?? []
  const lines = after.evaluation.predictions.map((prediction, i) => {
    return plainJson(task.record(prediction, itemAt(judged, i), reader, 1))
  })
  await writeFileAtomic(join(out, 'predictions.jsonl'), `${lines.join('\n')}\n`)
}

function show({ run, trial, folder, settings }: Finished, outcome: RunOutcome, console: Console): void {
  const { start, end } = run
  const { comparison, majority, textBaseline, judged } = outcome
  const split = judged?.split ?? 'test'
  if (comparison) for (const line of comparisonLines(comparison, `${split} examples`)) console.line(line)
  if (majority) console.line(`always "${majority.label}": accuracy ${metricText(majority.accuracy)}`)
  if (textBaseline) console.line(textBaselineLine(textBaseline))
  console.line()
  const { trainable, total } = start
  const best = end.bestStep === undefined || end.bestStep === end.step ? '' : `, best at step ${end.bestStep}`
  const rows: [string, string][] = [
    ['trained', `${countText(trainable)} of ${countText(total)} parameters (${shareText(trainable / total)})`],
    [
      'time',
      `${clockText(end.seconds)}, ${end.step} steps${best}${end.reason === 'early-stopping' ? ', stopped early' : ''}`,
    ],
    ['memory', `peak ${bytesText(outcome.peakBytes)} of tensors, ${bytesText(outcome.processBytes)} of the process`],
    ['adapter', `${shownPath(join(trial.folder.out, basename(folder)))} (${bytesText(outcome.adapterBytes)})`],
  ]
  if (settings.report) rows.push(['report', shownPath(join(trial.folder.out, 'report.html'))])
  for (const [name, value] of rows) console.line(`${paint(console.color, 'bold', name.padEnd(8))}  ${value}`)
}
