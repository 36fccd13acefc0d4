// `lowrank evaluate`: a trained adapter measured on data, alone or against its base.

import { type Example, wholeRows } from '../../data/example.ts'
import { labelMap } from '../../data/labels.ts'
import { itemAt, type List } from '../../data/list.ts'
import { openDataset } from '../../data/open.ts'
import type { Row } from '../../data/row.ts'
import { storeRows } from '../../data/storedRows.ts'
import { check } from '../../errors.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import type { Model } from '../../model.ts'
import { loadBase, useThreads } from '../../open/base.ts'
import { baseOf, type Trained } from '../../open/trained.ts'
import { compareEvaluations } from '../../report/compare.ts'
import { type EncodedRows, unknownText } from '../../tasks/encode.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { type SplitData, splitData } from '../../tasks/prepare.ts'
import type { Reader, TaskValues } from '../../tasks/task.ts'
import { type TextBaseline, textBaselineOf } from '../../tasks/textBaseline.ts'
import { type EvaluateOptions, type Evaluation, evaluate } from '../../train/evaluate.ts'
import { must } from '../../tuple.ts'
import { encode, openOptions, optionsFor, readRows, sayFor } from '../data.ts'
import type { Settings } from '../options/options.ts'
import { checkNoInput } from '../outputFile.ts'
import { type Console, plainJson } from '../terminal/console.ts'
import { metricText, plural } from '../terminal/format.ts'
import { evaluationBar } from '../terminal/progress.ts'
import { comparisonLines, textBaselineLine } from '../terminal/results.ts'
import { table } from '../terminal/table.ts'
import { openTold } from '../trained.ts'

/** Tells of texts of unknown tokens, and of such as are cut. */
function tellUnread(encoded: EncodedRows, { tokenizer, maxLength }: Trained, console: Console): void {
  const unknown = unknownText([encoded], tokenizer)
  if (unknown !== undefined) console.warn(unknown)
  if (encoded.truncated > 0) console.note(`${plural(encoded.truncated, 'example')} truncated to ${maxLength} tokens`)
}

/** Prints the metrics of an adapter on data. */
export async function evaluateCommand(settings: Settings, console: Console): Promise<number> {
  checkNoInput('predictions', settings.predictions, settings.data)
  useThreads(settings)
  const trained = await openTold(settings, console)
  try {
    const data = await dataFor(trained, settings, await readRows(settings, console.note), console)
    const own = optionsFor(taskOfModel(trained.model), settings, trained.taskOptions)
    const encoded = await encode(data.splits.test, trained.tokenizer, data, trained.maxLength, own)
    const { examples, truncated } = encoded
    tellUnread(encoded, trained, console)
    const options = evaluateOptions(trained, settings, own)
    const run = (model: Model): Promise<Evaluation> => evaluate(model, examples, options)
    const after = await run(trained.model)
    const before = settings.baseline ? await evaluateBase(trained, settings, run) : undefined
    const comparison = compareEvaluations(trained.model, before, after, settings.seed)
    for (const line of comparisonLines(comparison, 'examples')) console.line(line)
    const textBaseline = settings.baseline ? await wordsAlone(trained, settings, examples, data, console) : undefined
    if (textBaseline) console.line(textBaselineLine(textBaseline))
    classLines(trained.model, after, console)
    if (settings.predictions !== undefined) {
      const reader = { tokenizer: trained.tokenizer, labels: trained.model.labels, columns: data.columns }
      await writePredictions(trained.model, settings.predictions, after, examples, reader)
    }
    const { metrics, seconds, tokens, reports } = after
    console.event({
      type: 'summary',
      adapter: trained.folder,
      data: settings.data,
      examples: after.examples,
      truncated,
      ...{ metrics, reports, seconds, tokens },
      ...(before ? { before: before.metrics, comparison } : {}),
      ...(textBaseline ? { textBaseline } : {}),
    })
    return 0
  } finally {
    trained.model.dispose()
  }
}

/** TF-IDF trained on the training split beside the data, where a folder brings one. */
async function wordsAlone(
  trained: Trained,
  settings: Settings,
  judged: List<Example>,
  { columns }: SplitData,
  console: Console,
): Promise<TextBaseline | undefined> {
  const { train, ...others } = await openDataset(must(settings.data, 'data'), openOptions(settings))
  if (!train || Object.keys(others).length === 0 || settings.evaluateOn === 'train') return undefined
  const quiet = { ...console, note: () => undefined }
  const data = await dataFor(trained, settings, await storeRows(train.path, train.rows()), quiet)
  const own = optionsFor(taskOfModel(trained.model), settings, trained.taskOptions)
  const { examples } = await encode(data.splits.test, trained.tokenizer, data, trained.maxLength, own)
  return textBaselineOf(trained.model, columns, examples, judged)
}

const shownClasses = 500

function evaluateOptions({ model, tokenizer }: Trained, settings: Settings, own: TaskValues): EvaluateOptions {
  const bar = evaluationBar(settings.quiet)
  const progress = (done: number, total: number) => bar('data', done, total)
  const transform = taskOfModel(model).transform?.(tokenizer, own)
  const say = sayFor(taskOfModel(model), tokenizer, settings)
  return { batchSize: settings.evalBatchSize, transform, seed: settings.seed, progress, say }
}

async function writePredictions(
  model: Model,
  path: string,
  { predictions }: Evaluation,
  examples: List<Example>,
  reader: Reader,
): Promise<void> {
  const task = taskOfModel(model)
  const rows = wholeRows(examples)
  const lines = predictions.map((prediction, i) => plainJson(task.record(prediction, itemAt(rows, i), reader, 1)))
  await writeFileAtomic(path, `${lines.join('\n')}\n`)
}

/** Rows as the test split of the adapter's task, under its labels. */
async function dataFor(
  { model, columnNames }: Trained,
  settings: Settings,
  rows: List<Row>,
  console: Console,
): Promise<SplitData> {
  const task = taskOfModel(model)
  const labels = task.labels ? labelMap(model.labels) : undefined
  const options = { task: task.name, problem: task.problem, columnNames: settings.columns ?? columnNames, labels }
  const data = await splitData({ train: [], validation: [], test: rows }, options)
  for (const notice of data.notices.slice(1)) console.note(notice)
  return data
}

/** The base with an untrained head: the adapter switched off, or loaded anew where all weights were trained. */
async function evaluateBase(
  { attached, model, info, base, folder }: Trained,
  settings: Settings,
  run: (model: Model) => Promise<Evaluation>,
): Promise<Evaluation> {
  if (attached) {
    attached.setActive(false)
    return run(model).finally(() => attached.setActive(true))
  }
  check((settings.model ?? info.baseModel) !== undefined || info.extra.bundled === true, 'ERR_OPTION', () => {
    return `baseline: ${base.path} does not say what it was trained from; name the base with --model`
  })
  const { task } = model
  const { problem } = model.head
  const { path } = await baseOf(folder, info, settings)
  const untrained = await loadBase(path, { task, problem, labels: model.labels }, settings)
  return run(untrained).finally(() => untrained.dispose())
}

function classLines(model: Model, { reports, predictions }: Evaluation, console: Console): void {
  const { classes, className } = taskOfModel(model).details?.(reports, predictions, model.labels) ?? {}
  if (!classes) return
  console.line()
  const rows = classes.slice(0, shownClasses).map(({ label, precision, recall, f1, support, predicted }) => {
    return [label, metricText(precision), metricText(recall), metricText(f1), String(support), String(predicted)]
  })
  const right = (header: string) => ({ header, align: 'right' as const })
  const columns = ['precision', 'recall', 'F1', 'support', 'predicted'].map(right)
  if (classes.length > shownClasses) rows.push([`and ${classes.length - shownClasses} more`])
  console.line(table([{ header: itemAt(must(className, 'className').split(' '), 0) }, ...columns], rows))
}
