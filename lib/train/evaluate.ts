import { type MicroBatch, packExamples } from '../data/batches.ts'
import { type Example, firstPieces, IGNORED } from '../data/encode.ts'
import { type Masking, maskExample } from '../data/maskedLm.ts'
import { random } from '../data/random.ts'
import { check } from '../errors.ts'
import { decodeItems, decodeSequence, type Items, type LogitRows, type Prediction } from '../heads/decode.ts'
import { type Likeliest, readLikeliest } from '../heads/likeliest.ts'
import type { Targets } from '../heads/targets.ts'
import type { Model } from '../model.ts'
import { scope } from '../tensor.ts'
import { type Reports, score } from './scores.ts'

export type { Prediction } from '../heads/decode.ts'
export type { Reports } from './scores.ts'

export interface EvaluateOptions {
  /** Sequences of a batch; it changes speed and memory, and results by rounding at most. Default 32. */
  readonly batchSize?: number | undefined
  /** Stops between batches, with the signal's reason thrown. */
  readonly signal?: AbortSignal | undefined
  /** How tokens are hidden; needed for masked LM, and only there. */
  readonly masking?: Masking | undefined
  /** Keys the masks. Default 0. */
  readonly seed?: number | undefined
  /** Told after each batch how many examples are done. */
  readonly progress?: ((done: number, total: number) => void) | undefined
}

/** What a model gets right on a set of labelled examples. */
export interface Evaluation {
  readonly examples: number
  readonly tokens: number
  readonly seconds: number
  /** Mean over everything with a label: sequences, tokens, or elements. */
  readonly loss: number
  /** By name, `loss` among them; see {@link score}. */
  readonly metrics: Readonly<Record<string, number>>
  readonly reports: Reports
  /** One an example, in their order. */
  readonly predictions: readonly Prediction[]
}

/**
 * Loss, metrics and predictions of a model on labelled examples: no dropout, nothing recorded, the same bits each time.
 * @throws ERR_DATA for no examples, examples without labels, or labels that don't fit the head
 */
export async function evaluate(
  model: Model,
  examples: readonly Example[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const started = performance.now()
  check(examples.length > 0, 'ERR_DATA', () => 'evaluate: there is no example; the split is empty')
  check(model.task !== 'masked-lm' || options.masking, 'ERR_OPTION', () => {
    return 'evaluate: masked LM needs to hide tokens; give masking, as maskingOf(tokenizer) makes it'
  })
  const predictions: Prediction[] = []
  let [sum, weight, tokens] = [0, 0, 0]
  for await (const part of forwardAll(model, examples, options, true)) {
    predictions.push(...decode(model, part))
    sum += part.loss
    weight += part.batch.targets!.weight
    tokens += part.batch.ids.length
    options.progress?.(predictions.length, examples.length)
  }
  check(weight > 0, 'ERR_DATA', () => 'evaluate: no label counts; are all of them masked?')
  const loss = sum / weight
  const { metrics, reports } = score(model, predictions, loss, weight)
  const seconds = (performance.now() - started) / 1000
  return { examples: examples.length, tokens, seconds, loss, metrics, reports, predictions }
}

/**
 * Predictions of a model, one an example and in their order, as its batches are done. Labels, where there are any, are
 * handed through as `gold`.
 */
export async function* predict(
  model: Model,
  examples: readonly Example[],
  options: EvaluateOptions = {},
): AsyncGenerator<Prediction> {
  for await (const part of forwardAll(model, examples, options, false)) yield* decode(model, part)
}

interface Forwarded {
  /** As the model saw them: masked, where it hides tokens. */
  examples: readonly Example[]
  batch: MicroBatch
  /** Of a vocabulary: the likeliest ids alone. */
  answers: LogitRows | Likeliest
  /** Sum over the batch's labels; 0 where it was not asked for. */
  loss: number
}

/** Forward passes over all batches, each enqueued while the one before it is read. */
async function* forwardAll(
  model: Model,
  examples: readonly Example[],
  { batchSize = 32, signal, masking, seed = 0 }: EvaluateOptions,
  labelled: boolean,
): AsyncGenerator<Forwarded> {
  check(Number.isInteger(batchSize) && batchSize > 0, 'ERR_OPTION', () => {
    return `batchSize: ${batchSize} is not a positive integer`
  })
  let pending: Promise<Forwarded> | undefined
  for (const part of evaluationBatches(examples, { batchSize, masking, seed })) {
    signal?.throwIfAborted()
    const next = enqueueForward(model, part, labelled)
    // Whoever stops reading early leaves this one unread, and its fault is told by the next wait on the device.
    next.catch(() => undefined)
    if (pending) yield await pending
    pending = next
  }
  if (pending) yield await pending
}

/** The examples of each evaluation batch, with tokens hidden where `masking` says so. */
export function* evaluationBatches(
  examples: readonly Example[],
  { batchSize = 32, masking, seed = 0 }: Pick<EvaluateOptions, 'batchSize' | 'masking' | 'seed'>,
): Generator<Example[]> {
  for (let start = 0; start < examples.length; start += batchSize)
    yield examples.slice(start, start + batchSize).map((example, i) => {
      return masking ? maskExample(example, masking, random(seed, 'mask', 0, start + i)) : example
    })
}

/** Enqueues the forward pass of a batch; resolves when its answers are on the host. */
async function enqueueForward(model: Model, examples: readonly Example[], isLabelled: boolean): Promise<Forwarded> {
  const { batch, reads } = scope(() => {
    const batch = packAll(model, examples)
    const { logits, likeliest, loss } = model.answers(batch, isLabelled ? labelled(batch) : hidden(model, batch))
    // Reads are in the queue before the scope frees what they read.
    const reads = Promise.all([likeliest ? readLikeliest(likeliest) : logits!.data(), loss?.item() ?? 0])
    return { batch, reads }
  })
  const [read, loss] = await reads
  const answers = 'ids' in read ? read : { data: read as Float32Array, columns: model.head.outputs }
  return { examples, batch, answers, loss: isLabelled ? loss : 0 }
}

/** One micro-batch of all examples. */
export function packAll({ head }: Model, examples: readonly Example[]): MicroBatch {
  return packExamples(examples, Int32Array.from(examples.keys()), { collate: head.collate })
}

/** The targets of a batch that must have some. */
export function labelled({ targets }: MicroBatch): Targets {
  check(targets, 'ERR_DATA', () => 'evaluate: an example has no label; name the label column')
  return targets
}

/** Targets that say which tokens to answer, where nobody asks for a loss. */
function hidden({ task }: Model, { targets }: MicroBatch): Targets | undefined {
  return task === 'masked-lm' ? targets : undefined
}

function decode(model: Model, { examples, batch, answers }: Forwarded): Prediction[] {
  const { task, problem } = model.head
  if (task === 'sequence-classification')
    return examples.map(({ label }, i) =>
      decodeSequence(answers as LogitRows, i, problem, label as number | Float32Array),
    )
  let rowsBefore = 0
  return examples.map((example, i) => {
    const items = itemsOf(example, task === 'masked-lm')
    const first = task === 'masked-lm' && batch.targets ? rowsBefore : undefined
    rowsBefore += items.positions.length
    const start = batch.cuSeqlens[i]!
    // Hidden tokens have rows of their own; taggers have them for every token.
    const rows = items.positions.map((position, k) => (first === undefined ? start + position : first + k))
    return decodeItems(answers, { ...items, rows })
  })
}

/** The tokens of an example that have an answer: those with a label, else the first pieces of its words, else all. */
function itemsOf({ ids, label, wordIds }: Example, masked: boolean): Omit<Items, 'rows'> {
  if (label instanceof Int32Array) {
    const at = Int32Array.from(ids.keys()).filter(t => label[t] !== IGNORED)
    return { positions: at, gold: at.map(t => label[t]!) }
  }
  const positions = wordIds && !masked ? firstPieces(wordIds) : ids.keys()
  return { positions: Int32Array.from(positions), gold: undefined }
}
