// A search over options: any number of workers take trials from one journal, run them and write what came out.

import { check } from '../errors.ts'
import { isRunning, machine, startOf } from '../io/process.ts'
import { higherIsBetter } from '../metrics/table.ts'
import { isRecord } from '../options.ts'
import type { StepEvent } from '../train/events.ts'
import { isCount, must, nth, under } from '../tuple.ts'
import { halveAll } from './halving.ts'
import { type Choice, isChoice, type Journal, type Operation, operations, type Study, type Trial } from './journal.ts'
import type { Bench, Spec } from './member.ts'
import { type Ended, runMembers, type Validated } from './members.ts'
import { isFree, type Sampler, suggest, type Tried } from './samplers.ts'
import { gridOf, type Space } from './space.ts'

/** What is searched, and how; the same for every worker of a study. */
export interface Sweep {
  readonly space: Space
  readonly sampler: Sampler
  readonly pruner: 'asha' | 'none'
  /** Trials to make, those that are tried again counted once. */
  readonly trials: number
  readonly seed: number
  /** Of the validation split. */
  readonly metric: string
}

/** What happens while a search runs. */
export type SweepEvent =
  /** `trials` run at once. */
  | { readonly type: 'start'; readonly trials: readonly Trial[]; readonly done: number }
  | StepEvent
  | { readonly type: 'trial'; readonly trial: Trial }
  | { readonly type: 'retry'; readonly trial: Trial }
  | { readonly type: 'wait'; readonly running: number }

interface WorkOptions {
  readonly signal?: AbortSignal | undefined
  readonly tell?: ((event: SweepEvent) => void) | undefined
  /** The run of a trial's parameters. */
  readonly specOf: (params: Readonly<Record<string, Choice>>) => Spec
  /** Wait for trials of other workers, which may die, once there is nothing else to do. */
  readonly waits: boolean
  /** How many trials may run at once, on one pass over the base. Default 1. */
  readonly together?: number | undefined
}

export const STUDY_NAME = 'lowrank'

/** Milliseconds between signs of life in the journal, and for how long a worker elsewhere may give none. */
const BEAT = 20_000
const SILENCE = 120_000
const MOST_RETRIES = 2

/** The study of a journal, which is made where it is not there. */
export async function openStudy(
  journal: Journal,
  sweep: Sweep,
  attrs: Readonly<Record<string, unknown>>,
): Promise<Study> {
  await journal.append(() => {
    if (journal.study(STUDY_NAME)) return []
    return [operations.createStudy(STUDY_NAME, higherIsBetter(sweep.metric) ? 'maximize' : 'minimize')]
  })
  const study = studyOf(journal)
  const missing = Object.entries(attrs).filter(([key]) => !(key in study.userAttrs))
  await journal.append(() => missing.map(([key, value]) => operations.studyAttr(study, key, value)))
  return studyOf(journal)
}

/** Runs trials until there are enough. The model of the bench is as before when it returns. */
export async function work(bench: Bench, journal: Journal, sweep: Sweep, options: WorkOptions): Promise<void> {
  const { signal, tell, waits } = options
  for (;;) {
    signal?.throwIfAborted()
    const trials = await claim(journal, sweep, options)
    if (trials.length > 0) {
      await runTrials(bench, journal, sweep, trials, options)
      continue
    }
    const running = studyOf(journal).trials.filter(({ state }) => state === 'running' || state === 'waiting').length
    if (!waits || running === 0) return
    tell?.({ type: 'wait', running })
    await new Promise(resolve => setTimeout(resolve, 1000))
  }
}

const studyOf = (journal: Journal): Study => must(journal.study(STUDY_NAME), STUDY_NAME)

/**
 * Trials for this worker: those that wait, else new ones, and no more at once than would be drawn one after another
 * too. Those of dead workers fail, and wait to be run again.
 */
async function claim(journal: Journal, sweep: Sweep, options: WorkOptions): Promise<readonly Trial[]> {
  const { tell, together = 1 } = options
  const dead: Trial[] = []
  await journal.append(() => {
    const running = studyOf(journal).trials.filter(({ state }) => state === 'running')
    dead.push(...running.filter(trial => trial.owner !== journal.worker && isDead(trial)))
    return dead.flatMap(trial => failedAndRetried(studyOf(journal), trial))
  })
  for (const trial of dead) tell?.({ type: 'retry', trial })
  const done = ordinalsOf(studyOf(journal)).size
  const own = () =>
    studyOf(journal).trials.filter(({ owner, state }) => owner === journal.worker && state === 'running')
  for (let count = 0; count < together; count++) {
    const { size } = ordinalsOf(studyOf(journal))
    const isWaiting = studyOf(journal).trials.some(({ state }) => state === 'waiting')
    if (count > 0 && !isWaiting && !isFree(sweep.sampler, size)) break
    await journal.append(() => takeNext(studyOf(journal), sweep))
    if (own().length === count) break
  }
  const trials = own()
  if (trials.length > 0) tell?.({ type: 'start', trials, done: done + 1 })
  return trials
}

function takeNext(study: Study, sweep: Sweep): Operation[] {
  const waiting = study.trials.find(({ state }) => state === 'waiting')
  if (waiting) return [operations.state(waiting, 'running'), ...completed(study, sweep, waiting)]
  const ordinals = ordinalsOf(study)
  if (ordinals.size >= sweep.trials) return []
  const ordinal = must(
    [...Array(ordinals.size + 1).keys()].find(each => !ordinals.has(each)),
    'match',
  )
  const params = suggest(sweep.sampler, sweep.space, triedOf(study, sweep), sweep.seed, ordinal)
  if (!params) return []
  return [operations.createTrial(study, 'running', params, sweep.space, { user: { ordinal, ...signOfLife() } })]
}

/** Parameters that a waiting trial lacks: one that a person put in line may name some of them, or none. */
function completed(study: Study, sweep: Sweep, trial: Trial): Operation[] {
  const given = trial.systemAttrs.fixed_params
  const fixed = isRecord(given) ? given : {}
  const drawn = suggest(sweep.sampler, sweep.space, triedOf(study, sweep), sweep.seed, ordinalOf(trial)) ?? {}
  const missing = Object.entries(sweep.space).filter(([name]) => !(name in trial.params))
  const attrs = Object.entries(signOfLife()).map(([key, value]) => operations.userAttr(trial, key, value))
  const paramOf = (name: string): Choice => {
    const value = fixed[name] ?? drawn[name]
    check(isChoice(value), 'ERR_DATA', () => `sweep: trial ${trial.number} has no value for ${name}`)
    return value
  }
  return [...attrs, ...missing.map(([name, each]) => operations.param(trial, name, paramOf(name), each))]
}

/** How many trials a sweep makes: those of a grid may be fewer than asked for. */
export function trialsOf({ sampler, space, trials }: Pick<Sweep, 'sampler' | 'space' | 'trials'>): number {
  return sampler === 'grid' ? Math.min(trials, gridOf(space).length) : trials
}

/** Place in the order of drawing: a trial that is run again keeps its own. */
export function ordinalOf({ userAttrs, number }: Trial): number {
  return typeof userAttrs.ordinal === 'number' ? userAttrs.ordinal : number
}

const ordinalsOf = ({ trials }: Study) => new Set(trials.map(ordinalOf))

/** What a sampler sees: what is over, in the order of drawing. */
function triedOf(study: Study, sweep: Sweep): Tried[] {
  return trialsOver(study, sweep).map(trial => ({
    params: trial.params,
    worth: worthOf(study, trial),
    isPruned: trial.state === 'pruned',
  }))
}

/** Trials that are over, in the order of drawing; not those of another program that lack a parameter of the space. */
export function trialsOver({ trials }: Study, { space }: Sweep): Trial[] {
  const isWhole = ({ params }: Trial) => Object.keys(space).every(name => name in params)
  return trials
    .filter(trial => trial.state === 'complete' || trial.state === 'pruned' || isDiverged(trial))
    .filter(isWhole)
    .toSorted((a, b) => ordinalOf(a) - ordinalOf(b))
}

const isDiverged = ({ state, userAttrs }: Trial) => state === 'fail' && 'diverged' in userAttrs

/** The more the better: its value, or the last it was seen with; of a trial that diverged nothing is worse. */
function worthOf({ direction }: Study, { values, intermediate, state }: Trial): number {
  const value = values?.[0] ?? [...intermediate].toSorted(([a], [b]) => a - b).at(-1)?.[1]
  if (value === undefined || state === 'fail') return Number.NEGATIVE_INFINITY
  return direction === 'maximize' ? value : -value
}

/** The best trial that is complete; of equals the first. */
export function bestTrial(study: Study, sweep: Sweep): Trial | undefined {
  const complete = trialsOver(study, sweep).filter(({ state }) => state === 'complete')
  return complete.toSorted((a, b) => worthOf(study, b) - worthOf(study, a) || ordinalOf(a) - ordinalOf(b))[0]
}

/** Who runs a trial, and that it lives. */
function signOfLife(): Record<string, unknown> {
  return {
    worker: { pid: process.pid, started: startOf('self'), machine: machine() },
    heartbeat: new Date().toISOString(),
  }
}

/** Whether nobody runs it any more. Of workers that are not ours nothing is known. */
function isDead({ userAttrs }: Trial): boolean {
  const { worker, heartbeat } = userAttrs
  if (!isRecord(worker)) return false
  if (worker.machine !== machine()) return Date.now() - Date.parse(String(heartbeat)) > SILENCE
  if (!isCount(worker.pid) || !isRunning(worker.pid)) return true
  return worker.started !== undefined && startOf(worker.pid) !== worker.started
}

/** `isStopped`: a person stopped its worker, which says nothing about the trial. */
function failedAndRetried(study: Study, trial: Trial, isStopped = false): Operation[] {
  const before = trial.userAttrs.retries
  const retries = isCount(before) ? before : 0
  const why = isStopped ? 'its worker was stopped' : 'its worker is gone'
  const failed = [operations.userAttr(trial, 'failed', why), operations.state(trial, 'fail')]
  if (retries >= MOST_RETRIES) return failed
  const user = { ordinal: ordinalOf(trial), retries: retries + (isStopped ? 0 : 1) }
  const system = { fixed_params: trial.params, failed_trial: trial.number }
  return [...failed, operations.createTrial(study, 'waiting', trial.params, trial.distributions, { user, system })]
}

async function runTrials(
  bench: Bench,
  journal: Journal,
  sweep: Sweep,
  trials: readonly Trial[],
  { signal, tell, specOf }: WorkOptions,
): Promise<void> {
  const left = new Set(trials)
  const beat = setInterval(() => {
    const now = new Date().toISOString()
    journal.append(() => [...left].map(trial => operations.userAttr(trial, 'heartbeat', now))).catch(() => undefined)
  }, BEAT)
  const specs = trials.map(({ params }) => specOf(params))
  try {
    await runMembers(bench, specs, {
      signal,
      step: tell,
      validated: seen => reported(journal, sweep, trials, seen),
      ended: async (index, outcome) => {
        const trial = nth(trials, index)
        if (signal?.aborted) return
        left.delete(trial)
        await journal.append(() => ended(trial, sweep, outcome))
        tell?.({ type: 'trial', trial: nth(studyOf(journal).trials, trial.number) })
      },
    })
  } finally {
    clearInterval(beat)
    if (signal?.aborted)
      await journal.append(() => [...left].flatMap(trial => failedAndRetried(studyOf(journal), trial, true)))
  }
  signal?.throwIfAborted()
}

/** Writes validations, then what halving makes of them: says which runs it ends. */
async function reported(
  journal: Journal,
  sweep: Sweep,
  trials: readonly Trial[],
  seen: readonly Validated[],
): Promise<ReadonlySet<number>> {
  const told = seen.flatMap(({ index, count, event }) => {
    const value = under(event.metrics, sweep.metric)
    return Number.isFinite(value) ? [{ index, number: nth(trials, index).number, count, value }] : []
  })
  const pruned = new Set<number>()
  await journal.append(() =>
    told.map(({ number, count, value }) => operations.report(nth(studyOf(journal).trials, number), count, value)),
  )
  if (sweep.pruner === 'none') return pruned
  await journal.append(() => {
    const study = studyOf(journal)
    const judged = halveAll(
      study,
      told.map(each => ({ ...each, trial: nth(study.trials, each.number) })),
    )
    return judged.flatMap(({ attrs, prune }, i) => {
      const { index, number } = nth(told, i)
      if (prune) pruned.add(index)
      return attrs.map(([key, value]) => operations.systemAttr(nth(study.trials, number), key, value))
    })
  })
  return pruned
}

function ended(trial: Trial, { metric }: Sweep, outcome: Ended): Operation[] {
  const attrs = Object.entries(attrsOf(outcome)).map(([key, value]) => operations.userAttr(trial, key, value))
  if ('failed' in outcome) return [...attrs, operations.state(trial, 'fail')]
  if ('pruned' in outcome) return [...attrs, operations.state(trial, 'pruned')]
  return [...attrs, operations.state(trial, 'complete', under(must(outcome.validation, 'validation'), metric))]
}

function attrsOf(outcome: Ended): Record<string, unknown> {
  const { seconds, cpuSeconds } = outcome
  if ('failed' in outcome) return { seconds, cpuSeconds, diverged: outcome.failed }
  if ('pruned' in outcome) return { seconds, cpuSeconds }
  const { steps, bestStep, trainable, peakBytes } = outcome
  return { seconds, cpuSeconds, steps, bestStep, trainable, ...(peakBytes !== undefined && { peakBytes }) }
}
