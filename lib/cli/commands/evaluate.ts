// `lowrank evaluate`: a trained adapter measured on data, alone or against its base.

import type { Example } from '../../data/encode.ts'
import { labelMap } from '../../data/labels.ts'
import { type SplitData, splitData } from '../../data/prepare.ts'
import { check } from '../../errors.ts'
import type { Task } from '../../heads/head.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import type { Model } from '../../model.ts'
import { type EvaluateOptions, type Evaluation, evaluate } from '../../train/evaluate.ts'
import { openTrained, type Trained } from '../adapter.ts'
import { findBase, loadBase, useThreads } from '../base.ts'
import { encode, maskingFor, problemTypeOf, readRows } from '../data.ts'
import type { Settings } from '../options/options.ts'
import { predictionRecord, type Reader } from '../predictions.ts'
import { compareEvaluations, comparisonLines } from '../results.ts'
import { type Console, plainJson } from '../terminal/console.ts'
import { evaluationBar } from '../terminal/evaluationBar.ts'
import { metricText, plural } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'

/** Prints the metrics of an adapter on data. */
export async function evaluateCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const trained = openTrained(settings)
  try {
    const data = await dataFor(trained, settings, console)
    const { examples, truncated } = encode(data.splits.test, trained.tokenizer, data, trained.maxLength)
    if (truncated > 0) console.note(`${plural(truncated, 'example')} truncated to ${trained.maxLength} tokens`)
    const options = evaluateOptions(trained, settings)
    const run = (model: Model): Promise<Evaluation> => evaluate(model, examples, options)
    const after = await run(trained.model)
    const before = settings.baseline ? await evaluateBase(trained, settings, run) : undefined
    const comparison = compareEvaluations(before, after, trained.model.labels, settings.seed)
    for (const line of comparisonLines(comparison, 'examples')) console.line(line)
    classLines(after, console)
    if (settings.predictions !== undefined) {
      const reader = { tokenizer: trained.tokenizer, labels: trained.model.labels, columns: data.columns }
      await writePredictions(settings.predictions, after, examples, reader)
    }
    const { metrics, seconds, tokens, reports } = after
    const record = {
      type: 'summary',
      adapter: trained.folder,
      data: settings.data,
      examples: examples.length,
      truncated,
    }
    console.event({
      ...record,
      metrics,
      reports,
      seconds,
      tokens,
      ...(before ? { before: before.metrics, comparison } : {}),
    })
    return 0
  } finally {
    trained.model.dispose()
  }
}

function evaluateOptions({ model, tokenizer }: Trained, settings: Settings): EvaluateOptions {
  const bar = evaluationBar(settings.quiet)
  const progress = (done: number, total: number) => bar('data', done, total)
  const masking = maskingFor(model.task, tokenizer, settings)
  return { batchSize: settings.evalBatchSize, masking, seed: settings.seed, progress }
}

async function writePredictions(
  path: string,
  { predictions }: Evaluation,
  examples: readonly Example[],
  reader: Reader,
): Promise<void> {
  const lines = predictions.map((prediction, i) => plainJson(predictionRecord(prediction, examples[i]!, reader)))
  await writeFileAtomic(path, `${lines.join('\n')}\n`)
}

/** Rows as the test split of the adapter's task, under its labels. */
async function dataFor({ model, columnNames }: Trained, settings: Settings, console: Console): Promise<SplitData> {
  const rows = await readRows(settings, console.note)
  const { task, problem } = model.head
  const labelled = task !== 'masked-lm' && problem !== 'regression'
  const data = await splitData(
    { train: [], validation: [], test: rows },
    {
      task: task as Task,
      columnNames: settings.columns ?? columnNames,
      labels: labelled ? labelMap(model.labels) : undefined,
    },
  )
  const found = data.choice.problemType
  const wanted = problemTypeOf(problem)
  // Whole numbers may be values as well as classes: the adapter knows.
  const read =
    task === 'sequence-classification' && problem === 'regression'
      ? { ...data.choice, problemType: wanted }
      : data.choice
  check(task !== 'sequence-classification' || read.problemType === wanted, 'ERR_DATA', () => {
    return `data: its labels make it ${found}, the adapter does ${wanted}; name the right column with columns.label`
  })
  return { ...data, choice: read, labels: labelled ? labelMap(model.labels) : undefined }
}

/** The base with an untrained head: the adapter switched off, or loaded anew where all weights were trained. */
async function evaluateBase(
  { attached, model, info, base }: Trained,
  settings: Settings,
  run: (model: Model) => Promise<Evaluation>,
): Promise<Evaluation> {
  if (attached) {
    attached.setActive(false)
    return run(model).finally(() => attached.setActive(true))
  }
  const path = settings.model ?? (info.extra.bundled === true ? findBase(undefined).path : info.baseModel)
  check(path !== undefined, 'ERR_OPTION', () => {
    return `baseline: ${base.path} does not say what it was trained from; name the base with --model`
  })
  const { task, problem } = model.head
  const untrained = loadBase(path, { task, problem, labels: model.labels }, settings)
  return run(untrained).finally(() => untrained.dispose())
}

function classLines({ reports }: Evaluation, console: Console): void {
  const classes = reports.classification?.classes ?? reports.multiLabel?.classes ?? reports.entities?.types
  if (!classes) return
  console.line()
  const rows = classes.map(({ label, precision, recall, f1, support, predicted }) => {
    return [label, metricText(precision), metricText(recall), metricText(f1), String(support), String(predicted)]
  })
  const right = (header: string) => ({ header, align: 'right' as const })
  const columns = ['precision', 'recall', 'F1', 'support', 'predicted'].map(right)
  console.line(table([{ header: reports.entities ? 'entity' : 'class' }, ...columns], rows))
}
