import { Tape } from '../autograd/tape.ts'
import type { MicroBatch, Step } from '../data/batches.ts'
import { fail } from '../errors.ts'
import type { Labels } from '../heads/head.ts'
import type { Model } from '../heads/model.ts'
import { native } from '../native.ts'
import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { withRandom } from '../ops/random.ts'
import type { AdamW } from '../optim/adamw.ts'
import { scope, Tensor } from '../tensor.ts'

export interface StepOptions {
  seed: number
  /** Optimizer step, from 0. */
  index: number
  lr: number
  /** Class weights [C] on the device. */
  classWeights?: Tensor | undefined
  labelSmoothing?: number | undefined
  /** false: every dropout is off, whatever config and adapter say. Default true. */
  dropout?: boolean | undefined
  /** Adds weight · Σ p² over these parameters to the loss. */
  regularizer?: { weight: number; parameters: readonly Parameter[] } | undefined
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
    const penalty = options.regularizer && penalise(options.regularizer)
    const squaredGradNorm = optimizer.step(options.lr)
    return { loss, penalty, squaredGradNorm }
  })
}

/** Gradients of a whole step into the arena; returns the loss. */
export function backwardAll(
  model: Model,
  { microBatches, total }: Pick<Step, 'microBatches' | 'total'>,
  options: Omit<StepOptions, 'lr'>,
): Tensor {
  const { seed, index, classWeights, labelSmoothing, dropout = true } = options
  let loss: Tensor | undefined
  let sequenceOffset = 0
  for (const batch of microBatches) {
    const random = { seed, step: index, rowOffset: batch.rowOffset, sequenceOffset }
    const part = scope(() => {
      const tape = new Tape()
      const result = tape.run(() => {
        const forward = () => model.loss(batch, labelsOf(batch), { total, classWeights, labelSmoothing }).loss
        return dropout ? withRandom(random, forward) : forward()
      })
      tape.backward(result)
      return result
    })
    loss = loss ? add(loss, part) : part
    sequenceOffset += batch.cuSeqlens.length - 1
  }
  return loss!
}

function labelsOf({ labels }: MicroBatch): Labels {
  return labels ?? fail('ERR_DATA', 'train: the examples have no labels; name the label column')
}

/** weight · Σ p², with its gradient 2 · weight · p added where the others' are. */
function penalise({ weight, parameters }: { weight: number; parameters: readonly Parameter[] }): Tensor {
  let sum: Tensor | undefined
  for (const { tensor } of parameters) {
    const squares = new Tensor(native.sumSquares(tensor.handle))
    sum = sum ? add(sum, squares) : squares
    if (tensor.grad) native.accumulate(tensor.grad.handle, tensor.handle, 2 * weight)
  }
  return new Tensor(native.scale(sum!.handle, weight))
}
