// One run of a study: a method with its settings, trained and measured on a base that many runs share.

import { initStdOf, type Model } from '../model.ts'
import { normal } from '../nn/init.ts'
import { type Adapter, attach, createMethod, kindOf } from '../peft/index.ts'
import { pooledBytes } from '../tensor.ts'
import type { EndEvent, EvaluationEvent, StartEvent, TrainEvent, TrainExamples, TrainOptions } from '../train/events.ts'
import { Diverged, train } from '../train/train.ts'
import { lastOf, must } from '../tuple.ts'

/** What the runs of a study share. */
export interface Bench {
  /** With nothing attached, and so after each run. */
  readonly model: Model
  readonly examples: TrainExamples
  /** Bytes of the tensor pool that neither the model nor a run takes. Default 0. */
  readonly otherBytes?: number
  /** Of every run, before its own. */
  readonly options: Omit<TrainOptions, 'signal'>
}

/** What one run is. */
export interface Spec {
  readonly method: string
  /** Of the method; what is not here has the method's default. */
  readonly options: Readonly<Record<string, unknown>>
  /** Of training, over the bench's. */
  readonly training: Partial<TrainOptions>
  readonly seed: number
}

/** What a run came to. */
export interface Outcome {
  readonly metric: string
  /** By name; undefined where there is no such split. */
  readonly validation: Readonly<Record<string, number>> | undefined
  readonly test: Readonly<Record<string, number>> | undefined
  readonly lr: number
  readonly steps: number
  readonly bestStep: number | undefined
  /** Training loss of the last epoch, and the validation loss after it and at its least. */
  readonly losses: { readonly train?: number; readonly validation?: number; readonly least?: number }
  /** Trained numbers, and all of the model with them. */
  readonly trainable: number
  readonly total: number
  /** Training with its evaluations. */
  readonly seconds: number
  readonly cpuSeconds: number
  /** Highest use of the tensor pool, as in a process that runs nothing else; undefined where others ran at once. */
  readonly peakBytes?: number
  readonly reason: EndEvent['reason']
}

/** A run that ended without weights: its loss was no number. */
export interface Failed {
  readonly failed: string
  readonly lr: number | undefined
  readonly seconds: number
  readonly cpuSeconds: number
}

/** A run that was ended on the way. */
export interface Pruned {
  readonly pruned: true
  readonly lr: number
  readonly seconds: number
  readonly cpuSeconds: number
}

/** What is to happen with a run on the way. */
export interface Watching {
  readonly signal?: AbortSignal | undefined
  /** Told every event; true ends the run as it is. */
  readonly watch?: ((event: TrainEvent) => boolean | Promise<boolean>) | undefined
  /** While the trained adapter is on the model; what it returns is the run's too. */
  readonly trained?: ((adapter: Adapter, outcome: Outcome) => Promise<object>) | undefined
}

/**
 * Trains what a spec says, as `train` alone would from a model loaded with the same seed: to the bit. The model is as
 * before when it returns. @throws what `train` throws, but for a loss that is no number
 */
export async function runMember(bench: Bench, spec: Spec, watching: Watching = {}): Promise<Outcome | Failed | Pruned> {
  const { model } = bench
  const usage = process.cpuUsage()
  const started = performance.now()
  const spent = () => {
    const { user, system } = process.cpuUsage(usage)
    return { seconds: (performance.now() - started) / 1000, cpuSeconds: (user + system) / 1e6 }
  }
  const adapter = attachSpec(model, spec)
  try {
    const told = await follow(bench, spec, adapter, watching)
    const { start, end } = told
    const own = spent()
    if (!end) return { pruned: true, lr: start.lr, ...own }
    const peakBytes = end.memory.peak - (bench.otherBytes ?? 0) - keptBytes(spec, adapter)
    const outcome = { ...outcomeOf(told, end), peakBytes, ...own }
    const more = end.reason === 'aborted' ? {} : await watching.trained?.(adapter, outcome)
    return { ...outcome, ...more }
  } catch (error) {
    if (!(error instanceof Diverged)) throw error
    return { failed: error.message, lr: spec.training.lr, ...spent() }
  } finally {
    adapter.detach()
  }
}

/** The method of a spec on the model, with heads as a model loaded with its seed has them. */
export function attachSpec(model: Model, { method, options, seed }: Spec, name?: string): Adapter<Model> {
  // What is trained in place could not be taken off again.
  const kept = isWhole(method) ? { ...options, keepOriginal: true } : options
  const adapter = attach(model, createMethod(method, kept), { name, seed })
  for (const { base, name, shape, size, tensor } of adapter.trainable)
    if (base?.isNew && shape.length > 1) tensor.upload(normal(size, initStdOf(model.config), seed, name))
  return adapter
}

/** Whether a method trains the weights of the model themselves. */
export const isWhole = (method: string): boolean => kindOf(method).peftType === undefined

/** Bytes of original weights that a run which trains them in place would not keep. */
function keptBytes({ method }: Spec, { trainable }: Adapter): number {
  if (!isWhole(method)) return 0
  return pooledBytes(trainable.flatMap(({ base }) => base?.own ?? []))
}

/** What is kept of the events of a run. */
interface Told {
  readonly start: StartEvent
  /** Undefined where the run was ended. */
  readonly end: EndEvent | undefined
  readonly after: readonly EvaluationEvent[]
}

/** Options of a spec's training. */
export function memberOptions(bench: Bench, { training, seed }: Spec): TrainOptions {
  return { ...bench.options, ...training, seed, evaluateBefore: false }
}

async function follow(bench: Bench, spec: Spec, method: Adapter<Model>, watching: Watching): Promise<Told> {
  const { signal, watch } = watching
  const options = memberOptions(bench, spec)
  const events = train(method, bench.examples, signal ? { ...options, signal } : options)
  let [start, end]: [StartEvent?, EndEvent?] = []
  const after: EvaluationEvent[] = []
  for await (const event of events) {
    if (event.type === 'start') start = event
    else if (event.type === 'end') end = event
    else if (event.type === 'evaluation' && event.when === 'after') after.push(event)
    if (await watch?.(event)) break
  }
  return { start: must(start, 'start'), end, after }
}

/** What a run came to that was not ended on the way, but for what it cost. */
export function outcomeOf({ start, after }: Omit<Told, 'end'>, end: EndEvent): Omit<Outcome, 'seconds' | 'cpuSeconds'> {
  const of = (split: 'validation' | 'test') => after.find(event => event.split === split)?.metrics
  const { lr, trainable, total, metric } = start
  return {
    metric,
    validation: of('validation'),
    test: of('test'),
    lr,
    steps: end.step,
    bestStep: end.bestStep,
    losses: lossesOf(end),
    trainable,
    total,
    reason: end.reason,
  }
}

/** Mean training loss of the last tenth of the steps, and what validation said. */
function lossesOf({ history }: EndEvent): Outcome['losses'] {
  const steps = history.flatMap(entry => (entry.kind === 'step' ? [entry.loss] : []))
  const last = steps.slice(-Math.max(1, Math.ceil(steps.length / 10)))
  const seen = history.flatMap(each => (each.kind === 'evaluation' && each.when === 'epoch' ? [each.loss] : []))
  return {
    ...(last.length > 0 && { train: last.reduce((sum, loss) => sum + loss, 0) / last.length }),
    ...(seen.length > 0 && { validation: lastOf(seen), least: Math.min(...seen) }),
  }
}
