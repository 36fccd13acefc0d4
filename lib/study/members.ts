// Runs of a study at once: one pass over the base serves all of them. Each comes to what it comes to alone.

import { LowrankError } from '../errors.ts'
import type { Adapter } from '../peft/index.ts'
import type { EndEvent, EvaluationEvent, StartEvent, StepEvent, TrainEvent } from '../train/events.ts'
import { trainMany, whyAlone } from '../train/many.ts'
import { resolveTrainSettings } from '../train/settings.ts'
import { must, nth } from '../tuple.ts'
import {
  attachSpec,
  type Bench,
  type Failed,
  isWhole,
  memberOptions,
  type Outcome,
  outcomeOf,
  type Pruned,
  runMember,
  type Spec,
} from './member.ts'

/** What any run comes to. */
export type Ended = Outcome | Failed | Pruned

/** A validation on the way of a run. */
export interface Validated {
  /** Which of the specs it is of. */
  readonly index: number
  /** Which of its validations it is, from 1. */
  readonly count: number
  readonly event: EvaluationEvent
  /** Whether steps follow. */
  readonly isOnTheWay: boolean
}

/** What is to happen with runs on the way. */
export interface Together {
  readonly signal?: AbortSignal | undefined
  readonly step?: ((event: StepEvent) => void) | undefined
  /** Told which runs begin now, at once. */
  started?(indices: readonly number[]): void
  /** Told the validations of all that run at once, when all have come to one; says which runs end there. */
  validated(seen: readonly Validated[]): Promise<ReadonlySet<number>>
  /** While a trained adapter is on the model, and nothing runs; what it returns is the run's too. */
  trained?(index: number, adapter: Adapter, outcome: Outcome): Promise<object>
  /** Told of each run when it has ended; with `trained`, of those at once when all have. */
  ended(index: number, outcome: Ended): Promise<void>
  /** Told why the settings of a spec are refused; where it throws, so do all. Default: that run has failed. */
  refused?(error: LowrankError): void
}

/**
 * Trains what several specs say at once, those that can't share a pass one after another. A spec whose settings are
 * refused has failed. The model is as before when it returns. Runs at once tell no peak of memory.
 */
export async function runMembers(bench: Bench, specs: readonly Spec[], together: Together): Promise<void> {
  const group = new Group(bench, specs, together)
  const alone: number[] = []
  for (const index of specs.keys()) {
    const why = specs.length === 1 ? 'alone' : await group.add(index)
    if (why === 'alone') alone.push(index)
  }
  await group.run()
  for (const index of alone) {
    together.signal?.throwIfAborted()
    together.started?.([index])
    await together.ended(index, await runAlone(bench, nth(specs, index), index, together))
  }
}

async function runAlone(bench: Bench, spec: Spec, index: number, together: Together): Promise<Ended> {
  let [count, totalSteps] = [0, 0]
  try {
    return await runMember(bench, spec, {
      signal: together.signal,
      watch: async event => {
        if (event.type === 'start') totalSteps = event.totalSteps
        if (event.type === 'step') together.step?.(event)
        if (event.type !== 'evaluation' || event.when !== 'epoch') return false
        const isOnTheWay = event.step < totalSteps
        const ends = await together.validated([{ index, count: ++count, event, isOnTheWay }])
        return isOnTheWay && ends.has(index)
      },
      ...(together.trained && {
        trained: async (adapter, outcome) => (await together.trained?.(index, adapter, outcome)) ?? {},
      }),
    })
  } catch (error) {
    return refused(error, together)
  }
}

/** A run whose parameters are refused has failed; what else is thrown is thrown. */
function refused(error: unknown, together: Together): Failed {
  if (!(error instanceof LowrankError) || error.code !== 'ERR_OPTION') throw error
  together.refused?.(error)
  return { failed: error.message, lr: undefined, seconds: 0, cpuSeconds: 0 }
}

/** A run among others, so far. */
interface Running {
  readonly index: number
  readonly adapter: Adapter
  start?: StartEvent
  end?: EndEvent
  readonly after: EvaluationEvent[]
  validations: number
  /** Its part of what all have taken. */
  seconds: number
  cpuSeconds: number
}

class Group {
  readonly #bench: Bench
  readonly #specs: readonly Spec[]
  readonly #together: Together
  /** By the name of the adapter. */
  readonly #running = new Map<string, Running>()
  readonly #members: Parameters<typeof trainMany>[0][number][] = []
  readonly #waiting = new Map<number, { seen: Validated; decide: (ends: boolean) => void }>()
  #clock = { wall: performance.now(), cpu: process.cpuUsage() }

  constructor(bench: Bench, specs: readonly Spec[], together: Together) {
    this.#bench = bench
    this.#specs = specs
    this.#together = together
  }

  /** Puts a spec on the model; says where it has to run alone, or can't run. */
  async add(index: number): Promise<'alone' | 'failed' | undefined> {
    const { model, examples } = this.#bench
    const spec = nth(this.#specs, index)
    const name = `run-${index}`
    if (isWhole(spec.method)) return 'alone'
    try {
      const adapter = attachSpec(model, spec, name)
      const { signal } = this.#together
      const options = { ...memberOptions(this.#bench, spec), ...(signal && { signal }) }
      if (whyAlone(adapter, options) !== undefined) {
        adapter.detach()
        return 'alone'
      }
      resolveTrainSettings(adapter, options, examples)
      this.#members.push({ adapter, options })
      this.#running.set(name, { index, adapter, after: [], validations: 0, seconds: 0, cpuSeconds: 0 })
      return undefined
    } catch (error) {
      model.adapters.get(name)?.dispose()
      await this.#together.ended(index, refused(error, this.#together))
      return 'failed'
    }
  }

  async run(): Promise<void> {
    if (this.#members.length === 0) return
    this.#together.started?.(Array.from(this.#running.values(), ({ index }) => index))
    const ends = (name: string, event: TrainEvent) => this.#ends(must(this.#running.get(name), name), event)
    this.#clock = { wall: performance.now(), cpu: process.cpuUsage() }
    try {
      for await (const told of trainMany(this.#members, this.#bench.examples, { ends })) {
        this.#share()
        const run = this.#running.get(told.adapter)
        if (!run) continue
        if ('failed' in told) await this.#finish(run, { failed: told.failed.message, lr: run.start?.lr })
        else if (run.end)
          await this.#finish(run, outcomeOf({ start: must(run.start, 'start'), after: run.after }, run.end))
        else if (this.#pruned.has(run.index)) await this.#finish(run, { pruned: true, lr: must(run.start, 'start').lr })
      }
      await this.#tellTrained()
    } finally {
      for (const { adapter } of [...this.#running.values(), ...this.#trained]) adapter.detach()
    }
  }

  /** Those that have ended and are to be looked at, in the order of the specs. */
  #trained: (Pick<Running, 'index' | 'adapter'> & { readonly outcome: Outcome })[] = []

  async #tellTrained(): Promise<void> {
    for (const { index, adapter, outcome } of this.#trained.toSorted((a, b) => a.index - b.index)) {
      adapter.setActive(true)
      const more = await this.#together.trained?.(index, adapter, outcome)
      adapter.detach()
      await this.#together.ended(index, { ...outcome, ...more })
    }
  }

  readonly #pruned = new Set<number>()

  #ends(run: Running, event: TrainEvent): boolean | Promise<boolean> {
    const isFirst = this.#running.values().next().value === run
    if (event.type === 'start') run.start = event
    if (event.type === 'end') run.end = event
    if (event.type === 'step' && isFirst) this.#together.step?.(event)
    if (event.type !== 'evaluation') return false
    if (event.when === 'after') run.after.push(event)
    return event.when === 'epoch' && this.#arrive(run, event)
  }

  /** Waits until all have come to a validation, or to their end; whether the run ends here. */
  #arrive(run: Running, event: EvaluationEvent): Promise<boolean> {
    const isOnTheWay = event.step < must(run.start, 'start').totalSteps
    const seen = { index: run.index, count: ++run.validations, event, isOnTheWay }
    return new Promise((decide, reject) => {
      this.#waiting.set(run.index, { seen, decide })
      this.#judge().catch(reject)
    })
  }

  async #judge(): Promise<void> {
    if (this.#waiting.size === 0 || this.#waiting.size < this.#running.size) return
    const all = [...this.#waiting.values()].toSorted((a, b) => a.seen.index - b.seen.index)
    this.#waiting.clear()
    const ends = await this.#together.validated(all.map(({ seen }) => seen))
    for (const { seen, decide } of all) {
      // At its last step a run has nothing left to save.
      const isPruned = seen.isOnTheWay && ends.has(seen.index)
      if (isPruned) this.#pruned.add(seen.index)
      decide(isPruned)
    }
  }

  /** Takes a run off the model and tells of it. */
  async #finish(run: Running, found: WithoutCosts): Promise<void> {
    const { adapter, index, seconds, cpuSeconds } = run
    this.#running.delete(adapter.name)
    const outcome = { ...found, seconds, cpuSeconds }
    if (this.#together.trained && 'reason' in outcome && outcome.reason !== 'aborted') {
      adapter.setActive(false)
      this.#trained.push({ index, adapter, outcome })
    } else {
      adapter.detach()
      await this.#together.ended(index, outcome)
    }
    await this.#judge()
  }

  /** Shares what was taken since the last time out to those that run. */
  #share(): void {
    const { wall, cpu } = this.#clock
    const { user, system } = process.cpuUsage(cpu)
    const now = performance.now()
    for (const run of this.#running.values()) {
      run.seconds += (now - wall) / 1000 / this.#running.size
      run.cpuSeconds += (user + system) / 1e6 / this.#running.size
    }
    this.#clock = { wall: now, cpu: process.cpuUsage() }
  }
}

type Costs = 'seconds' | 'cpuSeconds'
type WithoutCosts = Omit<Outcome, Costs> | Omit<Failed, Costs> | Omit<Pruned, Costs>
