import { check, fail } from '../errors.ts'
import { shown } from '../io/json.ts'
import { type PackedBatch, pack } from '../nn/batch.ts'
import { checkOptions, type OptionsOf, SEED } from '../options.ts'
import { isCount } from '../tuple.ts'
import { type PlanOptions, planBatches } from './batchPlan.ts'
import { type Example, sequencesOf } from './example.ts'
import { itemAt, type List } from './list.ts'
import type { Collate, Targets } from './targets.ts'
import { type Transform, transformed } from './transform.ts'

/** What of an optimizer step stands before a micro-batch. */
export interface Offsets {
  /** Tokens. */
  readonly row: number
  readonly sequence: number
  /** Rows of logits. */
  readonly selected: number
  /** Tokens of a decoder beside the encoder. */
  readonly decoder: number
}

const START: Offsets = { row: 0, sequence: 0, selected: 0, decoder: 0 }

/** Sequences one after another, never padded. N tokens, B sequences: one an example, or as many of each. */
export interface MicroBatch {
  /** Token ids, [N]. */
  readonly ids: Int32Array
  /** Token types, [N]; 0 where the examples have none. */
  readonly typeIds: Int32Array
  /** First token of each sequence and N at the end, [B + 1]. */
  readonly cuSeqlens: Int32Array
  /** Tokens of the longest sequence. */
  readonly maxLength: number
  /** What an encoder-decoder is to say to each sequence. */
  readonly decoder?: PackedBatch | undefined
  /** What its logits are compared with; undefined for examples without labels. */
  readonly targets: Targets | undefined
  /** Indices of the examples. */
  readonly rows: Int32Array
  /** Its place in the optimizer step, which keys dropout: however a step is cut, every row sees the same mask. */
  readonly offsets: Offsets
}

/** The work of one optimizer step. */
export interface Step {
  readonly epoch: number
  /** Number of the step in its epoch, from 0. */
  readonly index: number
  readonly microBatches: readonly MicroBatch[]
  /**
   * Supervised weight of all micro-batches: samples of classification and tokens of tagging or masked LM that count
   * (their class weights, where given), elements of regression and several labels; 0 without labels.
   * A loss is a sum over micro-batches times 1/total.
   */
  readonly total: number
  /** Sequences. */
  readonly samples: number
  readonly tokens: number
}

/** How examples become steps: see {@link PlanOptions} for what decides which go together. */
export interface BatchOptions extends PlanOptions {
  /** Makes the targets of each micro-batch: the task's. */
  readonly collate: Collate
  /** One weight a class, for {@link Step.total}. */
  readonly classWeights?: ArrayLike<number> | undefined
  /** Changes examples before they are packed: hides tokens, say. */
  readonly transform?: Transform | undefined
}

const BATCH_OPTIONS: OptionsOf<BatchOptions> = {
  ...{ collate: true, classWeights: true, transform: true, batchSize: true, batchTokens: true, accumulate: true },
  ...{ shuffle: true, seed: true, epoch: true, groupByLength: true, dropLast: true },
}

/** The steps of one epoch. Any step is made on its own, so that a run resumes at step k without replaying others. */
export interface Batches extends Iterable<Step> {
  /** Number of steps. */
  readonly length: number
  /** Step k, equal at each call. @throws ERR_OPTION outside [0, length). */
  at(k: number): Step
}

/**
 * Plans the optimizer steps of an epoch. The order depends on seed, epoch, number and lengths of the examples and the
 * batch options alone.
 * @throws ERR_OPTION for sizes that are no positive integers, ERR_DATA without examples or for one without tokens
 */
export function batches(examples: List<Example>, options: BatchOptions): Batches {
  checkOptions('batches', options, BATCH_OPTIONS)
  const plan = planBatches(examples, options)
  const length = plan.steps
  const at = (k: number): Step => {
    check(Number.isInteger(k) && k >= 0 && k < length, 'ERR_OPTION', () => `step: ${k} is not in [0, ${length})`)
    return makeStep(examples, plan.rowsOf(k), k, options)
  }
  function* steps(): Generator<Step> {
    for (let k = 0; k < length; k++) yield at(k)
  }
  return { length, at, [Symbol.iterator]: steps }
}

/** How examples are packed. */
export interface PackOptions extends Pick<BatchOptions, 'collate' | 'classWeights'> {
  /** Default: the first of its step. */
  readonly offsets?: Offsets | undefined
}

/** Examples packed into one micro-batch, in the order of `rows`. */
export function packExamples(examples: List<Example>, rows: Int32Array, options: PackOptions): MicroBatch {
  checkOptions('packExamples', options, { collate: true, classWeights: true, offsets: true })
  const { collate, classWeights, offsets = START } = options
  const parts = Array.from(rows, row => itemAt(examples, row))
  for (const [i, part] of parts.entries())
    check(isCount(part?.ids?.length), 'ERR_DATA', () => {
      return `batches: example ${rows[i]} is ${shown(part)}, which has no ids; make examples by prepareData`
    })
  const sequences = parts.flatMap(sequencesOf)
  check(sequences.length % parts.length === 0, 'ERR_DATA', () => {
    return `batches: ${sequences.length} sequences of ${parts.length} examples, expected as many of each`
  })
  const packed = pack(sequences.map(({ ids }) => ids))
  const typeIds = new Int32Array(packed.ids.length)
  sequences.forEach((part, i) => {
    if (part.typeIds) typeIds.set(part.typeIds, packed.cuSeqlens[i]!)
  })
  const said = parts.flatMap(({ target }) => (target ? [target] : []))
  check(said.length === 0 || said.length === parts.length, 'ERR_DATA', () => {
    return `batches: ${said.length} of ${parts.length} examples of a batch say what a decoder is to say`
  })
  const decoder = said.length > 0 ? { decoder: pack(said) } : {}
  return { ...packed, typeIds, ...decoder, targets: collate(parts, classWeights), rows, offsets }
}

/** The targets of a batch that must have some; `what` needs them. */
export function targetsIn({ targets }: MicroBatch, what = 'train'): Targets {
  return targets ?? fail('ERR_DATA', `${what}: an example has no label; name the label column`)
}

/** The offsets of the micro-batch that follows another. */
export function offsetsAfter({ ids, cuSeqlens, targets, decoder, offsets }: MicroBatch): Offsets {
  return {
    row: offsets.row + ids.length,
    sequence: offsets.sequence + cuSeqlens.length - 1,
    selected: offsets.selected + logitRows(targets, ids.length),
    decoder: offsets.decoder + (decoder?.ids.length ?? 0),
  }
}

/** Rows of logits: one for every row of targets. */
function logitRows(targets: Targets | undefined, tokens: number): number {
  return targets ? targets.values.length / targets.width : tokens
}

/** A micro-batch cut into at most `parts` of like many examples, in order. */
export function splitMicroBatch(batch: MicroBatch, parts: number): MicroBatch[] {
  if (parts === 1) return [batch]
  const examples = batch.rows.length
  const size = Math.ceil(examples / parts)
  const split: MicroBatch[] = []
  for (let start = 0; start < examples; start += size)
    split.push(sliceMicroBatch(batch, start, Math.min(examples, start + size)))
  return split
}

function sliceMicroBatch(batch: MicroBatch, first: number, last: number): MicroBatch {
  const { typeIds, targets, rows, offsets, decoder } = batch
  const each = (batch.cuSeqlens.length - 1) / rows.length
  const [start, end] = [first * each, last * each]
  const [from, to] = [batch.cuSeqlens[start]!, batch.cuSeqlens[end]!]
  return {
    ...slicePacked(batch, start, end),
    typeIds: typeIds.slice(from, to),
    ...(decoder ? { decoder: slicePacked(decoder, start, end) } : {}),
    targets: targets?.slice(start, end, batch),
    rows: rows.slice(first, last),
    offsets: {
      row: offsets.row + from,
      sequence: offsets.sequence + start,
      selected: offsets.selected + logitRows(targets?.slice(0, start, batch), from),
      decoder: offsets.decoder + (decoder?.cuSeqlens[start] ?? 0),
    },
  }
}

function slicePacked({ ids, cuSeqlens }: PackedBatch, start: number, end: number): PackedBatch {
  const parts = Array.from({ length: end - start }, (_, i) => ids.slice(cuSeqlens[start + i], cuSeqlens[start + i + 1]))
  return pack(parts)
}

function makeStep(examples: List<Example>, parts: readonly Int32Array[], index: number, options: BatchOptions): Step {
  const { epoch = 0 } = options
  const microBatches: MicroBatch[] = []
  let [total, tokens, samples] = [0, 0, 0]
  for (const part of parts) {
    const last = microBatches.at(-1)
    const batch = packPart(examples, part, options, last && offsetsAfter(last))
    total += batch.targets?.weight ?? 0
    tokens += batch.ids.length
    samples += part.length
    microBatches.push(batch)
  }
  const labelled = microBatches[0]?.targets !== undefined
  check(!labelled || total > 0, 'ERR_DATA', () => {
    return `batches: step ${index} of epoch ${epoch} has no label that counts; are all labels masked?`
  })
  return { epoch, index, microBatches, total, samples, tokens }
}

/** A micro-batch of a step, its examples changed where a transform is to. */
function packPart(
  examples: List<Example>,
  rows: Int32Array,
  options: BatchOptions,
  offsets: Offsets | undefined,
): MicroBatch {
  const { transform, seed = SEED, epoch = 0, collate, classWeights } = options
  const how = { collate, classWeights, offsets }
  if (!transform) return packExamples(examples, rows, how)
  const own = Array.from(rows, row => itemAt(examples, row))
  const changed = transformed(own, rows, transform, seed, epoch)
  return { ...packExamples(changed, Int32Array.from(own.keys()), how), rows }
}
