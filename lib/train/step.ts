// One optimizer step: forward and backward of its micro-batches, then the update. Training, benchmarks, pretraining and
// loops of one's own all run this, with the device always busy and the JavaScript thread always free.

import { Tape } from '../autograd/tape.ts'
import { type MicroBatch, type Step, splitMicroBatch, targetsIn } from '../data/batches.ts'
import { check, fail, LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import { withNoise } from '../nn/noise.ts'
import { type StepRandom, withRandom } from '../ops/random.ts'
import type { AdamW } from '../optim/adamw.ts'
import { checkOptions, type OptionsOf } from '../options.ts'
import type { TrainingHooks } from '../peft/method.ts'
import { scope, type Tensor } from '../tensor.ts'

/** What a micro-batch is trained for. */
export interface Objective {
  /**
   * The loss of a micro-batch, shape [1], recorded on the tape: its part of the mean over a whole step, so that parts
   * add up. `total` is the supervised weight of that step.
   */
  loss(model: Model, batch: MicroBatch, total: number): Tensor
}

/** Processes that train one model together, each on its share of every step. */
export interface Communicator {
  readonly rank: number
  readonly size: number
  /** Enqueues: the sum over all processes takes the place of `x` in each of them. */
  allReduce(x: Tensor): void
}

/** A micro-batch whose gradients are asked for. */
export interface GradientWork {
  readonly batch: MicroBatch
  /** Supervised weight of its optimizer step. */
  readonly total: number
  /** Keys its dropout; undefined: there is none. */
  readonly random: StepRandom | undefined
}

/** Who computes gradients where that is no pass of its own: runs that share one. */
export interface SharedPasses {
  /** As {@link Stepper.forwardBackward}. */
  gradients(work: GradientWork): Promise<{ loss: Promise<number> }>
  /** Told the norm of the gradients of each update. */
  updated(gradNorm: Promise<number>): void
}

/** How {@link supervised} weighs labels. */
export interface SupervisedOptions {
  /** Class weights [C] on the device. */
  readonly classWeights?: Tensor | undefined
  /** Share of the target spread over all classes. Default 0. */
  readonly labelSmoothing?: number | undefined
  /** Noise on the word embeddings (NEFTune): its alpha. Default 0: none. */
  readonly neftune?: number
  /** Runs each layer again in backward in place of keeping what it made: the same gradients. Default false. */
  readonly checkpoint?: boolean | undefined
}

const SUPERVISED_OPTIONS: OptionsOf<SupervisedOptions> = {
  ...{ classWeights: true, labelSmoothing: true, neftune: true, checkpoint: true },
}

/** The loss of the model's head against the targets of the batch. */
export function supervised(given: SupervisedOptions = {}): Objective {
  checkOptions('supervised', given, SUPERVISED_OPTIONS)
  const { neftune = 0, ...options } = given
  return {
    loss(model, batch, total) {
      const targets = targetsIn(batch)
      const loss = () => model.loss(batch, targets, { ...options, total })
      return withNoise(model.backbone.wordEmbeddings, neftune, batch.cuSeqlens, loss)
    },
  }
}

/** A pass that several runs shared took too much memory: the step is to be run again, and will share less. */
export class StepAgain extends LowrankError {}

/** What a step computed. */
export interface StepNumbers {
  readonly loss: number
  readonly penalty: number | undefined
  /** Global norm before clipping. */
  readonly gradNorm: number
}

/** What a {@link Stepper} runs. */
export interface StepperOptions {
  /** Keys every dropout. */
  readonly seed: number
  /** Default: {@link supervised}. */
  readonly objective?: Objective | undefined
  /** What the method asks for beside its gradients: `adapter.training`. */
  readonly training?: TrainingHooks | undefined
  /** Optimizer steps of the whole run, which schedules of a method need. Default 0. */
  readonly totalSteps?: number | undefined
  readonly communicator?: Communicator | undefined
  /** Computes gradients in place of a pass of its own. */
  readonly shared?: SharedPasses | undefined
  /** false: every dropout is off, whatever config and adapter say. Default true. */
  readonly dropout?: boolean | undefined
  /** Into how many parts micro-batches are cut; raised when memory runs out. Default 1. */
  readonly divisor?: number | undefined
}

const STEPPER_OPTIONS: OptionsOf<StepperOptions> = {
  ...{ seed: true, objective: true, training: true, totalSteps: true, communicator: true },
  ...{ shared: true, dropout: true, divisor: true },
}

/** Micro-batches in the queue: one runs, one waits. More might fill the queue's ring, which blocks the thread. */
const AHEAD = 2
/** Enqueueing a micro-batch for longer than this, in ms, says that the ring was full. */
const BLOCKED = 50

/** Runs optimizer steps of one model. `launch` is a whole step; its parts serve loops of one's own. */
export class Stepper {
  /** Into how many parts micro-batches are cut: a power of two. */
  divisor: number
  readonly #model: Model
  readonly #optimizer: AdamW
  readonly #options: StepperOptions
  readonly #objective: Objective
  readonly #inFlight: Promise<unknown>[] = []
  #ahead = AHEAD

  constructor(model: Model, optimizer: AdamW, options: StepperOptions) {
    checkOptions('Stepper', options, STEPPER_OPTIONS)
    this.#model = model
    this.#optimizer = optimizer
    this.#options = options
    this.#objective = options.objective ?? supervised()
    this.divisor = options.divisor ?? 1
  }

  /**
   * Enqueues a step; `numbers` resolves when it is done. `index` counts optimizer steps from 0. Where memory runs out,
   * the same step is run again with smaller micro-batches (and so will all later ones): the gradient is the same sum in
   * another order.
   * @throws ERR_MEMORY when one sequence alone is too much
   */
  async launch(
    step: Pick<Step, 'microBatches' | 'total'>,
    index: number,
    lr: number,
  ): Promise<{ numbers: Promise<StepNumbers> }> {
    for (;;) {
      try {
        return await this.#attempt(step, index, lr)
      } catch (error) {
        if (error instanceof StepAgain) continue
        if (!(error instanceof LowrankError) || error.code !== 'ERR_MEMORY') throw error
        const sequences = Math.max(...step.microBatches.map(batch => batch.rows.length))
        if (this.divisor >= sequences) tooLarge(step, error)
        this.divisor *= 2
      }
    }
  }

  async #attempt({ microBatches, total }: Pick<Step, 'microBatches' | 'total'>, index: number, lr: number) {
    const losses: Promise<number>[] = []
    this.#optimizer.arena.zeroGrads()
    for (const batch of microBatches.flatMap(batch => splitMicroBatch(batch, this.divisor)))
      losses.push((await this.forwardBackward(batch, total, index)).loss)
    const { penalty, gradNorm } = this.optimStep(lr)
    const { training, totalSteps = 0 } = this.#options
    await training?.afterUpdate?.(index + 1, totalSteps)
    const numbers = Promise.all([Promise.all(losses), penalty, gradNorm]).then(([parts, penalty, gradNorm]) => {
      return { loss: parts.reduce((a, b) => a + b, 0), penalty, gradNorm }
    })
    numbers.catch(() => undefined)
    return { numbers }
  }

  /**
   * Adds the gradients of a micro-batch to those in the arena, as soon as the queue has a place for it; `loss` resolves
   * to its part of the step's. After a throw (ERR_MEMORY, say) nothing but gradients is left behind.
   * @param index optimizer step it belongs to, from 0: with the batch's offsets it keys dropout
   * @param objective what it is trained for, where that is not the stepper's own
   */
  async forwardBackward(
    batch: MicroBatch,
    total: number,
    index: number,
    objective: Objective = this.#objective,
  ): Promise<{ loss: Promise<number> }> {
    while (this.#inFlight.length >= this.#ahead) await this.#inFlight.shift()
    const started = performance.now()
    const { seed, dropout = true, shared } = this.#options
    const { row: rowOffset, sequence: sequenceOffset, selected: selectedOffset, decoder: decoderOffset } = batch.offsets
    const random = { seed, step: index, rowOffset, sequenceOffset, selectedOffset, decoderOffset }
    if (shared) {
      const passed = await shared.gradients({ batch, total, random: dropout ? random : undefined })
      this.#inFlight.push(passed.loss)
      return passed
    }
    const forward = () => objective.loss(this.#model, batch, total)
    // A read is in the queue before the scope frees what it reads.
    const { loss } = scope(() => {
      return { loss: read(backwardOf(() => (dropout ? withRandom(random, forward) : forward()))) }
    })
    // Steps of that many ops take long enough for the device not to miss the one that waits.
    if (performance.now() - started > BLOCKED) this.#ahead = 1
    this.#inFlight.push(loss)
    return { loss }
  }

  /** Adds the penalty's gradient, sums over processes where there are several, and updates everything that trains. */
  optimStep(lr: number): { penalty: Promise<number> | undefined; gradNorm: Promise<number> } {
    const { training, communicator, shared } = this.#options
    const { penalised, squared } = scope(() => {
      const penalised = training?.penalty && read(backwardOf(() => training.penalty!()))
      communicator?.allReduce(this.#optimizer.arena.grads)
      return { penalised, squared: read(this.#optimizer.step(lr)) }
    })
    const gradNorm = squared.then(Math.sqrt)
    gradNorm.catch(() => undefined)
    shared?.updated(gradNorm)
    return { penalty: penalised, gradNorm }
  }
}

/** Runs `forward` on a tape of its own and goes back from what it returns. */
function backwardOf(forward: () => Tensor): Tensor {
  return scope(() => {
    const tape = new Tape()
    try {
      const result = tape.run(forward)
      check(result.size === 1, 'ERR_SHAPE', () => `objective: the loss has shape [${result.shape}], expected [1]`)
      tape.backward(result)
      return result
    } catch (error) {
      tape.dispose()
      throw error
    }
  })
}

/** Reads a number; one that nobody waits for may fail unheard, since the fault stays on the device. */
export function read(tensor: Tensor): Promise<number> {
  if (tensor.device.kind === 'meta') return Promise.resolve(Number.NaN)
  const number = tensor.item()
  number.catch(() => undefined)
  return number
}

function tooLarge({ microBatches }: Pick<Step, 'microBatches'>, cause: LowrankError): never {
  const longest = Math.max(...microBatches.map(batch => batch.maxLength))
  fail(
    'ERR_MEMORY',
    `train: one sequence of ${longest} tokens at a time is too much for the memory (${cause.message}); lower maxLength`,
    cause,
  )
}
