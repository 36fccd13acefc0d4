// Where runs meet that share the passes over one frozen base. Each run goes its own way, and waits here with the
// micro-batch it needs next; when all that are left wait, one pass serves them all.

import { Tape } from '../autograd/tape.ts'
import { targetsIn } from '../data/batches.ts'
import { LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import type { Adapter } from '../peft/adapter.ts'
import { layerNumber } from '../peft/targets.ts'
import { scope, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { type Ask, type EvaluationPass, readAll } from './evaluate.ts'
import { type JointPart, jointAnswers, jointLosses, type LossPart } from './joint.ts'
import { type GradientWork, read, type SharedPasses, StepAgain, type SupervisedOptions } from './step.ts'

/** A run's place among others. */
export interface Seat {
  /** How it makes forward passes to evaluate. */
  readonly answers: Ask
  /** How it makes passes to train, for a loss that is weighed so. */
  passes(options: SupervisedOptions): SharedPasses
  /** The others need not wait for it until the function that this returns is called. */
  pause(): () => void
  /** It needs no more passes. */
  leave(): void
}

/** Tokens of one pass: more bring no speed, and take memory. At least one micro-batch goes in, however long. */
const MOST_TOKENS = 8192

interface Request<P extends JointPart, R> {
  readonly seat: object
  readonly part: P
  resolve(result: R): void
  reject(error: unknown): void
}

type Gradients = Request<LossPart, { loss: Promise<number> }>
type Answers = Request<JointPart, EvaluationPass>

/** Runs of adapters of one model, which all are attached and none of which is anyone else's meanwhile. */
export class Meeting {
  readonly #model: Model
  readonly #untouched: number
  /** With what says whether a run's numbers are still numbers. */
  readonly #seats = new Map<object, Promise<number>[]>()
  readonly #paused = new Set<object>()
  #gradients: Gradients[] = []
  #answers: Answers[] = []
  #isBusy = false
  /** Lowered where memory runs out. */
  #mostTokens = MOST_TOKENS
  #closed: unknown

  constructor(model: Model, adapters: readonly Adapter<Model>[]) {
    this.#model = model
    this.#untouched = Math.min(...adapters.map(each => untouchedLayers(model, each)))
  }

  /** A place for the run of an adapter. All are to be taken before the first run begins. */
  seat({ name: adapter }: Adapter<Model>): Seat {
    const key = {}
    this.#seats.set(key, [])
    return {
      answers: (batch, targets) => this.#ask(key, { adapter, batch, targets, random: undefined }),
      passes: options => ({
        gradients: work => this.#give(key, adapter, work, options),
        updated: norm => void this.#seats.get(key)?.push(norm),
      }),
      pause: () => {
        this.#paused.add(key)
        this.#meet()
        return () => void this.#paused.delete(key)
      },
      leave: () => {
        this.#seats.delete(key)
        this.#paused.delete(key)
        this.#meet()
      },
    }
  }

  /** Ends all that waits with an error: nobody is left to run. */
  close(reason: unknown): void {
    this.#closed = reason
    for (const { reject } of [...this.#gradients.splice(0), ...this.#answers.splice(0)]) reject(reason)
  }

  #ask(seat: object, part: JointPart): Promise<EvaluationPass> {
    return new Promise((resolve, reject) => {
      this.#answers.push({ seat, part, resolve, reject })
      this.#meet()
    })
  }

  #give(seat: object, adapter: string, work: GradientWork, options: SupervisedOptions) {
    const { batch, total, random } = work
    const targets = targetsIn(batch)
    return new Promise<{ loss: Promise<number> }>((resolve, reject) => {
      const part = { adapter, batch, targets, total, random, options }
      this.#gradients.push({ seat, part, resolve, reject })
      this.#meet()
    })
  }

  /** Runs what waits, if all do. */
  #meet(): void {
    const waiting = new Set([...this.#gradients, ...this.#answers].map(({ seat }) => seat))
    if (this.#closed !== undefined) {
      this.close(this.#closed)
      return
    }
    if (this.#isBusy || waiting.size === 0 || waiting.size < this.#seats.size - this.#paused.size) return
    this.#isBusy = true
    const [gradients, answers] = [this.#gradients.splice(0), this.#answers.splice(0)]
    void this.#run(gradients, answers).finally(() => {
      this.#isBusy = false
      this.#meet()
    })
  }

  async #run(gradients: readonly Gradients[], answers: readonly Answers[]): Promise<void> {
    const sound = await this.#soundSeats()
    for (const group of groupsOf(answers, sound, this.#mostTokens)) this.#answerAll(group)
    for (const group of groupsOf(gradients, sound, this.#mostTokens)) this.#gradientsOfAll(group)
  }

  /** Runs whose numbers are finite: others are on their own, since 0 times what they hold is no 0 in a product. */
  async #soundSeats(): Promise<ReadonlySet<object>> {
    const sound = new Set<object>()
    for (const [seat, numbers] of this.#seats) {
      const found = await Promise.all(numbers.splice(0)).catch(() => [Number.NaN])
      if (found.every(Number.isFinite)) sound.add(seat)
      else numbers.push(Promise.resolve(Number.NaN))
    }
    return sound
  }

  #answerAll(group: readonly Answers[]): void {
    try {
      const parts = group.map(({ part }) => part)
      const { reads } = scope(() => ({ reads: jointAnswers(this.#model, parts, this.#untouched).map(readAll) }))
      for (const [i, { resolve, reject }] of group.entries()) nth(reads, i).then(resolve, reject)
    } catch (error) {
      if (group.length === 1 || !isMemory(error)) for (const { reject } of group) reject(error)
      else for (const half of halves(group)) this.#answerAll(half)
    }
  }

  #gradientsOfAll(group: readonly Gradients[]): void {
    try {
      const losses = this.#losses(group.map(({ part }) => part))
      for (const [i, { resolve, seat }] of group.entries()) {
        const loss = nth(losses, i)
        this.#seats.get(seat)?.push(loss)
        resolve({ loss })
      }
    } catch (error) {
      // Some gradients may have been added up already: each run has to begin its step anew.
      const isShared = group.length > 1 && isMemory(error)
      if (isShared) this.#mostTokens = Math.floor(tokensOf(group) / 2)
      for (const { reject } of group) reject(isShared ? new StepAgain(error.code, error.message) : error)
    }
  }

  /** Adds the gradients of all parts to those of their adapters. */
  #losses(parts: readonly LossPart[]): Promise<number>[] {
    return scope(() => {
      const tape = new Tape()
      try {
        const losses = tape.run(() => jointLosses(this.#model, parts, this.#untouched))
        tape.backwardFrom(
          losses,
          losses.map(loss => Tensor.ones(loss.shape, loss)),
        )
        // A read is in the queue before the scope frees what it reads.
        return { read: losses.map(read) }
      } catch (error) {
        tape.dispose()
        throw error
      }
    }).read
  }
}

/** Requests of one pass each: those of runs that are sound together, as many as fit. */
function groupsOf<T extends Request<JointPart, never>>(
  requests: readonly T[],
  sound: ReadonlySet<object>,
  mostTokens: number,
): T[][] {
  const groups: T[][] = []
  for (const request of requests) {
    const last = groups.at(-1)
    const fits = last?.every(({ seat }) => sound.has(seat)) && tokensOf([...last, request]) <= mostTokens
    if (last && fits && sound.has(request.seat)) last.push(request)
    else groups.push([request])
  }
  return groups
}

const tokensOf = (requests: readonly Request<JointPart, never>[]) =>
  requests.reduce((sum, { part }) => sum + part.batch.ids.length, 0)

function halves<T>(list: readonly T[]): readonly T[][] {
  const middle = Math.ceil(list.length / 2)
  return [list.slice(0, middle), list.slice(middle)]
}

const isMemory = (error: unknown): error is LowrankError => error instanceof LowrankError && error.code === 'ERR_MEMORY'

/** How many layers, from the first, an adapter leaves as they are; -1: not even the embeddings, which come before. */
function untouchedLayers({ parameters, linears, embeddings }: Model, adapter: Adapter<Model>): number {
  const names = [...parameters.keys()]
  const first = names.findIndex(name => layerNumber(name) !== undefined)
  const carried = [...linears, ...embeddings]
    .filter(([path]) => adapter.carries(path))
    .map(([, { weight }]) => weight.name)
  const whole = adapter.trainable.flatMap(({ base }) => (base ? [base.name] : []))
  const layers = [...carried, ...whole].map(name => {
    return layerNumber(name) ?? (names.indexOf(name) < first ? -1 : Number.POSITIVE_INFINITY)
  })
  return Math.min(...layers)
}
