// A run's parts and its state: what `train` drives.

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Batches, batches, type Step } from '../data/batches.ts'
import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import { check, fail } from '../errors.ts'
import { recoverFolder, writeFileAtomic } from '../io/atomic.ts'
import { type Lock, lockFolder } from '../io/lock.ts'
import { coded } from '../io/systemError.ts'
import type { Model } from '../model.ts'
import type { Parameter } from '../nn/module.ts'
import { AdamW } from '../optim/adamw.ts'
import { Arena } from '../optim/arena.ts'
import { learningRate, warmupStepsOf } from '../optim/schedule.ts'
import type { Adapter } from '../peft/adapter.ts'
import { Tensor } from '../tensor.ts'
import { must } from '../tuple.ts'
import {
  beforeIn,
  checkOrigin,
  checkpointSteps,
  newestCheckpoint,
  pruneCheckpoints,
  readBest,
  readCheckpoint,
  removeCheckpoints,
  restoreCheckpoint,
  type SavedRun,
  type Skipped,
  saveCheckpoint,
} from './checkpoint.ts'
import { resolveClassWeights } from './checks.ts'
import { type Evaluation, evaluateBy } from './evaluate.ts'
import type { Before, TrainExamples } from './events.ts'
import { type Origin, originOf } from './fingerprint.ts'
import type { Seat } from './meeting.ts'
import { labelOptions, objectiveOf } from './objective.ts'
import { isNewHead, type TrainSettings } from './settings.ts'
import { freshState, type RunState } from './state.ts'
import { type StepNumbers, Stepper } from './step.ts'

/** A step that is in the queue. */
export interface Launched {
  readonly step: Step
  readonly lr: number
  readonly numbers: Promise<StepNumbers>
}

/** How many steps there are. */
export interface Length {
  readonly stepsPerEpoch: number
  readonly totalSteps: number
}

/** The steps of an epoch, as every run of these settings has them. */
export function epochOf(
  { head }: Model,
  examples: List<Example>,
  settings: TrainSettings,
  classWeights: readonly number[] | undefined,
  epoch: number,
): Batches {
  const { batchSize, batchTokens, accumulate, seed, groupByLength, dropLast, transform } = settings
  return batches(examples, {
    batchSize,
    batchTokens,
    accumulate,
    shuffle: true,
    seed,
    epoch,
    groupByLength,
    dropLast,
    transform,
    collate: head.collate,
    ...(classWeights ? { classWeights } : {}),
  })
}

export function runLength(
  stepsPerEpoch: number,
  { epochs, maxSteps }: Pick<TrainSettings, 'epochs' | 'maxSteps'>,
): Length {
  return { stepsPerEpoch, totalSteps: Math.min(epochs * stepsPerEpoch, maxSteps ?? Number.POSITIVE_INFINITY) }
}

/** What an adapter trains, in one place: biases and norms have no decay. `headScale`: of the rate of a new head. */
export function arenaOf(
  { host, trainable, training }: Adapter<Model>,
  states?: TrainSettings['optimizerStates'],
  headScale = 1,
): Arena {
  const group = (p: Parameter) => ({
    decay: p.shape.length > 1 ? 1 : 0,
    ...(isNewHead(host, p) && { lrScale: headScale }),
    ...training.group?.(p),
  })
  return new Arena(trainable, host.device, group, states)
}

/** The optimizer of a run. */
export function optimizerOf(adapter: Adapter<Model>, settings: TrainSettings): AdamW {
  const { beta1, beta2, eps, weightDecay, clip, optimizerStates, lr, headLr = lr } = settings
  const arena = arenaOf(adapter, optimizerStates, headLr / lr)
  try {
    return new AdamW(arena, { beta1, beta2, eps, weightDecay, clip })
  } catch (error) {
    arena.dispose()
    throw error
  }
}

/** Class weights on the device; for several labels they weigh the positives. */
export function weightsTensor(model: Model, weights: readonly number[] | undefined): Tensor | undefined {
  const dtype = model.storage === 'f64' ? 'f64' : 'f32'
  return weights && Tensor.from(Float32Array.from(weights), [weights.length], { device: model.device, dtype }).keep()
}

export class Run {
  readonly model: Model
  readonly adapter: Adapter<Model>
  readonly data: TrainExamples
  readonly settings: TrainSettings
  readonly signal: AbortSignal | undefined
  readonly optimizer: AdamW
  readonly stepper: Stepper
  readonly length: Length
  state: RunState = freshState()
  /** Of the best step, unless it was before a resume. */
  bestEvaluation: Evaluation | undefined
  /** Step of the newest checkpoint that shows the state as it is. */
  savedStep = -1
  savedPath: string | undefined
  resumedFrom: SavedRun | undefined
  /** What the model said before training. */
  before: Before[] = []
  skipped: Skipped[] = []
  /** Old checkpoints that could not be removed. */
  left: Skipped[] = []
  readonly #weights: readonly number[] | undefined
  readonly #weightsTensor: Tensor | undefined
  readonly #started = performance.now()
  #secondsBefore = 0
  #epoch: { number: number; batches: Batches }
  #best: Float32Array | Float64Array | undefined
  #last: Float32Array | Float64Array | undefined
  #origin: Origin | undefined
  #lock: Lock | undefined

  readonly #seat: Seat | undefined

  /** `seat`: where it is one of several runs that share their passes. */
  constructor(
    adapter: Adapter<Model>,
    data: TrainExamples,
    settings: TrainSettings,
    signal: AbortSignal | undefined,
    seat?: Seat,
  ) {
    const model = adapter.host
    this.model = model
    this.adapter = adapter
    this.data = data
    this.settings = settings
    this.signal = signal
    this.#seat = seat
    this.#weights = resolveClassWeights(model, data.train, settings.classWeights)
    this.#epoch = { number: 0, batches: this.#batchesOf(0) }
    this.length = runLength(this.#epoch.batches.length, settings)
    model.device.resetPeak()
    this.optimizer = optimizerOf(adapter, settings)
    this.#weightsTensor = weightsTensor(model, this.#weights)
    const { seed, communicator } = settings
    this.stepper = new Stepper(model, this.optimizer, {
      seed,
      training: adapter.training,
      totalSteps: this.length.totalSteps,
      objective: objectiveOf(settings, this.#weightsTensor),
      communicator,
      shared: seat?.passes({ ...labelOptions(settings), classWeights: this.#weightsTensor }),
    })
  }

  #batchesOf(epoch: number): Batches {
    return epochOf(this.model, this.data.train, this.settings, this.#weights, epoch)
  }

  get aborted(): boolean {
    return this.signal?.aborted ?? false
  }

  /** Epochs done, with the part of the current one. */
  get epoch(): number {
    return this.state.step / this.length.stepsPerEpoch
  }

  /** Looks at the output folder, and goes on from a checkpoint where that is asked for. */
  async open(): Promise<void> {
    const { outputDir, resume, overwrite } = this.settings
    if (outputDir === undefined && !resume) return
    this.#origin = await originOf(this.model, this.adapter, this.data, this.settings, this.#weights)
    if (outputDir !== undefined) this.#lock = await prepareOutput(outputDir, Boolean(resume), overwrite)
    const { checkpoint, skipped } = await findCheckpoint(resume, outputDir, this.#origin, found => this.#restore(found))
    this.skipped = skipped
    if (!checkpoint) return
    this.state = checkpoint.state
    this.stepper.divisor = this.state.divisor
    this.#secondsBefore = this.state.seconds
    this.savedStep = this.state.step
    this.savedPath = checkpoint.path
    this.resumedFrom = checkpoint
  }

  #restore(checkpoint: SavedRun): void {
    this.before = beforeIn(checkpoint, this.data)
    restoreCheckpoint(checkpoint, this.optimizer, this.adapter.training)
    this.#best = readBest(checkpoint, this.optimizer.arena)
  }

  /** Enqueues step `index` of the run, from 0. */
  async launch(index: number): Promise<Launched> {
    const { stepsPerEpoch, totalSteps } = this.length
    const { schedule, lr: peak, warmup } = this.settings
    const epoch = Math.floor(index / stepsPerEpoch)
    if (this.#epoch.number !== epoch) this.#epoch = { number: epoch, batches: this.#batchesOf(epoch) }
    const step = this.#epoch.batches.at(index % stepsPerEpoch)
    const warmupSteps = warmupStepsOf(warmup, totalSteps)
    const lr = learningRate(index, { schedule, lr: peak, warmupSteps, totalSteps })
    const { numbers } = await this.stepper.launch(step, index, lr)
    this.state.divisor = this.stepper.divisor
    return { step, lr, numbers }
  }

  /** Evaluates a split. @throws the signal's reason when it is aborted on the way */
  evaluate(split: 'validation' | 'test', says = false): Promise<Evaluation> {
    const { evalBatchSize: batchSize, transform, seed, progress, say } = this.settings
    const options = {
      batchSize,
      transform,
      seed,
      say: says ? say : undefined,
      signal: this.signal,
      progress: progress && ((done: number, total: number) => progress(split, done, total)),
    }
    return evaluateBy(this.#seat?.answers, this.model, this.data[split] ?? [], options)
  }

  /** Remembers the weights as they are as the best. */
  async keepBest(evaluation: Evaluation, value: number): Promise<void> {
    const { state } = this
    state.best = { step: state.step, value }
    this.bestEvaluation = evaluation
    this.#best = await this.optimizer.arena.params.floats()
  }

  /** Puts the best weights in place; {@link restoreLast} takes that back. */
  async restoreBest(): Promise<void> {
    const { best, step } = this.state
    if (!best || best.step === step || !this.#best) return
    this.#last = await this.optimizer.arena.params.floats()
    this.optimizer.arena.params.upload(this.#best)
  }

  /** Puts the weights of the last step back, where the best ones were taken. */
  restoreLast(): void {
    if (this.#last) this.optimizer.arena.params.upload(this.#last)
  }

  get seconds(): number {
    return this.#secondsBefore + (performance.now() - this.#started) / 1000
  }

  /** Saves the state and removes what need not be kept. */
  async save(): Promise<string> {
    const { settings, adapter, optimizer, state, length, before, data } = this
    const outputDir = settings.outputDir ?? fail('ERR_OPTION', 'checkpoint: there is no outputDir')
    state.seconds = this.seconds
    const every = (of: 'epoch' | 'never' | number) =>
      of === 'epoch' ? length.stepsPerEpoch : of === 'never' ? length.totalSteps : of
    const facts = {
      ...length,
      epochs: settings.epochs,
      batchSize: settings.batchSize,
      metric: settings.metric,
      evalSteps: every(settings.evalEvery),
      saveSteps: every(settings.checkpointEvery),
    }
    const best = this.#best
    const snapshot = {
      attached: adapter,
      optimizer,
      state,
      origin: must(this.#origin, 'origin'),
      facts,
      best,
      before,
      data,
    }
    this.savedPath = await saveCheckpoint(outputDir, snapshot)
    this.savedStep = state.step
    this.left = await pruneCheckpoints(outputDir, state, settings.keepCheckpoints)
    return this.savedPath
  }

  /** Waits for the device and frees what training took. The weights stay as they are. */
  async close(): Promise<void> {
    // A fault was thrown by the read that met it.
    await this.model.device.synchronize().catch(() => undefined)
    this.optimizer.arena.dispose()
    this.#weightsTensor?.dispose()
    this.#lock?.release()
  }
}

/** An output folder that cannot be written, or is written by another run, should be known before hours of work. */
async function prepareOutput(outputDir: string, resume: boolean, overwrite: boolean): Promise<Lock> {
  const probe = join(outputDir, '.lowrank-write-test')
  await writeFileAtomic(probe, '')
  await coded(outputDir, () => rm(probe, { force: true }))
  const lock = lockFolder(outputDir)
  try {
    await recoverFolder(outputDir)
    const steps = await checkpointSteps(outputDir)
    check(resume || steps.length === 0 || overwrite, 'ERR_OPTION', () => {
      return `outputDir: ${outputDir} holds checkpoint-${steps[0]} of another run; resume it, overwrite it, or name a new one`
    })
    if (!resume) await coded(outputDir, () => removeCheckpoints(outputDir))
    return lock
  } catch (error) {
    lock.release()
    throw error
  }
}

/** The checkpoint to go on from. @throws ERR_CHECKPOINT where one is asked for and none is whole */
async function findCheckpoint(
  resume: boolean | string,
  outputDir: string | undefined,
  origin: Origin,
  restore: (checkpoint: SavedRun) => void,
): Promise<{ checkpoint: SavedRun | undefined; skipped: Skipped[] }> {
  if (!resume) return { checkpoint: undefined, skipped: [] }
  if (resume === true) {
    const { checkpoint, skipped } = await newestCheckpoint(must(outputDir, 'outputDir'), origin, restore)
    return { checkpoint: checkpoint ?? (await nothingToResume(must(outputDir, 'outputDir'), skipped)), skipped }
  }
  const checkpoint = await readCheckpoint(resume)
  checkOrigin(checkpoint, origin)
  restore(checkpoint)
  return { checkpoint, skipped: [] }
}

async function nothingToResume(outputDir: string, skipped: readonly Skipped[]): Promise<never> {
  const names = (await readdir(outputDir).catch(() => [])).filter(name => !name.startsWith('.'))
  const found = names.length === 0 ? 'nothing' : names.slice(0, 8).join(', ')
  const what = skipped[0] ? `no checkpoint that is whole (${skipped[0].reason})` : `${found}, but no checkpoint-<step>`
  fail('ERR_CHECKPOINT', `resume: ${outputDir} holds ${what}; leave resume out to start the run anew`)
}
