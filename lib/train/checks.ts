// What is looked at before a run: errors for what cannot train, warnings for what is likely not meant.

import { SPLITS } from '../data/duplicates.ts'
import { type Example, IGNORED, sequencesOf } from '../data/example.ts'
import type { List } from '../data/list.ts'
import { check } from '../errors.ts'
import type { Model } from '../model.ts'
import { maxTokens } from '../nn/batch.ts'
import { warmupStepsOf } from '../optim/schedule.ts'
import { Adapter } from '../peft/adapter.ts'
import { examplesOf } from '../tasks/encode.ts'
import { taskOfModel } from '../tasks/index.ts'
import { classCounts, supervision } from '../tasks/supervision.ts'
import type { TrainData, TrainExamples, TrainOptions, WarningEvent } from './events.ts'
import { checkTrainOptions, type TrainSettings } from './settings.ts'

/** Share of cut examples from which on a warning is due. */
const MOST_TRUNCATED = 0.3
/** A tenth of its usual rate hardly moves an adapter; six times that of all weights may undo the pretraining. */
const [LOW, HIGH] = [1 / 10, 6]

type Warn = Omit<WarningEvent, 'type'>

/**
 * Checks splits and settings against the model.
 * @throws ERR_DATA for an empty training split, examples without tokens or too long for the model, no label that
 * counts, or one class alone; ERR_OPTION for a method that cannot train
 */
export function checkRun(adapter: Adapter<Model>, data: TrainExamples, settings: TrainSettings): WarningEvent[] {
  const model = adapter.host
  checkAdapter(adapter)
  check(data.train.length > 0, 'ERR_DATA', () => 'train: the training split is empty; give it at least one row')
  const warnings: Warn[] = [...learningRate(adapter, settings)]
  for (const split of SPLITS) {
    const examples = data[split]
    if (!examples) continue
    checkLengths(model, split, examples)
    warnings.push(...(examples.length === 0 ? emptySplit(split) : splitWarnings(model, split, examples)))
  }
  return warnings.map(warning => ({ type: 'warning', ...warning }))
}

/** What is to be told of a schedule, once it is known how many steps there are. */
export function scheduleWarnings({ warmup }: TrainSettings, { totalSteps }: { totalSteps: number }): WarningEvent[] {
  const steps = warmupStepsOf(warmup, totalSteps)
  if (steps < totalSteps) return []
  const message = `warmup: ${steps} steps, and the run has ${totalSteps}; the learning rate never reaches lr`
  return [{ type: 'warning', code: 'long-warmup', message, cure: 'give a share of the steps below 1, or train longer' }]
}

function checkAdapter({ name, isMerged, isActive, trainable }: Adapter): void {
  check(!isMerged, 'ERR_OPTION', () => `train: adapter "${name}" is merged; unmerge it first`)
  check(isActive, 'ERR_OPTION', () => `train: adapter "${name}" is switched off; switch it on first`)
  check(trainable.length > 0, 'ERR_OPTION', () => {
    return `train: adapter "${name}" has nothing to train; load it with trainable: true`
  })
}

/**
 * The data of a run, as lists.
 * @throws ERR_OPTION for what JavaScript may hand to `what` in the places of an adapter, its data and options
 */
export function checkArguments(what: string, adapter: unknown, data: TrainData, options: TrainOptions): TrainExamples {
  checkTrainOptions(what, options)
  check(adapter instanceof Adapter, 'ERR_OPTION', () => {
    return `${what}: the first argument is no adapter; call ${what}(attach(model, lora()), data, options)`
  })
  check(data?.train !== undefined, 'ERR_OPTION', () => {
    return `${what}: the data have no train split; give { train, validation, test }, as prepareData does`
  })
  return splitsOf(data)
}

/** The examples of each split. */
export function splitsOf({ train, validation, test }: TrainData): TrainExamples {
  const others = { ...(validation && { validation: examplesOf(validation) }), ...(test && { test: examplesOf(test) }) }
  return { train: examplesOf(train), ...others }
}

function learningRate({ method, name }: Adapter, { lr }: TrainSettings): Warn[] {
  const { kind } = method
  const isWhole = kind.peftType === undefined
  if (!isWhole && lr <= kind.lr * LOW)
    return [
      {
        code: 'low-lr',
        message: `lr: ${lr} is low for ${kind.title}; what "${name}" trains would hardly move`,
        cure: `use about ${kind.lr}`,
      },
    ]
  if (isWhole && lr >= kind.lr * HIGH)
    return [
      {
        code: 'high-lr',
        message: `lr: ${lr} is a rate for adapters; ${kind.title} at it may undo the pretraining`,
        cure: `use about ${kind.lr}`,
      },
    ]
  return []
}

function checkLengths(model: Model, split: string, examples: List<Example>): void {
  const longest = maxTokens(model.backbone.limits)
  let i = 0
  for (const example of examples) {
    const { row } = example
    const lengths = sequencesOf(example).map(({ ids }) => ids.length)
    check(Math.min(...lengths) > 0, 'ERR_DATA', () => {
      return `train: example ${i} of ${split} (line ${row.line}) has no tokens; drop rows without text`
    })
    const most = Math.max(...lengths)
    check(most <= longest, 'ERR_DATA', () => {
      return `train: example ${i} of ${split} has ${most} tokens, the model takes ${longest}; lower maxLength`
    })
    i++
  }
}

function emptySplit(split: string): Warn[] {
  return [
    {
      code: 'empty-split',
      message: `the ${split} split is empty, so nothing is measured on it`,
      cure: 'give it rows, or split the training data',
    },
  ]
}

function splitWarnings(model: Model, split: string, examples: List<Example>): Warn[] {
  const warnings: Warn[] = []
  const cut = examples.filter(example => example.truncated).length
  if (cut > MOST_TRUNCATED * examples.length)
    warnings.push({
      code: 'truncated',
      message: `${cut} of ${examples.length} examples of the ${split} split are cut, and their ends unseen`,
      cure: 'raise maxLength, or cut the texts yourself',
    })
  const task = taskOfModel(model)
  if (task.transform) return warnings
  const { total, without } = supervision(model, examples)
  check(total > 0, 'ERR_DATA', () => {
    return `train: no label of the ${split} split counts (all missing or ${IGNORED}); check the label column`
  })
  if (without > 0)
    warnings.push({
      code: 'unlabelled',
      message: `${without} of ${examples.length} examples of the ${split} split have no label that counts`,
      cure: 'drop these rows, or label them',
    })
  const counts = classCounts(task, examples, model.head.outputs)
  return [...warnings, ...((counts && task.checkCounts?.(split, counts, model.labels)) ?? [])]
}

/**
 * Class weights as numbers, undefined for `none`. `balanced`: n / (classes · count), as scikit-learn; for several
 * labels, where they weigh the positives, negatives / positives. A class without examples gets 0, or 1 where positives
 * are weighed.
 */
export function resolveClassWeights(
  model: Model,
  examples: List<Example>,
  weights: TrainSettings['classWeights'],
): readonly number[] | undefined {
  if (weights === 'none') return undefined
  if (weights !== 'balanced') return weights
  const task = taskOfModel(model)
  const counts = classCounts(task, examples, model.head.outputs)
  return counts && task.balance?.(counts, examples.length)
}
