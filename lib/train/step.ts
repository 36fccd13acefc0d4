import { Tape } from '../autograd/tape.ts'
import type { MicroBatch, Step } from '../data/batches.ts'
import { fail } from '../errors.ts'
import type { Targets } from '../heads/targets.ts'
import type { Model } from '../model.ts'
import { add } from '../ops/add.ts'
import { type StepRandom, withRandom } from '../ops/random.ts'
import type { AdamW } from '../optim/adamw.ts'
import type { TrainingHooks } from '../peft/method.ts'
import { scope, type Tensor } from '../tensor.ts'

/** What a loss needs beside its batch. */
export interface LossSettings {
  /** Class weights [C] on the device. */
  classWeights?: Tensor | undefined
  labelSmoothing?: number | undefined
  /** false: every dropout is off, whatever config and adapter say. Default true. */
  dropout?: boolean | undefined
}

export interface StepOptions extends LossSettings {
  seed: number
  /** Optimizer step, from 0. */
  index: number
  lr: number
  /** What the method asks for beside its gradients. */
  training?: TrainingHooks | undefined
}

/** Not yet computed: reading one waits for the step. All of shape [1]; the caller disposes them. */
export interface StepResult {
  /** Task loss of the whole step. */
  loss: Tensor
  /** The method's penalty, where it has one. */
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
  { lr, training }: Pick<StepOptions, 'lr' | 'training'>,
): Omit<StepResult, 'loss'> {
  const penalised = training?.penalty && backwardOf(() => training.penalty!())
  return { penalty: penalised, squaredGradNorm: optimizer.step(lr) }
}

/** Gradients of a whole step into the arena; returns the loss. */
export function backwardAll(
  model: Model,
  { microBatches, total }: Pick<Step, 'microBatches' | 'total'>,
  options: Omit<StepOptions, 'lr'>,
): Tensor {
  let loss: Tensor | undefined
  let random = firstRandom(options.seed, options.index)
  for (const batch of microBatches) {
    const part = backwardMicroBatch(model, batch, total, random, options)
    loss = loss ? add(loss, part) : part
    random = nextRandom(random, model, batch)
  }
  return loss!
}

/** The random state of a micro-batch. */
export type MicroRandom = Required<StepRandom>

/** The random state of the first micro-batch of optimizer step `step`, from 0. */
export function firstRandom(seed: number, step: number): MicroRandom {
  return { seed, step, rowOffset: 0, sequenceOffset: 0, selectedOffset: 0 }
}

/** That of the micro-batch after `batch`: the rows of a step count on, however it is cut. */
export function nextRandom(random: MicroRandom, { head }: Model, batch: MicroBatch): MicroRandom {
  const { rowOffset, sequenceOffset, selectedOffset } = random
  const [tokens, sequences] = [batch.ids.length, batch.cuSeqlens.length - 1]
  const selected = head.rows(batch, batch.targets)?.length ?? tokens
  return {
    ...random,
    rowOffset: rowOffset + tokens,
    sequenceOffset: sequenceOffset + sequences,
    selectedOffset: selectedOffset + selected,
  }
}

/**
 * Gradients of one micro-batch into the arena; returns its part of the loss. `total`: supervised weight of the whole
 * step. After a throw (ERR_MEMORY, say) nothing but gradients is left behind.
 */
export function backwardMicroBatch(
  model: Model,
  batch: MicroBatch,
  total: number,
  random: MicroRandom,
  { dropout = true, ...settings }: LossSettings,
): Tensor {
  const forward = () => model.loss(batch, targetsOf(batch), { ...settings, total })
  return backwardOf(() => (dropout ? withRandom(random, forward) : forward()))
}

function targetsOf({ targets }: MicroBatch): Targets {
  return targets ?? fail('ERR_DATA', 'train: the examples have no labels; name the label column')
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
