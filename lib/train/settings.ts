import { check, fail, nearest } from '../errors.ts'
import type { Model } from '../model.ts'
import { STATES } from '../optim/arena.ts'
import { SCHEDULES } from '../optim/schedule.ts'
import { taskOfModel } from '../tasks/index.ts'
import { defaultMetric, metricNames } from '../tasks/scores.ts'
import type { Task } from '../tasks/task.ts'
import type { TrainOptions } from './events.ts'

type OpenName = 'communicator' | 'maxSteps' | 'objective' | 'classWeights' | 'masking' | 'outputDir' | 'progress'
type Defaulted = Omit<TrainOptions, 'method' | 'signal' | OpenName>
type Open = Pick<TrainOptions, OpenName>

/** Options with every default filled in and checked. */
export type Settings = { readonly [K in keyof Defaulted]-?: Exclude<Defaulted[K], undefined> } & Open

const DEFAULTS = {
  epochs: 3,
  batchSize: 16,
  accumulate: 1,
  schedule: 'linear',
  warmup: 0.06,
  weightDecay: 0.01,
  clip: 1,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  optimizerStates: 'f32',
  seed: 42,
  groupByLength: false,
  dropLast: false,
  labelSmoothing: 0,
  evaluateBefore: true,
  evalEvery: 'epoch',
  patience: 0,
  checkpointEvery: 'epoch',
  keepCheckpoints: 2,
  resume: false,
  overwrite: false,
} as const

const OPEN = [
  'method',
  'signal',
  'objective',
  'communicator',
  'maxSteps',
  'classWeights',
  'masking',
  'outputDir',
  'progress',
  'lr',
  'evalBatchSize',
  'metric',
]

/** Fills in defaults. @throws ERR_OPTION for an unknown option or a value out of range */
export function resolveSettings(model: Model, options: TrainOptions): Settings {
  const known = [...Object.keys(DEFAULTS), ...OPEN]
  for (const key of Object.keys(options))
    if (!known.includes(key)) fail('ERR_OPTION', `${key}: is no option of train${nearest(key, known)}`)
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const settings = {
    ...DEFAULTS,
    lr: options.method.method.kind.lr,
    evalBatchSize: options.batchSize ?? DEFAULTS.batchSize,
    metric: defaultMetric(model),
    ...given,
  } as Settings & Partial<Pick<TrainOptions, 'method' | 'signal'>>
  const { method: _, signal: __, ...rest } = settings
  checkNumbers(rest)
  checkChoices(model, rest)
  return rest
}

function checkNumbers(settings: Settings): void {
  const { maxSteps = 1, lr, warmup, labelSmoothing, evalEvery, checkpointEvery, seed } = settings
  const whole = (name: string, value: number, least: number) =>
    check(Number.isSafeInteger(value) && value >= least, 'ERR_OPTION', () => {
      return `${name}: ${value}, expected a whole number from ${least}`
    })
  for (const name of ['epochs', 'batchSize', 'accumulate', 'evalBatchSize'] as const) whole(name, settings[name], 1)
  for (const name of ['patience', 'keepCheckpoints'] as const) whole(name, settings[name], 0)
  whole('maxSteps', maxSteps, 1)
  whole('seed', seed, 0)
  for (const [name, every] of Object.entries({ evalEvery, checkpointEvery }))
    if (typeof every === 'number') whole(name, every, 1)
    else
      check(every === 'epoch' || every === 'never', 'ERR_OPTION', () => {
        return `${name}: ${JSON.stringify(every)}, expected epoch, never or a number of steps`
      })
  check(Number.isFinite(lr) && lr > 0, 'ERR_OPTION', () => `lr: ${lr}, expected a number above 0`)
  check(Number.isFinite(warmup) && warmup >= 0, 'ERR_OPTION', () => `warmup: ${warmup}, expected 0 or more`)
  check(labelSmoothing >= 0 && labelSmoothing < 1, 'ERR_OPTION', () => {
    return `labelSmoothing: ${labelSmoothing}, expected 0 to below 1`
  })
}

function checkChoices(model: Model, settings: Settings): void {
  const { schedule, optimizerStates, masking, outputDir, resume, metric } = settings
  const task = taskOfModel(model)
  const metrics = metricNames(model)
  check(metrics.includes(metric), 'ERR_OPTION', () => {
    return `metric: "${metric}" is unknown${nearest(metric, metrics)}; the task has ${metrics.join(', ')}`
  })
  check(SCHEDULES.includes(schedule), 'ERR_OPTION', () => {
    return `schedule: "${schedule}" is unknown${nearest(schedule, SCHEDULES)}; use ${SCHEDULES.join(', ')}`
  })
  check(STATES.includes(optimizerStates), 'ERR_OPTION', () => {
    return `optimizerStates: "${optimizerStates}" is unknown${nearest(optimizerStates, STATES)}; use ${STATES.join(', ')}`
  })
  check((task.masks ?? false) === (masking !== undefined), 'ERR_OPTION', () => {
    const cure = masking
      ? `${task.title} hides no tokens; leave it out`
      : 'masked LM needs it; see maskingOf(tokenizer)'
    return `masking: ${cure}`
  })
  check(!resume || outputDir !== undefined || typeof resume === 'string', 'ERR_OPTION', () => {
    return 'resume: there is no outputDir to look for checkpoints in; name it'
  })
  checkEffects(model, settings, task)
}

/** Options that a task has no use for. */
function checkEffects(model: Model, { classWeights, labelSmoothing }: Settings, task: Task): void {
  check(labelSmoothing === 0 || !task.graded, 'ERR_OPTION', () => {
    return `labelSmoothing: ${labelSmoothing}, but ${task.title} has no classes to spread a target over; leave it out`
  })
  if (classWeights === undefined) return
  check(task.classes, 'ERR_OPTION', () => `classWeights: ${task.title} has no classes; leave them out`)
  if (classWeights === 'balanced') return
  check(Array.isArray(classWeights) && classWeights.length === model.head.outputs, 'ERR_OPTION', () => {
    return `classWeights: ${JSON.stringify(classWeights)}, expected balanced or ${model.head.outputs} numbers`
  })
  const sound = classWeights.every(w => Number.isFinite(w) && w >= 0) && classWeights.some(w => w > 0)
  check(sound, 'ERR_OPTION', () => `classWeights: [${classWeights.join(', ')}], expected numbers of 0 or more`)
}
