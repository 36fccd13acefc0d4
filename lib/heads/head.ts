import { check } from '../errors.ts'
import type { PackedBatch } from '../nn/batch.ts'
import type { Device, Tensor } from '../tensor.ts'

export const TASKS = ['sequence-classification', 'token-classification', 'masked-lm'] as const
export type Task = (typeof TASKS)[number]
/** What the labels of a sequence are: one class, any number of classes, or numbers. */
export type Problem = 'single' | 'multi' | 'regression'

/**
 * Labels of a packed batch: class ids i32 (one a sequence, or one a token with -100 for none), or numbers f32
 * [sequences · labels] for multi-label and regression.
 */
export type Labels = Int32Array | Float32Array

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

/** A task's part of the model: which rows of the last hidden state become logits, and what they are compared with. */
export interface Head {
  readonly task: Task
  readonly problem: Problem
  /** Columns of the logits. */
  readonly outputs: number
  /** Logits of the rows that `select` names. */
  logits(rows: Tensor): Tensor
  /** Rows of the packed batch that get logits: undefined is the first token of each sequence. */
  select(batch: PackedBatch, labels: Labels | undefined): Int32Array | 'first' | 'all'
  /** Checks the labels of a batch and copies those of the selected rows to the device. */
  targets(batch: PackedBatch, labels: Labels, device: Device): Tensor
  /** The loss, shape [1]: the sum over the selected rows divided by `total`. */
  loss(logits: Tensor, targets: Tensor, options: LossOptions): Tensor
}

/** Every label is -100 or a class. */
export function checkClasses(labels: Labels, classes: number): void {
  for (const label of labels)
    check(label === -100 || (label >= 0 && label < classes && Number.isInteger(label)), 'ERR_DATA', () => {
      return `labels: ${label} is no class of 0 to ${classes - 1}; make the label map from the data that is trained on`
    })
}
