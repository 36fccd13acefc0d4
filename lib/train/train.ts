import { check, LowrankError } from '../errors.ts'
import { higherIsBetter } from '../metrics/table.ts'
import type { Model } from '../model.ts'
import { native } from '../native.ts'
import { throughAdapter } from '../nn/routes.ts'
import { sumSquares } from '../ops/sum.ts'
import type { Adapter } from '../peft/adapter.ts'
import { scope } from '../tensor.ts'
import { under } from '../tuple.ts'
import { beforeOf } from './before.ts'
import type { SavedRun, Skipped } from './checkpoint.ts'
import { checkArguments, checkRun, scheduleWarnings } from './checks.ts'
import { TEACHER_WEIGHT, TEMPERATURE } from './distillation.ts'
import type { Evaluation } from './evaluate.ts'
import type {
  EndEvent,
  EndReason,
  EvaluationEvent,
  Resumed,
  StartEvent,
  StepEvent,
  TrainData,
  TrainEvent,
  TrainExamples,
  TrainOptions,
  WarningEvent,
} from './events.ts'
import { fitWarnings } from './fit.ts'
import { withHeadRate } from './headRate.ts'
import type { Seat } from './meeting.ts'
import { referenceGoal, withReferences } from './reference.ts'
import { epochOf, type Launched, Run } from './run.ts'
import { resolveTrainSettings, type TrainSettings } from './settings.ts'
import { settingsWithin } from './time.ts'

/**
 * Trains an adapter of a model, and tells what happens as it does; see {@link TrainEvent}. Everything waits for the
 * consumer but the device, which is one micro-batch ahead. Leaving the loop early stops the run as it is; the signal
 * stops it after the step in progress, with a checkpoint.
 *
 * The same seed, data and settings give the same bytes on one instruction set, whatever the number of threads, and
 * whether or not the run was interrupted and resumed.
 * @throws ERR_OPTION, ERR_DATA before the first step for what cannot work; ERR_OPTION when the loss is no longer a
 * number; ERR_MEMORY when one sequence is too much; ERR_CHECKPOINT for a checkpoint of another run
 */
export function train(
  adapter: Adapter<Model>,
  data: TrainData,
  options: TrainOptions = {},
): AsyncGenerator<TrainEvent, void> {
  return trainAt(undefined, adapter, data, options)
}

/** {@link train}; `seat`: its place where it is one of several runs that share their passes. */
export async function* trainAt(
  seat: Seat | undefined,
  adapter: Adapter<Model>,
  data: TrainData,
  options: TrainOptions,
): AsyncGenerator<TrainEvent, void> {
  const given = checkArguments('train', adapter, data, options)
  const { device } = adapter.host
  const asked = resolveTrainSettings(adapter, options, given)
  check(device.kind !== 'meta', 'ERR_DEVICE', () => 'train: the meta device computes nothing; see planTraining')
  const warnings = checkRun(adapter, given, asked)
  await adapter.prepare(passes(adapter, given, asked, seat !== undefined))
  const examples = await withReferences(adapter, given, asked.evalBatchSize, options.signal)
  const paced = await withHeadRate(adapter, asked, options, passes(adapter, given, asked, seat !== undefined))
  const settings = await settingsWithin(adapter, examples, options, paced)
  const run = new Run(adapter, examples, settings, options.signal, seat)
  try {
    await run.open()
    yield startEvent(run)
    yield* warnings
    yield* scheduleWarnings(settings, run.length)
    yield* run.skipped.map(({ reason }) => skippedWarning(reason))
    if (!run.resumedFrom && settings.evaluateBefore) yield* evaluateSplits(run, 'before')
    const reason = yield* runSteps(run)
    if (reason !== 'aborted') yield* evaluateBest(run, reason)
    yield endEvent(run, run.aborted ? 'aborted' : reason)
  } finally {
    await run.close()
  }
}

/** Forward passes over the first epoch, for a method that begins along the data. */
function* passes(
  { host, name }: Adapter<Model>,
  { train }: TrainExamples,
  settings: TrainSettings,
  isAmongOthers: boolean,
): Iterable<() => void> {
  const epoch = epochOf(host, train, settings, undefined, 0)
  for (let i = 0; i < epoch.length; i++)
    for (const micro of epoch.at(i).microBatches)
      yield () => {
        const pass = () => void host.answers(micro, micro.targets)
        if (isAmongOthers) throughAdapter(name, pass)
        else pass()
      }
}

/** All steps that are left, to the end or a stop. */
async function* runSteps(run: Run): AsyncGenerator<TrainEvent, EndReason> {
  const { totalSteps } = run.length
  const clock = { last: performance.now() }
  let pending: Launched | undefined
  if (run.resumedFrom) yield* finishBoundary(run)
  for (let index = run.state.step; index < totalSteps && !run.aborted && !hasLostPatience(run); index++) {
    const { divisor } = run.stepper
    const next: Launched = await run.launch(index)
    if (run.stepper.divisor !== divisor) yield memoryWarning(run)
    if (pending) yield await finishStep(run, pending, clock)
    pending = next
    if (!isBoundary(run, index + 1)) continue
    yield await finishStep(run, pending, clock)
    pending = undefined
    yield* finishBoundary(run)
    clock.last = performance.now()
  }
  if (pending) yield await finishStep(run, pending, clock)
  if (run.aborted) {
    yield* saveAborted(run)
    return 'aborted'
  }
  return run.state.step < totalSteps ? 'early-stopping' : 'finished'
}

function hasLostPatience({ settings: { patience }, state }: Run): boolean {
  return patience > 0 && state.worse >= patience
}

const isEpochEnd = ({ length }: Run, step: number) => step % length.stepsPerEpoch === 0

function isDue(run: Run, step: number, every: 'epoch' | 'never' | number): boolean {
  if (every === 'never') return false
  return step === run.length.totalSteps || (every === 'epoch' ? isEpochEnd(run, step) : step % every === 0)
}

const hasValidation = ({ data }: Run) => (data.validation?.length ?? 0) > 0

const isValidationDue = (run: Run, step: number) => hasValidation(run) && isDue(run, step, run.settings.evalEvery)

/** Whether the device has to be idle after a step, for its weights to be looked at. */
function isBoundary(run: Run, step: number): boolean {
  return isEpochEnd(run, step) || isValidationDue(run, step) || isSaveDue(run, step) || step === run.length.totalSteps
}

function isSaveDue(run: Run, step: number): boolean {
  return run.settings.outputDir !== undefined && isDue(run, step, run.settings.checkpointEvery)
}

async function finishStep(run: Run, { step, lr, numbers }: Launched, clock: { last: number }): Promise<StepEvent> {
  const { state, length } = run
  const { loss, penalty, gradNorm } = await numbers
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) diverged(run, loss, gradNorm, lr)
  const now = performance.now()
  const seconds = (now - clock.last) / 1000
  clock.last = now
  state.step++
  state.tokens += step.tokens
  state.epochLoss.sum += loss * step.total
  state.epochLoss.weight += step.total
  const { epoch } = run
  const every = Math.ceil(length.totalSteps / 1000)
  if (state.step % every === 0 || state.step === length.totalSteps || state.step === 1)
    state.history.push({ kind: 'step', step: state.step, epoch, loss, gradNorm, lr })
  return {
    type: 'step',
    step: state.step,
    totalSteps: length.totalSteps,
    epoch,
    loss,
    ...(penalty === undefined ? {} : { penalty }),
    gradNorm,
    lr,
    samples: step.samples,
    tokens: step.tokens,
    seconds,
    tokensPerSecond: step.tokens / seconds,
    memory: run.model.device.memory(),
  }
}

function diverged({ state, settings, savedPath }: Run, loss: number, gradNorm: number, lr: number): never {
  const what = Number.isFinite(loss) ? `the gradient's norm is ${gradNorm}` : `the loss is ${loss}`
  const kept = savedPath ? `; ${savedPath} is sound` : ''
  const clip = settings.clip === 0 ? ', clip to 1' : ''
  const cure = `lower lr (${settings.lr}; ${lr} at this step)${clip}, lengthen warmup, or train with compute f32`
  throw new Diverged('ERR_OPTION', `train: ${what} in step ${state.step + 1}; ${cure}${kept}`)
}

/** A run whose loss, gradient or weights are no longer numbers. */
export class Diverged extends LowrankError {}

/** A step whose loss was finite may still leave weights that are not: neither to be saved nor called sound. */
async function checkFinite({ optimizer, state, settings, savedPath }: Run): Promise<void> {
  const squared = scope(() => sumSquares(optimizer.arena.params).keep())
  const size = await squared.item().finally(() => squared.dispose())
  if (Number.isFinite(size)) return
  const kept = savedPath ? `; ${savedPath} is sound` : ''
  const cure = `lower lr (${settings.lr}) or lengthen warmup`
  throw new Diverged('ERR_OPTION', `train: weights are no longer finite after step ${state.step}; ${cure}${kept}`)
}

/** What follows a step that ends an epoch, or is validated or saved. Whatever of it is done already is left out. */
async function* finishBoundary(run: Run): AsyncGenerator<TrainEvent> {
  const { state } = run
  const { step, epochLoss } = state
  await checkFinite(run)
  if (isEpochEnd(run, step) && epochLoss.weight > 0) {
    yield { type: 'epoch', epoch: Math.round(run.epoch), step, loss: epochLoss.sum / epochLoss.weight }
    state.epochLoss = { sum: 0, weight: 0 }
    run.savedStep = -1
  }
  if (!run.aborted && isValidationDue(run, step) && state.evaluatedAt < step) yield* validate(run)
  if (run.aborted || run.savedStep === step || run.settings.outputDir === undefined) return
  const isBest = state.best?.step === step
  if (isSaveDue(run, step) || isBest) yield* save(run)
}

async function* validate(run: Run): AsyncGenerator<TrainEvent> {
  const { state, settings } = run
  const evaluation = await unlessAborted(run, run.evaluate('validation'))
  if (!evaluation) return
  const value = under(evaluation.metrics, settings.metric)
  const sign = higherIsBetter(settings.metric) ? 1 : -1
  const isBest = Number.isFinite(value) && (!state.best || sign * (value - state.best.value) > 0)
  state.evaluatedAt = state.step
  state.worse = isBest ? 0 : state.worse + 1
  if (isBest) await run.keepBest(evaluation, value)
  run.savedStep = -1
  yield evaluationEvent(run, 'epoch', 'validation', evaluation)
  if (!Number.isFinite(value))
    yield {
      type: 'warning',
      code: 'not-a-number',
      message: `the ${settings.metric} of step ${state.step} is ${value}, so it can't be the best`,
      cure: 'choose another metric',
    }
}

async function* evaluateSplits(run: Run, when: 'before' | 'after'): AsyncGenerator<TrainEvent> {
  const judged = run.data.test?.length ? 'test' : 'validation'
  for (const split of ['validation', 'test'] as const) {
    if (!run.data[split]?.length || run.aborted) continue
    // The best weights were evaluated on the way, and twice gives the same.
    const says = run.settings.say !== undefined && split === judged
    const known = when === 'after' && split === 'validation' && !says ? run.bestEvaluation : undefined
    const evaluation = known ?? (await unlessAborted(run, run.evaluate(split, says)))
    if (!evaluation) continue
    if (when === 'before') run.before.push(beforeOf(split, evaluation))
    yield evaluationEvent(run, when, split, evaluation)
  }
}

/** What the best weights are worth. Cut short, the run is left as it was after its last step. */
async function* evaluateBest(run: Run, reason: Exclude<EndReason, 'aborted'>): AsyncGenerator<TrainEvent> {
  const { state, settings } = run
  await run.restoreBest()
  yield* evaluateSplits(run, 'after')
  if (!run.aborted) return yield* fitWarnings(state.history, settings.metric, state.best, reason)
  run.restoreLast()
  yield* saveAborted(run)
}

/** A result, or undefined where the signal cut the work short. */
async function unlessAborted<T>(run: Run, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (run.aborted && error === run.signal?.reason) return undefined
    throw error
  }
}

function evaluationEvent(
  run: Run,
  when: EvaluationEvent['when'],
  split: EvaluationEvent['split'],
  evaluation: Evaluation,
): EvaluationEvent {
  const { state } = run
  const { loss, metrics, seconds, examples: samples } = evaluation
  const step = when === 'after' ? (state.best?.step ?? state.step) : state.step
  const epoch = step / run.length.stepsPerEpoch
  state.history.push({ kind: 'evaluation', when, split, step, epoch, loss, metrics, seconds, samples })
  const best = split === 'validation' && state.best?.step === step
  return { type: 'evaluation', when, split, epoch, step, loss, metrics, best, evaluation }
}

/** Saves; a disk that is full costs the run a warning, and leaves earlier checkpoints as they are. */
async function* save(run: Run): AsyncGenerator<TrainEvent> {
  try {
    const path = await run.save()
    yield { type: 'checkpoint', step: run.state.step, path, best: run.state.best?.step === run.state.step }
    yield* run.left.map(leftWarning)
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error
    yield {
      type: 'warning',
      code: 'checkpoint-failed',
      message: `checkpoint-${run.state.step} is not saved: ${error.message}`,
      cure: run.savedPath ? `${run.savedPath} is still there to resume from` : 'there is no other to resume from yet',
    }
  }
}

/** The last save of an aborted run: its failure is the run's. */
async function* saveAborted(run: Run): AsyncGenerator<TrainEvent> {
  const { step, best } = run.state
  if (run.settings.outputDir === undefined || step === 0 || run.savedStep === step) return
  yield { type: 'checkpoint', step, path: await run.save(), best: best?.step === step }
}

function startEvent(run: Run): StartEvent {
  const { model, adapter, settings, data, length, optimizer, resumedFrom } = run
  const reference = referenceGoal(data.train)
  return {
    type: 'start',
    task: model.task,
    problem: model.head.problem,
    labels: model.labels,
    method: adapter.method.type,
    trainable: optimizer.arena.size,
    total: adapter.totalSize,
    device: model.device.name,
    isa: model.device.hardware,
    storage: model.storage,
    compute: model.compute,
    threads: native.info().threads,
    epochs: settings.epochs,
    ...length,
    ...(settings.batchSize !== undefined && { batchSize: settings.batchSize }),
    ...(settings.batchTokens !== undefined && { batchTokens: settings.batchTokens }),
    accumulate: settings.accumulate,
    lr: settings.lr,
    ...(settings.headLr !== undefined && { headLr: settings.headLr }),
    seed: settings.seed,
    ...(reference === undefined ? {} : { reference }),
    ...(settings.teacher ? { teacher: teacherOf(settings.teacher, settings) } : {}),
    metric: settings.metric,
    higherIsBetter: higherIsBetter(settings.metric),
    examples: {
      train: data.train.length,
      validation: data.validation?.length ?? 0,
      test: data.test?.length ?? 0,
    },
    ...(resumedFrom ? { resumed: resumedOf(run, resumedFrom) } : {}),
  }
}

function teacherOf(teacher: Model, { teacherWeight, teacherTemperature }: TrainSettings) {
  return {
    parameters: [...teacher.parameters.values()].reduce((sum, { size }) => sum + size, 0),
    weight: teacherWeight ?? TEACHER_WEIGHT,
    temperature: teacherTemperature ?? TEMPERATURE,
  }
}

function resumedOf({ state, before }: Run, { path }: SavedRun): Resumed {
  return { step: state.step, path, history: [...state.history], before }
}

function endEvent(run: Run, reason: EndReason): EndEvent {
  const { state, settings, savedPath } = run
  const { best, step, tokens, history } = state
  return {
    type: 'end',
    reason,
    step,
    epoch: run.epoch,
    ...(best ? { bestStep: best.step, bestMetric: best.value } : {}),
    metric: settings.metric,
    seconds: run.seconds,
    tokens,
    memory: run.model.device.memory(),
    ...(savedPath ? { checkpoint: savedPath } : {}),
    history,
  }
}

function leftWarning({ path, reason }: Skipped): WarningEvent {
  const message = `${path} is no longer needed and cannot be removed (${reason})`
  return { type: 'warning', code: 'checkpoint-left', message, cure: 'remove it by hand' }
}

function skippedWarning(reason: string): WarningEvent {
  const cure = 'an earlier one is taken'
  return { type: 'warning', code: 'checkpoint-skipped', message: `a checkpoint is broken: ${reason}`, cure }
}

function memoryWarning({ stepper }: Run): WarningEvent {
  return {
    type: 'warning',
    code: 'memory',
    message: `memory ran out; micro-batches are now cut into ${stepper.divisor} parts, with the same gradients`,
    cure: 'lower batchSize or batchTokens, and raise accumulate, to start so',
  }
}
