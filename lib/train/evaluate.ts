import { type MicroBatch, packExamples, targetsIn } from '../data/batches.ts'
import { type Example, IGNORED } from '../data/example.ts'
import { isList, type List } from '../data/list.ts'
import type { Targets } from '../data/targets.ts'
import { type Transform, transformed } from '../data/transform.ts'
import { check } from '../errors.ts'
import type { Say } from '../generate/answers.ts'
import type { DeviceAnswers } from '../heads/head.ts'
import { readLikeliest } from '../heads/likeliest.ts'
import { Model } from '../model.ts'
import { checkIdle, checkOptions, checkSignal, isRecord, type OptionsOf, SEED } from '../options.ts'
import { type ExampleSet, examplesOf } from '../tasks/encode.ts'
import { taskOfModel } from '../tasks/index.ts'
import type { Answers } from '../tasks/logits.ts'
import { score } from '../tasks/scores.ts'
import type { Prediction, Reports, Task } from '../tasks/task.ts'
import { scope } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { withReference } from './reference.ts'

/** How examples are gone through. */
export interface PassOptions {
  /** Sequences of a batch; it changes speed and memory, and results by rounding at most. Default 32. */
  readonly batchSize?: number | undefined
  /** Stops between batches, with the signal's reason thrown. */
  readonly signal?: AbortSignal | undefined
  /** Makes the labels where a task has none without, as `maskingOf(tokenizer)`. Others change training alone. */
  readonly transform?: Transform | undefined
  /** Keys the transform. Default {@link SEED}. */
  readonly seed?: number | undefined
}

/** How {@link evaluate} goes through examples. */
export interface EvaluateOptions extends PassOptions {
  /** Told after each batch how many examples are done. */
  readonly progress?: ((done: number, total: number) => void) | undefined
  /** Generates answers to examples, which are scored beside the loss: `sayWith(tokenizer, …)`. */
  readonly say?: Say | undefined
}

/** How {@link predict} goes through examples. */
export interface PredictExamplesOptions extends PassOptions {
  /** Likeliest tokens to name for each that is asked for; classes come with all their probabilities. Default 0. */
  readonly top?: number | undefined
}

const PASS_OPTIONS: OptionsOf<PassOptions> = { batchSize: true, signal: true, transform: true, seed: true }

/** What a model gets right on a set of labelled examples. */
export interface Evaluation<P extends Prediction = Prediction> {
  /** Rows of one answer, be they read in parts. */
  readonly examples: number
  readonly tokens: number
  readonly seconds: number
  /** Mean over everything with a label: sequences, tokens, or elements. */
  readonly loss: number
  /** By name, `loss` among them: the task's own. */
  readonly metrics: Readonly<Record<string, number>>
  readonly reports: Reports
  /** One an example, in their order; of rows in parts one a row. */
  readonly predictions: readonly P[]
}

/**
 * Loss, metrics and predictions of a model on labelled examples: no dropout, nothing recorded, the same bits each time.
 * `P` is the form of its task's predictions.
 * @throws ERR_DATA for no examples, examples without labels, or labels that don't fit the head; ERR_CHECKPOINT for
 * logits that are not finite
 */
export function evaluate<P extends Prediction = Prediction>(
  model: Model,
  set: ExampleSet,
  options: EvaluateOptions = {},
): Promise<Evaluation<P>> {
  checkOptions('evaluate', options, { ...PASS_OPTIONS, progress: true, say: true })
  return evaluateBy(undefined, model, set, options)
}

/** {@link evaluate}, where `ask` makes forward passes in place of the model. */
export async function evaluateBy<P extends Prediction = Prediction>(
  ask: Ask | undefined,
  model: Model,
  set: ExampleSet,
  options: EvaluateOptions = {},
): Promise<Evaluation<P>> {
  const started = performance.now()
  checkArguments('evaluate', model, set)
  const examples = examplesOf(set)
  const task = taskOfModel(model)
  check(examples.length > 0, 'ERR_DATA', () => 'evaluate: there is no example; the split is empty')
  checkTransform(task, options.transform)
  const predictions: Prediction[] = []
  let [sum, weight, tokens] = [0, 0, 0]
  for await (const { examples: part, batch, answers, loss } of forwardAll(model, examples, options, true, ask)) {
    predictions.push(...task.read(answers, part, batch, 0))
    sum += loss
    weight += must(batch.targets, 'targets').weight
    tokens += batch.ids.length
    options.progress?.(predictions.length, examples.length)
  }
  check(weight > 0, 'ERR_DATA', () => 'evaluate: no label counts; are all of them masked?')
  for (const [i, words] of ((await options.say?.(model, examples)) ?? []).entries())
    if (words) predictions[i] = { ...nth(predictions, i), words }
  const loss = sum / weight
  const whole = together(task, predictions, examples)
  const { metrics, reports } = score(model, whole, loss, weight)
  const seconds = (performance.now() - started) / 1000
  return { examples: whole.length, tokens, seconds, loss, metrics, reports, predictions: whole as P[] }
}

/** One prediction a row, where the examples are parts of rows. */
function together(task: Task, predictions: readonly Prediction[], examples: List<Example>): readonly Prediction[] {
  if (!examples.some(({ part }) => part)) return predictions
  const whole: Prediction[] = []
  for (let from = 0, to = 1; from < examples.length; from = to, to++) {
    while (examples.at(to)?.part) to++
    const own = [predictions.slice(from, to), examples.slice(from, to)] as const
    whole.push(to - from === 1 ? nth(predictions, from) : task.merge!(...own))
  }
  return whole
}

/**
 * Predictions of a model, one an example and in their order, as its batches are done. Labels, where there are any, are
 * handed through as `gold`.
 * @throws ERR_CHECKPOINT for logits that are not finite
 */
export async function* predict<P extends Prediction = Prediction>(
  model: Model,
  set: ExampleSet,
  options: PredictExamplesOptions = {},
): AsyncGenerator<P> {
  checkOptions('predict', options, { ...PASS_OPTIONS, top: true })
  const { transform } = options
  if (!transform?.labels) checkIdle('transform', transform?.name, () => 'on predictions, since it hides no tokens')
  checkArguments('predict', model, set)
  const task = taskOfModel(model)
  for await (const { examples: part, batch, answers } of forwardAll(model, examplesOf(set), options, false))
    yield* task.read(answers, part, batch, options.top ?? 0) as P[]
}

/** @throws ERR_OPTION for what JavaScript may hand over in place of a model and examples */
function checkArguments(what: string, model: unknown, set: ExampleSet): void {
  check(model instanceof Model, 'ERR_OPTION', () => {
    return `${what}: the first argument is no model; call ${what}(model, data.test)`
  })
  check(isList(set) || (isRecord(set) && isList(set.examples)), 'ERR_OPTION', () => {
    return `${what}: expected examples of one split, as data.test of prepareData`
  })
}

interface Forwarded {
  /** As the model saw them: masked, where it hides tokens. */
  examples: readonly Example[]
  batch: MicroBatch
  answers: Answers
  /** Sum over the batch's labels; 0 where it was not asked for. */
  loss: number
}

/** Forward passes over all batches, each enqueued while the one before it is read. */
async function* forwardAll(
  model: Model,
  examples: List<Example>,
  { batchSize = 32, signal, transform, seed = SEED, top = 0 }: PredictExamplesOptions,
  isLabelled: boolean,
  ask?: Ask,
): AsyncGenerator<Forwarded> {
  checkSignal(signal)
  check(Number.isInteger(batchSize) && batchSize > 0, 'ERR_OPTION', () => {
    return `batchSize: ${batchSize} is not a positive integer`
  })
  const known = await withReference(model, examples, { batchSize, signal })
  let pending: Promise<Forwarded> | undefined
  for (const part of evaluationBatches(known, { batchSize, transform, seed })) {
    signal?.throwIfAborted()
    const next = enqueueForward(model, part, isLabelled, top, ask)
    // Whoever stops reading early leaves this one unread, and its fault is told by the next wait on the device.
    next.catch(() => undefined)
    if (pending) yield await pending
    pending = next
  }
  if (pending) yield await pending
}

/** The examples of each evaluation batch, with the labels that a transform makes. */
export function* evaluationBatches(
  examples: List<Example>,
  { batchSize = 32, transform, seed = SEED }: Pick<PassOptions, 'batchSize' | 'transform' | 'seed'>,
): Generator<readonly Example[]> {
  for (let start = 0; start < examples.length; start += batchSize) {
    const part = examples.slice(start, start + batchSize)
    const rows = Int32Array.from(part, (_, i) => start + i)
    yield transform?.labels ? transformed(part, rows, transform, seed, 0) : part
  }
}

/** @throws ERR_OPTION where a task whose labels a transform makes is given none, or another task one */
export function checkTransform(task: Task, transform: Transform | undefined): void {
  const makes = transform?.labels ?? false
  check((task.transform !== undefined) === makes, 'ERR_OPTION', () => {
    const cure = makes ? 'has labels of its own; leave it out' : 'has labels only by it; see maskingOf(tokenizer)'
    return `transform: ${transform?.name ?? 'none'}, but ${task.title} ${cure}`
  })
}

/** What a forward pass says, on the host: answers, and the sum of the batch's losses where it has targets. */
export type EvaluationPass = readonly [ReadAnswers, number]

/** Makes a forward pass. */
export type Ask = (batch: MicroBatch, targets: Targets | undefined) => Promise<EvaluationPass>

/** Reads answers and loss from the device; enqueued at the call. */
export function readAll({ loss, ...answers }: DeviceAnswers): Promise<EvaluationPass> {
  return Promise.all([readAnswers(answers), loss?.item() ?? 0])
}

/** Enqueues the forward pass of a batch; resolves when its answers are on the host. */
async function enqueueForward(
  model: Model,
  examples: readonly Example[],
  isLabelled: boolean,
  top: number,
  ask?: Ask,
): Promise<Forwarded> {
  const { batch, reads } = scope(() => {
    const batch = packAll(model, isLabelled ? examples : examples.map(asked))
    // Reads are in the queue before the scope frees what they read.
    if (top > 0) return { batch, reads: Promise.all([model.logits(batch, rowsAsked(batch)).floats(), 0]) }
    const targets = isLabelled ? targetsIn(batch, 'evaluate') : rowsAsked(batch)
    return { batch, reads: ask ? ask(batch, targets) : readAll(model.answers(batch, targets)) }
  })
  const [read, loss] = await reads
  const answers = 'ids' in read ? read : { data: read, columns: model.head.judge ? 1 : model.head.outputs }
  checkFinite(model, answers)
  return { examples, batch, answers, loss: isLabelled ? loss : 0 }
}

type ReadAnswers = Awaited<ReturnType<typeof readAnswers>>

function readAnswers({ likeliest, sequences, logits }: Omit<DeviceAnswers, 'loss'>) {
  if (likeliest) return readLikeliest(likeliest)
  if (sequences) return Promise.all(sequences.map(sum => sum.item())).then(sums => Float64Array.from(sums))
  return must(logits, 'logits').floats()
}

/** @throws ERR_CHECKPOINT where a model says nothing that can be read */
function checkFinite(model: Model, answers: Answers): void {
  const values = 'ids' in answers ? answers.probabilities : answers.data
  const bad = values.findIndex(value => !Number.isFinite(value))
  check(bad < 0, 'ERR_CHECKPOINT', () => {
    const where = model.path ?? 'the model'
    return (
      `evaluate: a logit is ${values[bad]}; weights of ${where} are damaged or too large for compute ` +
      `${model.compute}; take another checkpoint, or load it with compute f32`
    )
  })
}

/** An example with labels where tokens are asked for, so that these get rows of their own. */
function asked(example: Example): Example {
  const { asked, ids } = example
  if (!asked) return example
  const label = new Int32Array(ids.length).fill(IGNORED)
  for (const t of asked) label[t] = nth(ids, t)
  return { ...example, label }
}

/** One micro-batch of all examples. */
export function packAll({ head }: Model, examples: readonly Example[]): MicroBatch {
  return packExamples(examples, Int32Array.from(examples.keys()), { collate: head.collate })
}

/** Targets that say which tokens to answer, where nobody asks for a loss. */
export function rowsAsked({ targets }: MicroBatch): Targets | undefined {
  return targets?.rows && targets
}
