import type { Collate, Targets } from '../data/targets.ts'
import { check } from '../errors.ts'
import type { HeadLayers, HeadName, LmLayers, Reads } from '../models/family.ts'
import type { PackedBatch } from '../nn/batch.ts'
import { cast } from '../ops/copy.ts'
import type { LossRows } from '../ops/linearCrossEntropy.ts'
import type { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import type { LikeliestRows } from './likeliest.ts'

/** What the labels of a sequence are: one class, any number of classes, or numbers. */
export type Problem = (typeof PROBLEMS)[number]

export const PROBLEMS = ['single', 'multi', 'regression'] as const

/** How a head weighs its loss. */
export interface LossOptions {
  /**
   * Supervised weight of the whole optimizer step: samples or tokens, or the sum of their class weights; elements for
   * multi-label and regression, as PyTorch's mean.
   */
  total: number
  /** Class weights [C]; for multi-label the weights of positives. */
  classWeights?: Tensor | undefined
  labelSmoothing?: number | undefined
}

/** What a head that compares answers says of a batch. */
export interface Judged {
  /** A number of each sequence, shape [1]: the sum of its negative log-probabilities in nats. */
  readonly sequences: readonly Tensor[]
  /** Shape [1]; undefined where the reference is not known. */
  readonly loss: Tensor | undefined
}

/** A task's part of the model: from rows of the last hidden state to logits and a loss. */
export interface Head {
  /** Name of its task. */
  readonly task: string
  readonly problem: Problem
  /** Columns of the logits. */
  readonly outputs: number
  /** Makes the targets of its loss. */
  readonly collate: Collate
  /** Tokens of the batch whose rows become logits; undefined: all. */
  rows(batch: PackedBatch, targets?: Targets): Int32Array | undefined
  /** Rows [N, D] → logits [N, outputs], in f32 at least. */
  logits(hidden: Tensor): Tensor
  /**
   * The loss, shape [1]: the sum over the rows divided by `total`. `targets`: ids i32[N], or numbers [N, outputs],
   * uploaded of `given`; `batch` says where sequences begin.
   */
  loss(hidden: Tensor, targets: Tensor, options: LossOptions, batch: PackedBatch, given?: Targets): Tensor
  /** Of a head whose output layer may be frozen: losses of many parts, for which it is read once. */
  readonly together?: LossesTogether
  /** Of a head that compares answers: what evaluation reads, in place of logits. */
  judge?(hidden: Tensor, targets: Tensor, options: LossOptions, given: Targets): Judged
  /** Of a head that reads some sequences for their values alone: these need no backward pass. */
  readonly aside?: Aside
  /** Of a head over a vocabulary: what evaluation reads of many rows, in place of all their logits. */
  likeliest?(hidden: Tensor): LikeliestRows[]
}

/** The losses of parts of a batch at once, in place of {@link Head.loss} of each. */
export interface LossesTogether {
  /** Rows as the output layer reads them; undefined where something of it trains. */
  rows(hidden: Tensor): Tensor | undefined
  /** Of `rows` of all parts one after the other, with their ids i32[N]: a loss of each part, shape [1]. */
  losses(rows: Tensor, ids: Tensor, parts: readonly LossRows[], options: Pick<LossOptions, 'labelSmoothing'>): Tensor[]
}

/** Sequences that a head reads for their values alone. */
export interface Aside {
  /** What is to be learned, and what is read; undefined where all is learned. */
  divide(batch: PackedBatch, targets: Targets): { readonly learned: BatchPart; readonly read: BatchPart } | undefined
  /** The number that is read of each sequence, shape [1]. */
  values(hidden: Tensor, uploaded: Tensor, read: Targets): Tensor[]
  /** The targets of what is learned, with these numbers. */
  joined(learned: Targets, values: readonly Tensor[]): Targets
}

/** Some sequences of a batch with their targets. */
export interface BatchPart {
  readonly batch: PackedBatch
  readonly targets: Targets
}

/** What a forward pass for evaluation gives. */
export interface DeviceAnswers {
  readonly logits?: Tensor
  readonly likeliest?: readonly LikeliestRows[]
  /** Of a head that compares answers, see {@link Judged}. */
  readonly sequences?: readonly Tensor[]
  /** The sum over the batch, shape [1]. */
  readonly loss?: Tensor | undefined
}

/** What a head says of hidden rows; `uploaded` are the targets, where there are any. */
export function answersOf(
  head: Head,
  hidden: Tensor,
  batch: PackedBatch,
  targets: Targets | undefined,
  uploaded: Tensor | undefined,
): DeviceAnswers {
  const known = targets && uploaded ? { targets, uploaded } : undefined
  if (head.judge && known) return head.judge(hidden, known.uploaded, { total: 1 }, known.targets)
  return {
    ...(head.likeliest ? { likeliest: head.likeliest(hidden) } : { logits: head.logits(hidden) }),
    ...(known ? { loss: head.loss(hidden, known.uploaded, { total: 1 }, batch, known.targets) } : {}),
  }
}

/** A head as the model and the files of others know it. */
export interface HeadKind {
  /** Name of its task. */
  readonly task: string
  /** The layers of a family that it sits on. */
  readonly sits: HeadName
  /** Whether its outputs have names of their own: classes or values; else they are the vocabulary. */
  readonly isLabelled: boolean
  /** What others call its task: pipelines of transformers, and everyday names. */
  readonly aliases: readonly string[]
  /** Columns of the logits, where they are neither named nor a vocabulary. */
  readonly outputs?: number
  /** What PEFT calls its task; absent where it has no name for it. */
  readonly peftType?: string
  /** End of the class's name in transformers. */
  readonly classSuffix: string
  /** `problem_type` of config.json, where the class reads it. */
  readonly problemTypes?: Readonly<Record<Problem, string>>
  /** Layers of a family as a head. */
  make(layers: HeadLayers | LmLayers, outputs: number, problem: Problem, reads: Reads): Head
}

/** Tokens of the batch that a head reads; undefined: all. The last is known by length, never by a padding id. */
export function rowsRead(reads: Reads, { ids, cuSeqlens }: PackedBatch): Int32Array | undefined {
  if (reads === 'every') return undefined
  if (reads === 'first') return cuSeqlens.slice(0, -1)
  const ends = cuSeqlens.slice(1)
  if (reads === 'last') return ends.map(end => end - 1)
  return ends.map((end, s) => {
    const at = ids.lastIndexOf(reads.lastOf, end - 1)
    check(at >= nth(cuSeqlens, s), 'ERR_DATA', () => {
      return `batch: sequence ${s} has no token ${reads.lastOf}, which ends it and is read; use the model's own tokenizer`
    })
    return at
  })
}

/** Losses and metrics read logits in f32 at least. */
export function wide(logits: Tensor): Tensor {
  return cast(logits, logits.dtype === 'f64' ? 'f64' : 'f32')
}
