// A search over options: any number of workers take trials from one journal, run them and write what came out.

import { check, LowrankError } from '../errors.ts'
import { isRunning, machine, startOf } from '../io/process.ts'
import { higherIsBetter } from '../metrics/table.ts'
import { isRecord } from '../options.ts'
import type { StepEvent } from '../train/events.ts'
import { isCount, must, nth, under } from '../tuple.ts'
import { halve } from './halving.ts'
import { type Choice, isChoice, type Journal, type Operation, operations, type Study, type Trial } from './journal.ts'
import { type Bench, runMember, type Spec, type Watching } from './member.ts'
import { type Sampler, suggest, type Tried } from './samplers.ts'
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

export type SweepEvent =
  | { readonly type: 'start'; readonly trial: Trial; readonly done: number }
  | StepEvent
  | { readonly type: 'trial'; readonly trial: Trial }
  | { readonly type: 'retry'; readonly trial: Trial }
  | { readonly type: 'wait'; readonly running: number }

export interface WorkOptions {
  readonly signal?: AbortSignal | undefined
  readonly tell?: ((event: SweepEvent) => void) | undefined
  /** The run of a trial's parameters. */
  readonly specOf: (params: Readonly<Record<string, Choice>>) => Spec
  /** Wait for trials of other workers, which may die, once there is nothing else to do. */
  readonly waits: boolean
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
    const trial = await claim(journal, sweep, options)
    if (trial) {
      await runTrial(bench, journal, sweep, trial, options)
      continue
    }
    const running = studyOf(journal).trials.filter(({ state }) => state === 'running' || state === 'waiting').length
    if (!waits || running === 0) return
    tell?.({ type: 'wait', running })
    await new Promise(resolve => setTimeout(resolve, 1000))
  }
}

const studyOf = (journal: Journal): Study => must(journal.study(STUDY_NAME), STUDY_NAME)

/** A trial for this worker: one that waits, else a new one. Those of dead workers fail, and wait to be run again. */
async function claim(journal: Journal, sweep: Sweep, { tell }: WorkOptions): Promise<Trial | undefined> {
  const dead: Trial[] = []
  await journal.append(() => {
    const running = studyOf(journal).trials.filter(({ state }) => state === 'running')
    dead.push(...running.filter(trial => trial.owner !== journal.worker && isDead(trial)))
    return dead.flatMap(trial => failedAndRetried(studyOf(journal), trial))
  })
  for (const trial of dead) tell?.({ type: 'retry', trial })
  await journal.append(() => takeNext(studyOf(journal), sweep))
  const own = studyOf(journal).trials.filter(({ owner, state }) => owner === journal.worker && state === 'running')
  const trial = own.at(-1)
  if (trial) tell?.({ type: 'start', trial, done: ordinalsOf(studyOf(journal)).size })
  return trial
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
export function trialsOf({ sampler, space, trials }: Sweep): number {
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

async function runTrial(
  bench: Bench,
  journal: Journal,
  sweep: Sweep,
  trial: Trial,
  options: WorkOptions,
): Promise<void> {
  const { signal, tell, specOf } = options
  const beat = setInterval(() => {
    journal.append(() => [operations.userAttr(trial, 'heartbeat', new Date().toISOString())]).catch(() => undefined)
  }, BEAT)
  let [seen, totalSteps] = [0, 0]
  try {
    const outcome = await judged(bench, specOf(trial.params), {
      signal,
      watch: async event => {
        if (event.type === 'start') totalSteps = event.totalSteps
        if (event.type === 'step') tell?.(event)
        if (event.type !== 'evaluation' || event.when !== 'epoch') return false
        const isBehind = await reported(journal, sweep, trial, ++seen, under(event.metrics, sweep.metric))
        // At its last step a run has nothing left to save.
        return isBehind && event.step < totalSteps
      },
    })
    clearInterval(beat)
    if (signal?.aborted) await journal.append(() => failedAndRetried(studyOf(journal), trial, true))
    signal?.throwIfAborted()
    await journal.append(() => ended(trial, sweep, outcome))
    tell?.({ type: 'trial', trial: nth(studyOf(journal).trials, trial.number) })
  } finally {
    clearInterval(beat)
  }
}

/** A run; one whose parameters are refused has failed, and the search goes on. */
async function judged(bench: Bench, spec: Spec, watching: Watching): Promise<Ended> {
  try {
    return await runMember(bench, spec, watching)
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== 'ERR_OPTION') throw error
    return { failed: error.message, lr: undefined, seconds: 0, cpuSeconds: 0 }
  }
}

/** Writes a validation, and what halving makes of it. */
async function reported(
  journal: Journal,
  sweep: Sweep,
  { number }: Trial,
  step: number,
  value: number,
): Promise<boolean> {
  if (!Number.isFinite(value)) return false
  let prune = false
  await journal.append(() => {
    const study = studyOf(journal)
    const trial = nth(study.trials, number)
    const report = operations.report(trial, step, value)
    if (sweep.pruner === 'none') return [report]
    const judged = halve(study, trial, step, value)
    prune = judged.prune
    return [report, ...judged.attrs.map(([key, each]) => operations.systemAttr(trial, key, each))]
  })
  return prune
}

type Ended = Awaited<ReturnType<typeof runMember>>

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
  return { seconds, cpuSeconds, steps, bestStep, trainable, peakBytes }
}
