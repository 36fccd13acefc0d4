// Many adapters trained at once on one frozen base: each as if it were alone, with forward and backward of the base
// in common.

import { join } from 'node:path'
import { check, LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import { Adapter } from '../peft/adapter.ts'
import type { TrainData, TrainEvent, TrainOptions } from './events.ts'
import { Meeting, type Seat } from './meeting.ts'
import { checkTrainOptions } from './settings.ts'
import { Diverged, trainAt } from './train.ts'

/** An adapter to train among others of its model. */
export interface TrainMember {
  readonly adapter: Adapter<Model>
  /** Its own, over those of all: rate, schedule, seed, clip norm, class weights … Default: none. */
  readonly options?: TrainOptions
}

/** What happens with one of many adapters: what `train` would tell of it, or that it has no numbers any more. */
export type ManyEvent = { readonly adapter: string } & (
  | { readonly event: TrainEvent }
  | { readonly failed: LowrankError }
)

/** Options of all members, and of them together. */
export interface ManyOptions extends TrainOptions {
  /**
   * Asked about every event before it is told: true ends that member as it is, and frees its optimizer. The others go
   * on meanwhile, also where the answer takes its time. Default: nobody ends early.
   */
  readonly ends?: (adapter: string, event: TrainEvent) => boolean | Promise<boolean>
}

/**
 * Trains several adapters of one model at once: rows of a packed batch are grouped by adapter, and the frozen base
 * runs forward and backward once for all. Each has its own rank, targets, dropout, rate, schedule, seed, clip norm,
 * weight decay, loss, validations and end, and becomes what it is where `train` has it alone: to the bit on the CPU
 * where its layers are its own products, else to rounding. Layers below the first adapter run once for members that
 * read the same rows under the same masks.
 *
 * The adapters are attached under names of their own and switched on; no other is. With an `outputDir` each writes into
 * a folder of its name there. A member whose loss is no number any more is told as failed, and the others go on.
 * Everything waits for the consumer; leaving the loop early stops all members as they are.
 * @throws ERR_UNSUPPORTED for a method, model or option that cannot share a pass, see {@link whyAlone}; else what
 * `train` throws
 */
export async function* trainMany(
  members: readonly TrainMember[],
  data: TrainData,
  given: ManyOptions = {},
): AsyncGenerator<ManyEvent, void> {
  const { ends, ...options } = given
  checkTrainOptions('trainMany', options)
  const model = modelOf(members)
  const all = members.map(({ adapter, options: own }) => ({ adapter, options: optionsOf(adapter, options, own) }))
  for (const { adapter, options } of all) {
    const why = whyAlone(adapter, options)
    check(why === undefined, 'ERR_UNSUPPORTED', () => `trainMany: adapter "${adapter.name}": ${why}; train it alone`)
  }
  const meeting = new Meeting(
    model,
    all.map(({ adapter }) => adapter),
  )
  const runs = all.map(({ adapter, options }) => {
    const seat = meeting.seat(adapter)
    return new MemberRun(adapter.name, seat, trainAt(seat, adapter, data, options))
  })
  try {
    yield* eventsOf(runs, ends)
  } finally {
    meeting.close(new LowrankError('ERR_OPTION', 'trainMany: the other members have ended'))
    for (const run of runs) await run.end()
  }
}

/** Why an adapter cannot share passes with others, in a few words; undefined where it can. */
export function whyAlone(adapter: Adapter<Model>, options: TrainOptions = {}): string | undefined {
  checkTrainOptions('whyAlone', options)
  const { host, virtual, method } = adapter
  const { title } = method.kind
  if (adapter.isInPlace) return `${title} changes the weights of the base themselves, which all share`
  if (virtual) return `${title} makes sequences longer, for its own rows alone`
  if (host.backbone.encode) return 'rows of an encoder-decoder do not go by adapter yet'
  if (host.head.judge) return 'preferences are compared with the model without any adapter'
  const given = (['communicator', 'objective', 'say', 'teacher', 'time'] as const).find(
    name => options[name] !== undefined,
  )
  if (given) return `${given} is of one run`
  if (options.neftune) return 'neftune is of one run'
  return undefined
}

function modelOf(members: readonly TrainMember[]): Model {
  const [first] = members
  check(first?.adapter instanceof Adapter, 'ERR_OPTION', () => {
    return 'trainMany: there is no member; give [{ adapter: attach(model, lora(), { name }) }, …]'
  })
  const model = first.adapter.host
  for (const { adapter } of members)
    check(adapter.host === model, 'ERR_OPTION', () => `trainMany: "${adapter.name}" is on another model than the rest`)
  const own = new Set(members.map(({ adapter }) => adapter.name))
  check(own.size === members.length, 'ERR_OPTION', () => 'trainMany: an adapter is named twice')
  const other = [...model.adapters.values()].find(({ name, isActive }) => isActive && !own.has(name))
  check(!other, 'ERR_OPTION', () => `trainMany: "${other?.name}" is switched on and no member; switch it off`)
  return model
}

function optionsOf({ name }: Adapter, common: TrainOptions, own: TrainOptions = {}): TrainOptions {
  const { outputDir } = common
  return { ...common, ...(outputDir === undefined ? {} : { outputDir: join(outputDir, name) }), ...own }
}

/** A member's run, whose next event is being made. */
class MemberRun {
  readonly name: string
  readonly #seat: Seat
  readonly #events: AsyncGenerator<TrainEvent, void>
  #pending: Promise<Arrival> | undefined
  #stop = (_: true) => {}
  readonly #stopped = new Promise<true>(resolve => {
    this.#stop = resolve
  })

  constructor(name: string, seat: Seat, events: AsyncGenerator<TrainEvent, void>) {
    this.name = name
    this.#seat = seat
    this.#events = events
  }

  /** Its next event, or its end. */
  next(ends: ManyOptions['ends']): Promise<Arrival> {
    this.#pending = this.#next(ends)
    return this.#pending
  }

  async #next(ends: ManyOptions['ends']): Promise<Arrival> {
    try {
      const { done, value: event } = await this.#events.next()
      if (done) return { run: this, isOver: true }
      const answer = ends?.(this.name, event) ?? false
      return { run: this, event, isOver: (await this.#decided(answer)) || event.type === 'end' }
    } catch (error) {
      return { run: this, error, isOver: true }
    }
  }

  /** An answer; while it takes its time, the others need not wait. */
  async #decided(answer: boolean | Promise<boolean>): Promise<boolean> {
    if (typeof answer === 'boolean') return answer
    const back = this.#seat.pause()
    try {
      return await Promise.race([answer, this.#stopped])
    } finally {
      back()
    }
  }

  /** Ends it as it is. */
  async end(): Promise<void> {
    this.#stop(true)
    await this.#pending
    await this.#events.return()
    this.#seat.leave()
  }
}

interface Arrival {
  readonly run: MemberRun
  readonly event?: TrainEvent
  readonly error?: unknown
  /** Nothing more comes of it. */
  readonly isOver: boolean
}

/** The events of all runs, as they come. */
async function* eventsOf(runs: readonly MemberRun[], ends: ManyOptions['ends']): AsyncGenerator<ManyEvent, void> {
  const arrived: Arrival[] = []
  let wake = () => {}
  const ask = (run: MemberRun) => {
    void run.next(ends).then(arrival => {
      arrived.push(arrival)
      wake()
    })
  }
  for (const run of runs) ask(run)
  for (let left = runs.length; left > 0; ) {
    const next = arrived.shift()
    if (!next) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
      continue
    }
    const { run, event, error, isOver } = next
    if (error !== undefined && !(error instanceof Diverged)) throw error
    if (isOver) {
      left--
      await run.end()
    }
    if (event) yield { adapter: run.name, event }
    if (error instanceof Diverged) yield { adapter: run.name, failed: error }
    if (!isOver) ask(run)
  }
}
