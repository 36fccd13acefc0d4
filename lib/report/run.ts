// A finished run as the report shows it.

import { SPLITS } from '../data/duplicates.ts'
import { type Example, wholeRows } from '../data/example.ts'
import { itemAt, type List } from '../data/list.ts'
import { check } from '../errors.ts'
import { metricOf } from '../metrics/table.ts'
import type { Model } from '../model.ts'
import type { Adapter } from '../peft/adapter.ts'
import { type SequenceView, viewBatch } from '../tasks/batchView.ts'
import { taskOfModel } from '../tasks/index.ts'
import { classCounts, type Majority, majorityOf } from '../tasks/supervision.ts'
import type { Mistake, Reader } from '../tasks/task.ts'
import { type TextBaseline, textBaselineName, textBaselineOf } from '../tasks/textBaseline.ts'
import { splitsOf } from '../train/checks.ts'
import { type Evaluation, packAll } from '../train/evaluate.ts'
import type {
  Before,
  EndEvent,
  EvaluationEvent,
  HistoryEntry,
  StartEvent,
  TrainData,
  TrainEvent,
  TrainExamples,
} from '../train/events.ts'
import { must } from '../tuple.ts'
import { calibrationOf } from './calibration.ts'
import { type Comparison, compareEvaluations } from './compare.ts'
import type { ComparisonData, DataSummary, MetricRow, ReferenceRow, ReportData, Setting } from './data.ts'

/** What a run was and told. */
export interface RunRecord {
  readonly model: Model
  readonly attached: Adapter
  readonly examples: TrainExamples
  readonly reader: Reader
  readonly start: StartEvent
  readonly end: EndEvent
  /** What the model said before it was trained, by split. */
  readonly before: readonly Before[]
  /** Evaluations of the trained model, by split. */
  readonly after: readonly EvaluationEvent[]
  readonly warnings: readonly string[]
  /** Keys the resampling of intervals. */
  readonly seed: number
}

/** What a run came to. */
export interface RunResult {
  /** Over the test split, else the validation split; undefined where there is neither. */
  readonly judged: EvaluationEvent | undefined
  readonly comparison: Comparison | undefined
  readonly majority: Majority | undefined
  /** What words alone tell, where one class of a text is the answer. */
  readonly textBaseline: TextBaseline | undefined
}

/** What only the caller knows of a run; everything may be left out. */
export interface RunFacts {
  readonly title?: string
  /** What "before" was, where it is not the base with an untrained head. */
  readonly beforeName?: string | undefined
  readonly maxLength?: number
  readonly truncated?: number
  readonly adapterBytes?: number
  readonly device?: string
  readonly settings?: Readonly<Record<string, Setting>>
  readonly environment?: Readonly<Record<string, Setting>>
  /** A command line that makes the run again. */
  readonly command?: string
  /** Of the adapter, by layer; `spectra` of `lowrank/peft` has them. */
  readonly spectra?: ReadonlyMap<string, readonly number[]> | undefined
}

/** What a record of a run is made of, beside its events. */
export type RunParts = Pick<RunRecord, 'model' | 'attached' | 'reader'> & { readonly examples: TrainData }

const mostMistakes = 100

/**
 * Gathers a record of a run: `for await (const event of train(…)) recorder.take(event)`, then `record()`.
 * @throws ERR_OPTION for the record of a run whose events it did not see from start to end
 */
export function recordRun(parts: RunParts): { take(event: TrainEvent): void; record(): RunRecord } {
  const found: { before: Before[]; after: EvaluationEvent[]; warnings: string[] } = {
    before: [],
    after: [],
    warnings: [],
  }
  const examples = splitsOf(parts.examples)
  let [start, end]: [StartEvent?, EndEvent?] = []
  return {
    take(event) {
      if (event.type === 'start') {
        start = event
        found.before.push(...(event.resumed?.before ?? []))
      } else if (event.type === 'end') end = event
      else if (event.type === 'warning') found.warnings.push(`${event.message}; ${event.cure}`)
      else if (event.type === 'evaluation' && event.when === 'after') found.after.push(event)
      else if (event.type === 'evaluation' && event.when === 'before') {
        const { split, metrics, evaluation } = event
        found.before.push({ split, metrics, predictions: evaluation.predictions })
      }
    },
    record() {
      check(start && end, 'ERR_OPTION', () => {
        return `recordRun: the events have no ${start ? 'end' : 'start'}; take all that train yields, first to last`
      })
      return { ...parts, examples, ...found, start, end, seed: start.seed }
    },
  }
}

/** The evaluation that counts: on the test split where there is one. */
function judgedOf(events: readonly EvaluationEvent[]): EvaluationEvent | undefined {
  return events.find(({ split }) => split === 'test') ?? events.find(({ split }) => split === 'validation')
}

/** What a run came to: the comparison with the model before, with the most frequent class and with words alone. */
export async function resultOf(run: RunRecord): Promise<RunResult> {
  const judged = judgedOf(run.after)
  const before = run.before.find(({ split }) => split === judged?.split)
  const comparison = judged && compareEvaluations(run.model, before, judged.evaluation, run.seed)
  const majority = judged && majorityOf(run.model, run.examples.train, judged.evaluation.predictions)
  const { train } = run.examples
  const texts = judged && (run.examples[judged.split] ?? [])
  const textBaseline = texts && (await textBaselineOf(run.model, run.reader.columns, train, texts))
  return { judged, comparison, majority, textBaseline }
}

/** Everything the report shows of a run. */
export async function reportData(run: RunRecord, facts: RunFacts = {}, given?: RunResult): Promise<ReportData> {
  const result = given ?? (await resultOf(run))
  const { start, end, warnings, model } = run
  const { judged, comparison } = result
  const { settings, environment, device = start.device, adapterBytes } = facts
  return {
    title: facts.title ?? `${methodTitle(run)} of ${model.family.modelType}`,
    task: taskOfModel(model).title,
    date: new Date().toISOString(),
    ...(comparison && judged
      ? { comparison: { ...comparisonOf(run, comparison, judged, facts), references: referencesOf(result) } }
      : {}),
    cost: {
      trainable: start.trainable,
      total: start.total,
      seconds: end.seconds,
      peakBytes: end.memory.peak,
      ...(adapterBytes === undefined ? {} : { adapterBytes }),
      tokensPerSecond: end.tokens / end.seconds,
      device,
    },
    warnings: [...warnings],
    ...curves(end.history, end.bestStep),
    ...(judged ? details(judged, run) : {}),
    ...(facts.spectra ? { spectra: [...facts.spectra].map(([layer, values]) => ({ layer, values })) } : {}),
    batch: batchOf(run),
    data: dataOf(run, facts),
    settings: { ...settings },
    ...(environment ? { environment } : {}),
    ...(facts.command === undefined ? {} : { command: facts.command }),
  }
}

/** What a model has to be better than. */
function referencesOf({ majority, textBaseline }: RunResult): ReferenceRow[] {
  return [
    ...(majority ? [{ name: `Always \u201c${majority.label}\u201d`, accuracy: majority.accuracy }] : []),
    ...(textBaseline ? [referenceOf(textBaseline)] : []),
  ]
}

function referenceOf(baseline: TextBaseline): ReferenceRow {
  const { part: _, ...scores } = baseline
  return { name: textBaselineName(baseline), ...scores }
}

/** What trained, for a title. */
export function methodTitle({ attached }: Pick<RunRecord, 'attached'>): string {
  const { title } = attached.method.kind
  return title.charAt(0).toUpperCase() + title.slice(1)
}

function comparisonOf(
  run: RunRecord,
  comparison: Comparison,
  { split }: EvaluationEvent,
  facts: RunFacts,
): ComparisonData {
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
  const main = comparison.metrics.findIndex(pair => pair.metric === run.start.metric)
  const ordered = main > 0 ? [itemAt(rows, main), ...rows.filter((_, i) => i !== main)] : rows
  const isNew = run.model.newTensors.length > 0
  return {
    beforeName: facts.beforeName ?? (isNew ? 'base model, untrained head' : 'before training'),
    afterName: run.attached.config() === undefined ? 'after training' : 'with adapter',
    items: comparison.examples,
    itemName: `${split} examples`,
    metrics: ordered,
    ...(comparison.mcnemar ? { mcnemar: comparison.mcnemar } : {}),
  }
}

function curves(
  history: readonly HistoryEntry[],
  bestStep: number | undefined,
): Pick<ReportData, 'steps' | 'evaluations'> {
  const steps = history.flatMap(entry => {
    return entry.kind === 'step' ? [{ step: entry.step, loss: entry.loss, learningRate: entry.lr }] : []
  })
  const evaluations = history.flatMap(entry => {
    if (entry.kind !== 'evaluation' || entry.split !== 'validation' || entry.when === 'after') return []
    const metrics = Object.entries(entry.metrics).filter(([name, value]) => {
      return metricOf(name).chart !== undefined && Number.isFinite(value)
    })
    const best = entry.when === 'epoch' && entry.step === bestStep
    return [{ epoch: entry.epoch, step: entry.step, metrics: Object.fromEntries(metrics), ...(best ? { best } : {}) }]
  })
  return { steps, evaluations }
}

function details({ evaluation, split }: EvaluationEvent, run: RunRecord): Partial<ReportData> {
  const { reports, predictions } = evaluation
  const { model, examples } = run
  const found = taskOfModel(model).details?.(reports, predictions, model.labels) ?? {}
  return {
    ...found,
    ...calibrated(run, evaluation),
    mistakes: mistakesOf(evaluation, wholeRows(must(examples[split], split)), run),
  }
}

/** How sure single answers were. */
function calibrated({ model }: RunRecord, { predictions }: Evaluation): Partial<ReportData> {
  if (!taskOfModel(model).oneClass) return {}
  const answers = predictions.map(({ gold, predicted, probabilities }) => {
    return { probability: probabilities?.[Number(predicted)] ?? Number.NaN, right: gold === predicted }
  })
  return answers.every(({ probability }) => probability >= 0) ? { calibration: calibrationOf(answers) } : {}
}

/** The wrong answers the model was surest of. */
function mistakesOf({ predictions }: Evaluation, examples: List<Example>, run: RunRecord): Mistake[] {
  const task = taskOfModel(run.model)
  const wrong = predictions.flatMap((prediction, i) => {
    const sureness = task.wrong(prediction)
    return sureness === undefined ? [] : [{ prediction, example: itemAt(examples, i), sureness }]
  })
  wrong.sort((a, b) => b.sureness - a.sureness)
  return wrong.slice(0, mostMistakes).map(({ prediction, example }) => task.mistake(prediction, example, run.reader))
}

/** The first training sequences, where labels belong to tokens. */
function batchOf({ model, examples, reader }: RunRecord): readonly SequenceView[] {
  const task = taskOfModel(model)
  const first = examples.train.slice(0, 3)
  if (!(first[0]?.label instanceof Int32Array)) return []
  return viewBatch(packAll(model, first), { ...reader, task })
}

function dataOf({ model, examples }: RunRecord, { maxLength, truncated }: RunFacts): DataSummary {
  const task = taskOfModel(model)
  const splits = SPLITS.flatMap(name => {
    const rows = examples[name] ?? []
    if (rows.length === 0) return []
    const counts = classCounts(task, rows, model.labels.length)
    if (!counts) return [{ name, examples: rows.length }]
    const labels = Object.fromEntries(model.labels.map((label, i) => [label, counts[i]!]))
    return [{ name, examples: rows.length, labels }]
  })
  return {
    splits,
    lengths: examples.train.map(({ ids }) => ids.length),
    ...(maxLength === undefined ? {} : { maxLength }),
    ...(truncated === undefined ? {} : { truncated }),
  }
}
