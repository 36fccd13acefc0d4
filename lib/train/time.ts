// A run that is to end within a time: what its parts take is measured, and the steps that fit are planned.

import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Example, tokensOf } from '../data/example.ts'
import { type List, spread } from '../data/list.ts'
import { check } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import type { Model } from '../model.ts'
import type { Adapter } from '../peft/adapter.ts'
import { settingsBefore } from './checkpoint.ts'
import { resolveClassWeights } from './checks.ts'
import { evaluate } from './evaluate.ts'
import type { TrainExamples, TrainOptions } from './events.ts'
import { objectiveOf } from './objective.ts'
import { epochOf, optimizerOf, runLength, weightsTensor } from './run.ts'
import type { TrainSettings } from './settings.ts'
import { Stepper } from './step.ts'

/** What the parts of a run take, each in seconds; 0 where a part is missing. */
export interface Costs {
  /** One optimizer step. */
  readonly step: number
  /** All of the split. */
  readonly validation: number
  readonly test: number
  /** One checkpoint. */
  readonly save: number
  /** Already gone, on measuring. */
  readonly spent: number
}

/** The settings that a time decides. */
type Planned = Pick<TrainSettings, 'epochs' | 'maxSteps' | 'evalEvery'>

/** Share of the time that is planned with: steps differ, and machines have other work. */
const PLANNED = 0.9
/** Most of the time of steps that validations may take, where nobody said how often they are due. */
const VALIDATIONS = 0.25

type Asked = Pick<
  TrainSettings,
  'epochs' | 'maxSteps' | 'evalEvery' | 'checkpointEvery' | 'evaluateBefore' | 'outputDir'
>

/**
 * The steps that end within `time` seconds: all of `settings` where they fit, else as many as do. Where they don't,
 * validations that would take a fifth of the time are made rarer, if `isFree` says that nobody asked for their number.
 * @throws ERR_OPTION where not even one step fits
 */
export function planWithin(
  time: number,
  costs: Costs,
  settings: Asked,
  stepsPerEpoch: number,
  isFree: boolean,
): Planned {
  const { totalSteps } = runLength(stepsPerEpoch, settings)
  const { epochs, maxSteps, evalEvery } = settings
  const available = time * PLANNED
  const seconds = (steps: number) => secondsOfRun(steps, costs, settings, stepsPerEpoch)
  if (seconds(totalSteps) <= available) return { epochs, maxSteps, evalEvery }
  const rare = Math.ceil((costs.validation + costs.save) / (VALIDATIONS * costs.step))
  if (isFree && evalEvery === 'epoch' && rare > stepsPerEpoch)
    return planWithin(time, costs, { ...settings, evalEvery: rare }, stepsPerEpoch, false)
  check(seconds(1) <= available, 'ERR_OPTION', () => {
    const least = Math.ceil(seconds(1) / PLANNED)
    const cure = settings.evaluateBefore ? ', evaluateBefore false, or fewer validation rows' : ''
    return `time: ${time} s is too short, one step with its evaluations takes ${least} s; give more time${cure}`
  })
  let [steps, tooMany] = [1, totalSteps]
  while (tooMany - steps > 1) {
    const middle = (steps + tooMany) >> 1
    if (seconds(middle) <= available) steps = middle
    else tooMany = middle
  }
  return { epochs: Math.ceil(steps / stepsPerEpoch), maxSteps: steps, evalEvery }
}

/** What a run of so many steps takes, from the measuring to the last evaluation. */
function secondsOfRun(steps: number, costs: Costs, settings: Asked, stepsPerEpoch: number): number {
  const { evalEvery, checkpointEvery, evaluateBefore } = settings
  const { step, validation, test, save, spent } = costs
  const due = (every: TrainSettings['evalEvery']) =>
    every === 'never' ? 0 : Math.ceil(steps / (every === 'epoch' ? stepsPerEpoch : every))
  // A validation that finds a better step saves it too.
  const saves = due(evalEvery) + (checkpointEvery === evalEvery ? 0 : due(checkpointEvery))
  const around = spent + (evaluateBefore ? validation + test : 0) + test
  return around + steps * step + due(evalEvery) * validation + saves * save
}

/** Settings of a run whose length its `time` decides: as a run that is to be resumed had them, else measured here. */
export async function settingsWithin(
  adapter: Adapter<Model>,
  data: TrainExamples,
  options: TrainOptions,
  settings: TrainSettings,
): Promise<TrainSettings> {
  const { time, communicator } = settings
  if (time === undefined) return settings
  check(communicator === undefined, 'ERR_OPTION', () => {
    return 'time: processes that train together would each plan another length; give maxSteps in place of time'
  })
  const before = await plannedBefore(settings)
  if (before) return { ...settings, ...before }
  const model = adapter.host
  const weights = resolveClassWeights(model, data.train, settings.classWeights)
  const stepsPerEpoch = epochOf(model, data.train, settings, weights, 0).length
  const costs = await measure(adapter, data, settings)
  return {
    ...settings,
    ...planWithin(Number(time), costs, settings, stepsPerEpoch, options.evalEvery === undefined),
  }
}

/** What was planned, where the run goes on from a checkpoint. */
async function plannedBefore(settings: TrainSettings): Promise<Planned | undefined> {
  const { epochs, maxSteps, evalEvery } = (await settingsBefore(settings)) ?? {}
  if (evalEvery !== 'epoch' && evalEvery !== 'never' && typeof evalEvery !== 'number') return undefined
  return { epochs: Number(epochs), maxSteps: typeof maxSteps === 'number' ? maxSteps : undefined, evalEvery }
}

const SAMPLED_STEPS = 6
const SAMPLED_EXAMPLES = 64

/** Times a few steps, evaluations and a write. Weights, states and masks of the run are as if it had not been. */
export async function measure(adapter: Adapter<Model>, data: TrainExamples, settings: TrainSettings): Promise<Costs> {
  const started = performance.now()
  const step = await timeSteps(adapter, data, settings)
  const rate = await evaluationRate(adapter.host, data, settings)
  const split = (examples: List<Example> = []) => tokensOf(examples) * rate
  const save = await timeSave(adapter, settings)
  const [validation, test] = [split(data.validation), split(data.test)]
  return { step, validation, test, save, spent: (performance.now() - started) / 1000 }
}

/** Seconds of a mean step: some of the first epoch's, at a rate of 0, which leaves every weight as it is. */
async function timeSteps(adapter: Adapter<Model>, { train }: TrainExamples, settings: TrainSettings): Promise<number> {
  const model = adapter.host
  const weights = resolveClassWeights(model, train, settings.classWeights)
  const epoch = epochOf(model, train, settings, weights, 0)
  const classWeights = weightsTensor(model, weights)
  const optimizer = optimizerOf(adapter, settings)
  try {
    const { seed } = settings
    const stepper = new Stepper(model, optimizer, { seed, objective: objectiveOf(settings, classWeights) })
    const places = spread(
      Array.from({ length: epoch.length }, (_, i) => i),
      SAMPLED_STEPS,
    )
    // The first one fills caches and pools, and is not counted.
    await (await stepper.launch(epoch.at(0), 0, 0)).numbers
    const from = performance.now()
    let tokens = 0
    for (const place of places) {
      const step = epoch.at(place)
      await (await stepper.launch(step, 0, 0)).numbers
      tokens += step.tokens
    }
    const rate = (performance.now() - from) / 1000 / tokens
    return (rate * tokensOf(train)) / epoch.length
  } finally {
    await model.device.synchronize()
    optimizer.arena.dispose()
    classWeights?.dispose()
  }
}

/** Seconds a token of evaluation. */
async function evaluationRate(model: Model, data: TrainExamples, settings: TrainSettings): Promise<number> {
  const sample = spread(data.validation?.length ? data.validation : (data.test ?? []), SAMPLED_EXAMPLES)
  if (sample.length === 0) return 0
  const { evalBatchSize: batchSize, transform, seed } = settings
  const { seconds, tokens } = await evaluate(model, sample, { batchSize, transform, seed })
  return seconds / tokens
}

/** What a checkpoint writes beside small files: weights, two moments, the best weights, the adapter. */
const WRITES = 5

async function timeSave({ trainable }: Adapter, { outputDir, checkpointEvery }: TrainSettings): Promise<number> {
  if (outputDir === undefined || checkpointEvery === 'never') return 0
  const from = performance.now()
  const bytes = new Uint8Array(trainable.reduce((sum, { size }) => sum + 4 * size, 0))
  const probe = join(outputDir, '.lowrank-write-test')
  await writeFileAtomic(probe, bytes)
  await rm(probe, { force: true })
  createHash('sha256').update(bytes).digest()
  return (WRITES * (performance.now() - from)) / 1000
}
