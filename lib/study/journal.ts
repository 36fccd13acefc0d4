// The journal file of Optuna (JournalFileBackend, as optuna 5.0 reads and writes it): an append-only log of operations,
// one JSON object a line, that any number of processes share. Whoever reads it from the start knows the study.

import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fail } from '../errors.ts'
import { isRecord } from '../options.ts'
import { isCount, nth, under } from '../tuple.ts'
import { withLock } from './journalLock.ts'

/** Operations by their numbers in the file. */
const OP = {
  createStudy: 0,
  deleteStudy: 1,
  studyUserAttr: 2,
  studySystemAttr: 3,
  createTrial: 4,
  param: 5,
  state: 6,
  intermediate: 7,
  userAttr: 8,
  systemAttr: 9,
} as const

/** States of a trial by their numbers in the file. */
export const TRIAL_STATES = ['running', 'complete', 'pruned', 'fail', 'waiting'] as const

/** Where a trial stands. */
export type TrialState = (typeof TRIAL_STATES)[number]
const DIRECTIONS = [undefined, 'minimize', 'maximize'] as const

/** What the values of a parameter are, as the file says it. */
export type Distribution =
  | { readonly name: 'FloatDistribution'; readonly attributes: Range }
  | { readonly name: 'IntDistribution'; readonly attributes: Range }
  | { readonly name: 'CategoricalDistribution'; readonly attributes: { readonly choices: readonly Choice[] } }

/** A value of a parameter. */
export type Choice = string | number | boolean | null

/** Whether a value can be one of a parameter. */
export function isChoice(value: unknown): value is Choice {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value)
}

/** Numbers from low to high; `step`: only those so far apart, null: any. */
export interface Range {
  readonly low: number
  readonly high: number
  readonly log: boolean
  readonly step: number | null
}

/** One trial as the journal has it. */
export interface Trial {
  readonly id: number
  /** Within its study, from 0. */
  readonly number: number
  readonly state: TrialState
  readonly values: readonly number[] | undefined
  readonly params: Readonly<Record<string, Choice>>
  readonly distributions: Readonly<Record<string, Distribution>>
  readonly userAttrs: Readonly<Record<string, unknown>>
  readonly systemAttrs: Readonly<Record<string, unknown>>
  /** By step. */
  readonly intermediate: ReadonlyMap<number, number>
  /** Worker that runs it, or ran it last. */
  readonly owner: string | undefined
}

/** One study as the journal has it. */
export interface Study {
  readonly id: number
  readonly name: string
  readonly direction: 'minimize' | 'maximize'
  readonly userAttrs: Readonly<Record<string, unknown>>
  readonly trials: readonly Trial[]
}

type Open<T> = { -readonly [K in keyof T]: T[K] }
interface Log {
  readonly op_code: number
  readonly worker_id: string
  /** What only entries of some kinds have; an entry is as Optuna wrote it. */
  readonly study_id: number
  readonly trial_id: number
  readonly study_name: string
  readonly directions: readonly number[]
  readonly user_attr: Readonly<Record<string, unknown>>
  readonly system_attr: Readonly<Record<string, unknown>>
  readonly user_attrs?: Readonly<Record<string, unknown>>
  readonly system_attrs?: Readonly<Record<string, unknown>>
  readonly distributions?: Readonly<Record<string, string>>
  readonly params?: Readonly<Record<string, number>>
  readonly state?: number
  readonly value?: number | null
  readonly values?: readonly number[] | null
  readonly intermediate_values?: Readonly<Record<string, number>>
  readonly param_name: string
  readonly param_value_internal: number
  readonly distribution: string
  readonly step: number
  readonly intermediate_value: number
}
type OpenTrial = Open<Trial> & { intermediate: Map<number, number> }

const isFinished = (state: TrialState) => state === 'complete' || state === 'pruned' || state === 'fail'

/** A journal file that is read along and appended to. */
export class Journal {
  readonly path: string
  /** Of this process, in every line it writes. */
  readonly worker = `${randomUUID()}-${process.pid}`
  readonly #studies = new Map<number, Open<Study> & { trials: OpenTrial[] }>()
  readonly #trials: OpenTrial[] = []
  #nextStudy = 0
  /** The append before. */
  #last: Promise<void> = Promise.resolve()
  /** Bytes that are read. */
  #offset = 0

  constructor(path: string) {
    this.path = resolve(path)
  }

  /** Reads what was written since. @throws ERR_CONFIG for a file that is no journal */
  sync(): void {
    if (!existsSync(this.path)) return
    const bytes = readFileSync(this.path).subarray(this.#offset)
    // A line without its end is being written, or was left by a process that died: the next writer takes it away.
    const end = bytes.lastIndexOf(10) + 1
    for (const line of bytes.subarray(0, end).toString('utf8').split('\n').slice(0, -1)) this.#take(line)
    this.#offset += end
  }

  /** A study by name; undefined where there is none. */
  study(name: string): Study | undefined {
    return [...this.#studies.values()].find(study => study.name === name)
  }

  /** The studies in it. */
  get studies(): readonly Study[] {
    return [...this.#studies.values()]
  }

  /**
   * Appends what `make` returns for the state at that moment, in one turn no other process has a part in, and reads it
   * back; calls of one journal in their order. Without operations nothing is written.
   */
  append(make: () => readonly Operation[]): Promise<void> {
    const turn = this.#last.then(() => this.#append(make))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #append(make: () => readonly Operation[]): Promise<void> {
    await withLock(this.path, async () => {
      this.sync()
      const operations = make()
      if (operations.length === 0) return
      const lines = operations.map(each => `${JSON.stringify({ ...each, worker_id: this.worker })}\n`).join('')
      const file = await open(this.path, 'a+')
      try {
        const { size } = await file.stat()
        if (size > this.#offset) await file.truncate(this.#offset)
        await file.write(lines)
        await file.sync()
      } finally {
        await file.close()
      }
      this.sync()
    })
  }

  /** @throws ERR_CONFIG for a line whose parts are not as Optuna writes them */
  #take(line: string): void {
    const log = parse(line, this.path)
    try {
      this.#apply(log)
    } catch (error) {
      notJournal(this.path, line, error)
    }
  }

  #apply(log: Log): void {
    const id = log.study_id
    const study = this.#studies.get(id)
    switch (log.op_code) {
      case OP.createStudy:
        this.#createStudy(log)
        return
      case OP.deleteStudy:
        this.#studies.delete(id)
        return
      case OP.studyUserAttr:
        if (study) study.userAttrs = { ...study.userAttrs, ...log.user_attr }
        return
      case OP.createTrial:
        if (study) this.#createTrial(log, study)
        return
      default: {
        const trial = this.#trials[log.trial_id]
        if (trial && !isFinished(trial.state)) applyToTrial(trial, log)
      }
    }
  }

  #createStudy(log: Log): void {
    const name = log.study_name
    if (this.study(name)) return
    const id = this.#nextStudy++
    const direction = DIRECTIONS[nth(log.directions, 0)] ?? 'minimize'
    this.#studies.set(id, { id, name, direction, userAttrs: {}, trials: [] })
  }

  #createTrial(log: Log, study: Open<Study> & { trials: OpenTrial[] }): void {
    const distributions = mapped(log.distributions ?? {}, decode)
    const params = log.params ?? {}
    const state = stateOf(log.state ?? 0)
    const values = log.values ?? (typeof log.value === 'number' ? [log.value] : undefined)
    const trial: OpenTrial = {
      id: this.#trials.length,
      number: study.trials.length,
      state,
      values: values ?? undefined,
      distributions,
      params: mapped(params, (value, name) => external(under(distributions, name), value)),
      userAttrs: log.user_attrs ?? {},
      systemAttrs: log.system_attrs ?? {},
      intermediate: steps(log.intermediate_values),
      owner: state === 'running' ? log.worker_id : undefined,
    }
    this.#trials.push(trial)
    study.trials.push(trial)
  }
}

/** One line of a journal, but for who writes it. */
export type Operation = Readonly<Record<string, unknown>> & { readonly op_code: number }

const now = () => new Date().toISOString().replace('Z', '000+00:00')

/** What a worker writes. */
export const operations = {
  createStudy: (name: string, direction: 'minimize' | 'maximize'): Operation => ({
    op_code: OP.createStudy,
    study_name: name,
    directions: [DIRECTIONS.indexOf(direction)],
  }),
  studyAttr: (study: Study, key: string, value: unknown): Operation => ({
    op_code: OP.studyUserAttr,
    study_id: study.id,
    user_attr: { [key]: value },
  }),
  /** A trial that runs at once, or one that waits for a worker. */
  createTrial: (
    study: Study,
    state: 'running' | 'waiting',
    params: Readonly<Record<string, Choice>>,
    distributions: Readonly<Record<string, Distribution>>,
    attrs: { readonly user: object; readonly system?: object },
  ): Operation => ({
    op_code: OP.createTrial,
    study_id: study.id,
    datetime_start: state === 'running' ? now() : null,
    state: TRIAL_STATES.indexOf(state),
    value: null,
    values: null,
    distributions: mapped(distributions, each => JSON.stringify(each)),
    params: mapped(params, (value, name) => internal(under(distributions, name), value)),
    user_attrs: attrs.user,
    system_attrs: attrs.system ?? {},
    intermediate_values: {},
  }),
  param: ({ id }: Trial, name: string, value: Choice, distribution: Distribution): Operation => ({
    op_code: OP.param,
    trial_id: id,
    param_name: name,
    param_value_internal: internal(distribution, value),
    distribution: JSON.stringify(distribution),
  }),
  state: ({ id }: Trial, state: TrialState, value?: number): Operation => ({
    op_code: OP.state,
    trial_id: id,
    state: TRIAL_STATES.indexOf(state),
    values: value === undefined ? null : [value],
    ...(state === 'running' ? { datetime_start: now() } : { datetime_complete: now() }),
  }),
  report: ({ id }: Trial, step: number, value: number): Operation => ({
    op_code: OP.intermediate,
    trial_id: id,
    step,
    intermediate_value: value,
  }),
  userAttr: ({ id }: Trial, key: string, value: unknown): Operation => ({
    op_code: OP.userAttr,
    trial_id: id,
    user_attr: { [key]: value },
  }),
  systemAttr: ({ id }: Trial, key: string, value: unknown): Operation => ({
    op_code: OP.systemAttr,
    trial_id: id,
    system_attr: { [key]: value },
  }),
}

function applyToTrial(trial: OpenTrial, log: Log): void {
  switch (log.op_code) {
    case OP.param: {
      const name = log.param_name
      const distribution = decode(log.distribution)
      trial.distributions = { ...trial.distributions, [name]: distribution }
      trial.params = { ...trial.params, [name]: external(distribution, log.param_value_internal) }
      return
    }
    case OP.state: {
      const state = stateOf(log.state)
      // Of two workers that take a waiting trial the first has it.
      if (state === 'running' && trial.state === 'running') return
      if (state === 'running') trial.owner = log.worker_id
      trial.state = state
      trial.values = log.values ?? trial.values
      return
    }
    case OP.intermediate:
      trial.intermediate.set(log.step, log.intermediate_value)
      return
    case OP.userAttr:
      trial.userAttrs = { ...trial.userAttrs, ...log.user_attr }
      return
    case OP.systemAttr:
      trial.systemAttrs = { ...trial.systemAttrs, ...log.system_attr }
  }
}

/** Python's json also writes NaN and infinities, which JSON has not. */
function parse(line: string, path: string): Log {
  const plain = (text: string) => text.replace(/([[:,]\s*)(-?Infinity|NaN)(?=\s*[,\]}])/g, '$1null')
  for (const text of [line, plain(line)])
    try {
      const log: unknown = JSON.parse(text)
      if (isLog(log)) return log
    } catch {}
  notJournal(path, line)
}

/** Its other parts are as Optuna wrote them; where they are not, applying it throws. */
function isLog(value: unknown): value is Log {
  return isRecord(value) && typeof value.op_code === 'number'
}

function notJournal(path: string, line: string, cause?: unknown): never {
  fail('ERR_CONFIG', `study: ${path} is no journal of Optuna's; a line of it is ${line.slice(0, 60)}`, cause)
}

function stateOf(number: unknown): TrialState {
  return (isCount(number) ? TRIAL_STATES[number] : undefined) ?? wrong(`state ${number}`)
}

const wrong = (what: string): never => {
  throw new RangeError(what)
}

function decode(text: string): Distribution {
  const found: unknown = JSON.parse(text)
  return isDistribution(found) ? found : wrong(`distribution ${text}`)
}

function isDistribution(value: unknown): value is Distribution {
  if (!isRecord(value) || !isRecord(value.attributes)) return false
  const { name, attributes } = value
  if (name === 'CategoricalDistribution') return Array.isArray(attributes.choices)
  const isRange = name === 'FloatDistribution' || name === 'IntDistribution'
  return isRange && typeof attributes.low === 'number' && typeof attributes.high === 'number'
}

/** A value as the file has it: of choices their place. */
function internal(distribution: Distribution, value: Choice): number {
  if (distribution.name !== 'CategoricalDistribution') return Number(value)
  return distribution.attributes.choices.indexOf(value)
}

function external(distribution: Distribution, value: number): Choice {
  if (distribution.name !== 'CategoricalDistribution') return value
  const { choices } = distribution.attributes
  return Number.isInteger(value) && value >= 0 && value < choices.length
    ? nth(choices, value)
    : wrong(`choice ${value} of ${choices.length}`)
}

function steps(values: Readonly<Record<string, number>> = {}): Map<number, number> {
  return new Map(Object.entries(values).map(([step, value]) => [Number(step), value]))
}

function mapped<A, B>(record: Readonly<Record<string, A>>, change: (value: A, name: string) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]))
}
