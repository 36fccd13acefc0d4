// A run on the meta device: the same steps without their arithmetic, for what they will take.

import { type MicroBatch, targetsIn } from '../data/batches.ts'
import { tokensOf } from '../data/example.ts'
import { check } from '../errors.ts'
import type { Model } from '../model.ts'
import type { Adapter } from '../peft/adapter.ts'
import type { Matched } from '../peft/method.ts'
import { pooledBytes, scope } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { checkArguments, checkRun, resolveClassWeights, scheduleWarnings } from './checks.ts'
import { evaluationBatches, packAll } from './evaluate.ts'
import type { TrainData, TrainExamples, TrainOptions, WarningEvent } from './events.ts'
import { objectiveOf } from './objective.ts'
import { withReferences } from './reference.ts'
import { epochOf, type Length, optimizerOf, runLength, weightsTensor } from './run.ts'
import { resolveTrainSettings, type TrainSettings } from './settings.ts'
import { Stepper } from './step.ts'

/** What a run will do and take. */
export interface TrainPlan extends Length {
  readonly epochs: number
  /** Trained numbers, and all of the model with them. */
  readonly trainable: number
  readonly total: number
  /** Layers that carry factors. */
  readonly matched: readonly Matched[]
  /** Token of the training examples, once. */
  readonly tokensPerEpoch: number
  /** Memory of all weights, in bytes. */
  readonly modelBytes: number
  /** Trained weights, gradients and both moments, in bytes. */
  readonly optimizerBytes: number
  /** What one more such adapter takes while it trains among others, in the tensor pool: beside rows of its batches. */
  readonly memberBytes: number
  /** Highest use of the tensor pool, to the byte: `memory.peak` of the run's end event. */
  readonly peakBytes: number
  /** Resident memory of the process, a rough estimate: what it uses now, the pool with its cache, kernel scratch. */
  readonly rssBytes: number
  /** The first micro-batch, as the model will see it. */
  readonly firstBatch: MicroBatch
  readonly warnings: readonly WarningEvent[]
}

/**
 * Free blocks that nothing fits into: the pool holds about this many times the peak of activations (1.5 measured on
 * ragged batches of the bundled encoder). Kernel scratch is small beside it.
 */
const CACHED = 1.5
const SCRATCH_BYTES = 16 * 2 ** 20

/**
 * Plans a run of a model on the meta device (`loadModel(dir, { device: 'meta' })`, method attached): checks everything
 * `train` checks, and runs the largest micro-batches of all epochs and splits.
 * @throws as `train` before its first step; ERR_DEVICE for a model elsewhere
 */
export async function planTraining(
  adapter: Adapter<Model>,
  splits: TrainData,
  options: TrainOptions = {},
): Promise<TrainPlan> {
  const given = checkArguments('planTraining', adapter, splits, options)
  const { host: model, trainable, matched } = adapter
  const { device } = model
  check(device.kind === 'meta', 'ERR_DEVICE', () => {
    return `planTraining: the model is on ${device.name}; load it with device 'meta'`
  })
  const settings = resolveTrainSettings(adapter, options, given)
  const data = await withReferences(adapter, given, settings.evalBatchSize)
  check(settings.time === undefined, 'ERR_OPTION', () => {
    return 'time: is planned by measuring steps, which the meta device does not run; leave it out of a plan'
  })
  const warnings = checkRun(adapter, data, settings)
  const weights = resolveClassWeights(model, data.train, settings.classWeights)
  const stepsPerEpoch = epochOf(model, data.train, settings, weights, 0).length
  const length = runLength(stepsPerEpoch, settings)
  const largest = largestOf(model, microBatches(model, data, settings, weights, length))
  device.resetPeak()
  const { optimizerBytes, memberBytes } = await simulate(adapter, data, { ...settings, classWeights: weights }, largest)
  const peakBytes = device.memory().peak
  const fixed = model.bytes + (settings.teacher?.bytes ?? 0) + optimizerBytes
  const pool = fixed + CACHED * Math.max(0, peakBytes - fixed)
  return {
    ...length,
    epochs: settings.epochs,
    ...{ trainable: trainable.reduce((sum, { size }) => sum + size, 0), total: adapter.totalSize, matched },
    tokensPerEpoch: tokensOf(data.train),
    modelBytes: model.bytes,
    optimizerBytes,
    memberBytes,
    peakBytes,
    rssBytes: Math.round(process.memoryUsage().rss + pool + SCRATCH_BYTES),
    firstBatch: nth(epochOf(model, data.train, settings, weights, 0).at(0).microBatches, 0),
    warnings: [...warnings, ...scheduleWarnings(settings, length)],
  }
}

/** Steps, then evaluations, each with nothing left over from the one before. Returns what stays meanwhile. */
async function simulate(
  adapter: Adapter<Model>,
  data: TrainExamples,
  settings: TrainSettings,
  largest: readonly MicroBatch[],
): Promise<Pick<TrainPlan, 'optimizerBytes' | 'memberBytes'>> {
  const { host: model, training, trainable } = adapter
  const { device } = model
  const others = device.memory().live - pooledBytes(trainable.map(({ tensor }) => tensor))
  const optimizer = optimizerOf(adapter, settings)
  const memberBytes = device.memory().live - others
  const classWeights = weightsTensor(model, resolveClassWeights(model, data.train, settings.classWeights))
  try {
    const { seed } = settings
    const stepper = new Stepper(model, optimizer, { seed, objective: objectiveOf(settings, classWeights), training })
    for (const batch of largest) {
      const step = { epoch: 0, index: 0, microBatches: [batch], total: 1, samples: 1, tokens: batch.ids.length }
      await stepper.launch(step, 0, settings.lr)
    }
    const { evalBatchSize: batchSize, transform } = settings
    for (const examples of [data.validation ?? [], data.test ?? []]) {
      const packed = Array.from(evaluationBatches(examples, { batchSize, transform, seed }), part =>
        packAll(model, part),
      )
      for (const batch of largestOf(model, packed)) scope(() => void model.answers(batch, targetsIn(batch, 'evaluate')))
    }
    return { optimizerBytes: optimizer.arena.bytes, memberBytes }
  } finally {
    optimizer.arena.dispose()
    classWeights?.dispose()
  }
}

function* microBatches(
  model: Model,
  data: TrainExamples,
  settings: TrainSettings,
  weights: readonly number[] | undefined,
  { stepsPerEpoch, totalSteps }: Length,
): Generator<MicroBatch> {
  for (let first = 0; first < totalSteps; first += stepsPerEpoch) {
    const steps = epochOf(model, data.train, settings, weights, first / stepsPerEpoch)
    const count = Math.min(stepsPerEpoch, totalSteps - first)
    for (let k = 0; k < count; k++) yield* steps.at(k).microBatches
  }
}

/**
 * The batches that no other equals or exceeds in tokens (of a decoder too), sequences, rows of the head and longest
 * sequence at once:
 * memory grows with each of these, so the peak is among them.
 */
function largestOf(model: Model, batches: Iterable<MicroBatch>): MicroBatch[] {
  let front: { sizes: number[]; batch: MicroBatch }[] = []
  for (const batch of batches) {
    const selected = model.head.rows(batch, batch.targets)?.length ?? 0
    const { ids, maxLength } = batch.decoder ?? { ids: [], maxLength: 0 }
    const sizes = [batch.ids.length, batch.rows.length, selected, batch.maxLength, ids.length, maxLength]
    const covers = (a: readonly number[], b: readonly number[]) => a.every((size, i) => size >= nth(b, i))
    if (front.some(other => covers(other.sizes, sizes))) continue
    front = [...front.filter(other => !covers(sizes, other.sizes)), { sizes, batch }]
  }
  return front.map(({ batch }) => batch)
}
