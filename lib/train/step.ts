import { Tape } from '../autograd/tape.ts'
import type { MicroBatch, Step } from '../data/batches.ts'
import { fail } from '../errors.ts'
import type { Labels } from '../heads/head.ts'
import type { Model } from '../heads/model.ts'
import { add } from '../ops/add.ts'
import { type StepRandom, withRandom } from '../ops/random.ts'
import type { AdamW } from '../optim/adamw.ts'
import type { Regularizer } from '../peft/method.ts'
import { penalty } from '../peft/regularizer.ts'
import { scope, type Tensor } from '../tensor.ts'

/** What a loss needs beside its batch. */
export interface LossSettings {
  /** Class weights [C] on the device. */
  classWeights?: Tensor | undefined
  labelSmoothing?: number | undefined
}

export interface StepOptions extends LossSettings {
  seed: number
  /** Optimizer step, from 0. */
  index: number
  lr: number
  /** Adds a penalty on the low-rank factors to the loss. */
  regularizer?: Regularizer | undefined
}

/** Not yet computed: reading one waits for the step. All of shape [1]; the caller disposes them. */
export interface StepResult {
  /** Task loss of the whole step. */
  loss: Tensor
  /** Penalty on the factors, where one is set. */
  penalty?: Tensor | undefined
  /** Squared global gradient norm before clipping. */
  squaredGradNorm: Tensor
}

/** Enqueues forward and backward of every micro-batch and one AdamW update. Returns at once. */
export function trainStep(
  model: Model,
  optimizer: AdamW,
  step: Pick<Step, 'microBatches' | 'total'>,
  options: StepOptions,
): StepResult {
  return scope(() => {
    optimizer.arena.zeroGrads()
    const loss = backwardAll(model, step, options)
    return { loss, ...finishStep(optimizer, options) }
  })
}

/** The part of a step after its micro-batches: the penalty's gradient and the AdamW update. */
export function finishStep(
  optimizer: AdamW,
  { lr, regularizer }: Pick<StepOptions, 'lr' | 'regularizer'>,
): Omit<StepResult, 'loss'> {
  const penalised = regularizer && backwardOf(() => penalty(regularizer))
  return { penalty: penalised, squaredGradNorm: optimizer.step(lr) }
}

/** Gradients of a whole step into the arena; returns the loss. */
export function backwardAll(
  model: Model,
  { microBatches, total }: Pick<Step, 'microBatches' | 'total'>,
  options: Omit<StepOptions, 'lr'>,
): Tensor {
  let loss: Tensor | undefined
  let sequenceOffset = 0
  for (const batch of microBatches) {
    const random = { seed: options.seed, step: options.index, rowOffset: batch.rowOffset, sequenceOffset }
    const part = backwardMicroBatch(model, batch, total, random, options)
    loss = loss ? add(loss, part) : part
    sequenceOffset += batch.cuSeqlens.length - 1
  }
  return loss!
}

/**
 * Gradients of one micro-batch into the arena; returns its part of the loss. `total`: supervised weight of the whole
 * step. After a throw (ERR_MEMORY, say) nothing but gradients is left behind.
 */
export function backwardMicroBatch(
  model: Model,
  batch: MicroBatch,
  total: number,
  random: StepRandom,
  { classWeights, labelSmoothing }: LossSettings,
): Tensor {
  const settings = { total, classWeights, labelSmoothing }
  return backwardOf(() => withRandom(random, () => model.loss(batch, labelsOf(batch), settings).loss))
}

function backwardOf(forward: () => Tensor): Tensor {
  return scope(() => {
    const tape = new Tape()
    try {
      const result = tape.run(forward)
      tape.backward(result)
      return result
    } catch (error) {
      tape.dispose()
      throw error
    }
  })
}

function labelsOf({ labels }: MicroBatch): Labels {
  return labels ?? fail('ERR_DATA', 'train: the examples have no labels; name the label column')
}
