import { type Passed, planBatches } from '../data/batchPlan.ts'
import { check, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import type { Model } from '../model.ts'
import type { Parameter } from '../nn/module.ts'
import { checkIdle, checkOptions, checkValues, type OptionsOf, type OptionTable, secondsOf } from '../options.ts'
import type { Adapter } from '../peft/adapter.ts'
import { taskOfModel } from '../tasks/index.ts'
import { defaultMetric, metricNames } from '../tasks/scores.ts'
import type { Task } from '../tasks/task.ts'
import { keysOf, marked, pick } from '../tuple.ts'
import { epochsFor, learningRateFor, patienceFor } from './defaults.ts'
import { checkTeacher } from './distillation.ts'
import { checkTransform } from './evaluate.ts'
import type { TrainOptions } from './events.ts'
import { TRAIN_DEFAULTS, TRAIN_OPTIONS, type TrainOptionName, type TrainValues } from './options.ts'

/** What `train` takes beside the table of options. */
type Rest = Pick<
  TrainOptions,
  'communicator' | 'objective' | 'outputDir' | 'progress' | 'say' | 'teacher' | 'transform'
>
type Found =
  | 'maxSteps'
  | 'batchSize'
  | 'batchTokens'
  | 'classWeights'
  | 'headLr'
  | 'time'
  | 'teacherWeight'
  | 'teacherTemperature'

/** Options with every default filled in and checked. */
export type TrainSettings = {
  readonly [K in Exclude<TrainOptionName, Found>]-?: Exclude<TrainValues[K], undefined>
} & Pick<TrainValues, Found> &
  Rest

const KNOWN: OptionsOf<TrainOptions> = {
  ...marked(TRAIN_OPTIONS),
  ...{ signal: true, communicator: true, objective: true, outputDir: true, progress: true, say: true },
  ...{ teacher: true, transform: true },
}

/** @throws ERR_OPTION for an option that a run does not have */
export function checkTrainOptions(what: string, options: TrainOptions): void {
  checkOptions(what, options, KNOWN)
}

/** How many examples a run has of each split. */
interface SplitLengths {
  readonly train: { readonly length: number } | Passed
  readonly validation?: { readonly length: number } | undefined
}

/**
 * Fills in defaults, some of them by the sizes of the splits.
 * @throws ERR_OPTION for an unknown option or a value out of range
 */
export function resolveTrainSettings(
  adapter: Adapter<Model>,
  options: TrainOptions,
  sizes: SplitLengths,
): TrainSettings {
  checkTrainOptions('train', options)
  const given = pick(
    options,
    keysOf(options).filter(name => options[name] !== undefined),
  )
  checkValues(TRAIN_OPTIONS, given)
  const values = { ...defaultsBeside(given), ...given }
  const { signal: _, ...rest } = { ...found(adapter, values, sizes), ...values }
  const settings = (rest.time === undefined ? rest : { ...rest, time: secondsOf(rest.time) }) as TrainSettings
  checkChoices(adapter.host, settings)
  check(options.headLr === undefined || trainsNewHead(adapter), 'ERR_OPTION', () => {
    return `headLr: ${options.headLr} has no effect: no head trains that the base lacks; leave it out`
  })
  checkPatience(options, sizes)
  return settings
}

/** Defaults, but of options in whose place others are given. @throws ERR_OPTION where both are given */
function defaultsBeside(given: TrainOptions): typeof TRAIN_DEFAULTS {
  const rows: OptionTable = TRAIN_OPTIONS
  const replaced = keysOf(given).flatMap(name => {
    const other = keysOf(TRAIN_OPTIONS).find(each => each === rows[name]?.instead)
    if (other === undefined) return []
    check(given[other] === undefined, 'ERR_OPTION', () => {
      return `${name}: ${shown(given[name])} stands in place of ${other}, which is ${shown(given[other])}; leave one of them out`
    })
    return [other]
  })
  return pick(
    TRAIN_DEFAULTS,
    keysOf(TRAIN_DEFAULTS).filter(name => !replaced.includes(name)),
  )
}

/** The rate of a method of usual rate `lr` for this model and its task. */
export function defaultRate(model: Model, lr: number): number {
  return learningRateFor(lr * (taskOfModel(model).pace?.lr ?? 1), model.backbone.hiddenSize)
}

/** What depends on model, method and data. */
function found({ host, method }: Adapter<Model>, options: TrainOptions, { train, validation }: SplitLengths) {
  const task = taskOfModel(host)
  const epochs = () => epochsFor(stepsOf(train, options), host.backbone.hiddenSize, task.pace?.steps)
  return {
    lr: defaultRate(host, method.kind.lr),
    ...(options.epochs === undefined && { epochs: epochs() }),
    patience: options.epochs === undefined && options.maxSteps === undefined ? patienceFor(validation?.length ?? 0) : 0,
    evalBatchSize: options.batchSize ?? TRAIN_DEFAULTS.batchSize,
    metric: defaultMetric(host),
    // A teacher teaches all words alike, and an objective of its own knows its weights.
    ...(!options.teacher && !options.objective && { classWeights: task.weights?.(host.labels) }),
  }
}

/** Whether a parameter that trains is one of the model's, which the base lacks: of a new head. */
export function isNewHead({ parameters }: Model, trained: Parameter): boolean {
  const own = trained.base ?? trained
  return own.isNew && parameters.get(own.name) === own
}

const trainsNewHead = ({ host, trainable }: Adapter<Model>) => trainable.some(p => isNewHead(host, p))

/** Steps of an epoch, for the number of epochs. */
function stepsOf(train: SplitLengths['train'], options: TrainOptions): number {
  const { batchSize = 1, batchTokens, accumulate = 1, seed, groupByLength } = options
  if (batchTokens === undefined || !(Symbol.iterator in train))
    return Math.ceil(train.length / (batchSize * accumulate))
  return planBatches(train, { batchTokens, accumulate, seed, groupByLength, shuffle: true }).steps
}

/** Patience counts validations. */
function checkPatience({ patience, evalEvery }: TrainOptions, { validation }: SplitLengths): void {
  const none = !validation?.length ? 'there is no validation split' : evalEvery === 'never' ? 'evalEvery is never' : ''
  check(
    !patience || none === '',
    'ERR_OPTION',
    () => `patience: ${patience} has no effect, since ${none}; leave it out`,
  )
}

function checkChoices(model: Model, settings: TrainSettings): void {
  const { transform, outputDir, resume, metric } = settings
  const task = taskOfModel(model)
  const metrics = metricNames(model)
  check(metrics.includes(metric), 'ERR_OPTION', () => {
    return `metric: "${metric}" is unknown${nearest(metric, metrics)}; the task has ${metrics.join(', ')}`
  })
  checkTransform(task, transform)
  check(!resume || outputDir !== undefined || typeof resume === 'string', 'ERR_OPTION', () => {
    return 'resume: there is no outputDir to look for checkpoints in; name it'
  })
  checkEffects(model, settings, task)
  checkTeaching(model, settings)
}

/** A teacher and what stands beside it. */
function checkTeaching(model: Model, { teacher, objective, classWeights, ...settings }: TrainSettings): void {
  if (!teacher) {
    for (const name of ['teacherWeight', 'teacherTemperature'] as const)
      checkIdle(name, settings[name], () => 'without a teacher', 'name one, or leave it out')
    return
  }
  check(!objective, 'ERR_OPTION', () => 'teacher: stands beside an objective of your own; leave one of them out')
  check(classWeights === undefined || classWeights === 'none', 'ERR_OPTION', () => {
    return 'classWeights: weigh labels, and a teacher teaches all rows alike; leave them out'
  })
  checkTeacher(model, teacher)
}

/** Options that a task has no use for. */
function checkEffects(model: Model, { classWeights, labelSmoothing, neftune }: TrainSettings, task: Task): void {
  const isVirtual = [...model.adapters.values()].some(a => a.isActive && a.virtual)
  check(neftune === 0 || !isVirtual, 'ERR_UNSUPPORTED', () => {
    return `neftune: ${neftune}, but trained prompts and prefixes have no noise; leave it out`
  })
  check(labelSmoothing === 0 || !task.graded, 'ERR_OPTION', () => {
    return `labelSmoothing: ${labelSmoothing}, but ${task.title} has no classes to spread a target over; leave it out`
  })
  if (classWeights === undefined || classWeights === 'none') return
  check(task.classes, 'ERR_OPTION', () => `classWeights: ${task.title} has no classes; leave them out`)
  if (classWeights === 'balanced') return
  check(Array.isArray(classWeights) && classWeights.length === model.head.outputs, 'ERR_OPTION', () => {
    return `classWeights: ${shown(classWeights)}, expected balanced or ${model.head.outputs} numbers`
  })
  const sound = classWeights.every(w => Number.isFinite(w) && w >= 0) && classWeights.some(w => w > 0)
  check(sound, 'ERR_OPTION', () => `classWeights: [${classWeights.join(', ')}], expected numbers of 0 or more`)
}
