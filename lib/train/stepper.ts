// Optimizer steps with the device always busy and the JavaScript thread always free.

import type { MicroBatch, Step } from '../data/batches.ts'
import { fail, LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import type { AdamW } from '../optim/adamw.ts'
import type { TrainingHooks } from '../peft/method.ts'
import { scope, type Tensor } from '../tensor.ts'
import { backwardMicroBatch, finishStep, firstRandom, type LossSettings, nextRandom } from './step.ts'

/** What a step computed. */
export interface StepNumbers {
  readonly loss: number
  readonly penalty: number | undefined
  /** Global norm before clipping. */
  readonly gradNorm: number
}

export interface StepperOptions extends LossSettings {
  readonly seed: number
  /** What the method asks for beside its gradients. */
  readonly training?: TrainingHooks | undefined
  /** Optimizer steps of the whole run, which schedules of the method need. Default 0. */
  readonly totalSteps?: number | undefined
  /** Into how many parts micro-batches are cut; raised when memory runs out. Default 1. */
  readonly divisor?: number | undefined
}

/** Micro-batches in the queue: one runs, one waits. More might fill the queue's ring, which blocks the thread. */
const AHEAD = 2
/** Enqueueing a micro-batch for longer than this, in ms, says that the ring was full. */
const BLOCKED = 50

/** Runs optimizer steps of one model. */
export class Stepper {
  /** Into how many parts micro-batches are cut: a power of two. */
  divisor: number
  readonly #model: Model
  readonly #optimizer: AdamW
  readonly #options: StepperOptions
  readonly #inFlight: Promise<unknown>[] = []
  #ahead = AHEAD

  constructor(model: Model, optimizer: AdamW, options: StepperOptions) {
    this.#model = model
    this.#optimizer = optimizer
    this.#options = options
    this.divisor = options.divisor ?? 1
  }

  /**
   * Enqueues a step; `numbers` resolves when it is done. Where memory runs out, the same step is run again with smaller
   * micro-batches (and so will all later ones): the gradient is the same sum in another order.
   * @throws ERR_MEMORY when one sequence alone is too much
   */
  async launch(step: Step, index: number, lr: number): Promise<{ numbers: Promise<StepNumbers> }> {
    for (;;) {
      try {
        return await this.#attempt(step, index, lr)
      } catch (error) {
        if (!(error instanceof LowrankError) || error.code !== 'ERR_MEMORY') throw error
        const sequences = Math.max(...step.microBatches.map(batch => batch.rows.length))
        if (this.divisor >= sequences) tooLarge(step, error)
        this.divisor *= 2
      }
    }
  }

  async #attempt({ microBatches, total }: Step, index: number, lr: number): Promise<{ numbers: Promise<StepNumbers> }> {
    const { seed, training, totalSteps = 0 } = this.#options
    const losses: Promise<number>[] = []
    let random = firstRandom(seed, index)
    this.#optimizer.arena.zeroGrads()
    for (const batch of microBatches.flatMap(batch => splitMicroBatch(batch, this.divisor))) {
      while (this.#inFlight.length >= this.#ahead) await this.#inFlight.shift()
      const started = performance.now()
      // A read is in the queue before the scope frees what it reads.
      const { loss } = scope(() => {
        return { loss: read(backwardMicroBatch(this.#model, batch, total, random, this.#options)) }
      })
      // Steps of that many ops take long enough for the device not to miss the one that waits.
      if (performance.now() - started > BLOCKED) this.#ahead = 1
      losses.push(loss)
      this.#inFlight.push(loss)
      random = nextRandom(random, this.#model, batch)
    }
    const { penalty, squared } = scope(() => {
      const { penalty, squaredGradNorm } = finishStep(this.#optimizer, { lr, training })
      return { penalty: penalty && read(penalty), squared: read(squaredGradNorm) }
    })
    await training?.afterUpdate?.(index + 1, totalSteps)
    const numbers = Promise.all([Promise.all(losses), penalty, squared]).then(([parts, penalty, squared]) => {
      return { loss: parts.reduce((a, b) => a + b, 0), penalty, gradNorm: Math.sqrt(squared) }
    })
    numbers.catch(() => undefined)
    return { numbers }
  }
}

/** Reads a number; one that nobody waits for may fail unheard, since the fault stays on the device. */
function read(tensor: Tensor): Promise<number> {
  if (tensor.device.name === 'meta') return Promise.resolve(Number.NaN)
  const number = tensor.item()
  number.catch(() => undefined)
  return number
}

function tooLarge(step: Step, cause: LowrankError): never {
  const longest = Math.max(...step.microBatches.map(batch => batch.maxLength))
  fail(
    'ERR_MEMORY',
    `train: one sequence of ${longest} tokens at a time is too much for the memory (${cause.message}); lower maxLength`,
    cause,
  )
}

/** A micro-batch cut into at most `parts` of like many sequences, in order. */
export function splitMicroBatch(batch: MicroBatch, parts: number): MicroBatch[] {
  if (parts === 1) return [batch]
  const sequences = batch.rows.length
  const size = Math.ceil(sequences / parts)
  const split: MicroBatch[] = []
  for (let start = 0; start < sequences; start += size)
    split.push(sliceMicroBatch(batch, start, Math.min(sequences, start + size)))
  return split
}

function sliceMicroBatch(batch: MicroBatch, start: number, end: number): MicroBatch {
  const { ids, positions, typeIds, targets, rows, rowOffset } = batch
  const [from, to] = [batch.cuSeqlens[start]!, batch.cuSeqlens[end]!]
  const cuSeqlens = batch.cuSeqlens.slice(start, end + 1).map(at => at - from)
  const lengths = Array.from(cuSeqlens.subarray(1), (at, i) => at - cuSeqlens[i]!)
  return {
    ids: ids.slice(from, to),
    positions: positions.slice(from, to),
    typeIds: typeIds.slice(from, to),
    cuSeqlens,
    maxLength: Math.max(...lengths),
    targets: targets?.slice(start, end, batch),
    rows: rows.slice(start, end),
    rowOffset: rowOffset + from,
  }
}
