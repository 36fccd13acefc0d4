// Everything that training needs, made from settings: data, model, method, examples.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { labelMap } from '../data/labels.ts'
import { check } from '../errors.ts'
import type { Model } from '../model.ts'
import { type Adapter, attach, createMethod, kindOf, loadAdapter, readAdapterInfo } from '../peft/index.ts'
import { taskOf, taskOfModel } from '../tasks/index.ts'
import { headFor, type SplitData } from '../tasks/prepare.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TrainData, TrainOptions } from '../train/events.ts'
import { locate } from './adapter.ts'
import { type Base, findBase, findTokenizer, lengthOf, loadBase, useThreads } from './base.ts'
import { encode, maskingFor, readSplits } from './data.ts'
import type { Settings } from './options/options.ts'
import type { Console } from './terminal/console.ts'
import { plural } from './terminal/format.ts'

/** What training works on. */
export interface Setup {
  readonly base: Base
  readonly tokenizer: Tokenizer
  readonly data: SplitData
  readonly model: Model
  readonly attached: Adapter
  readonly maxLength: number
  readonly examples: TrainData
  readonly truncated: number
}

/** Reads data, loads the base, attaches the method, encodes the splits; tells what it found out. */
export async function prepareTraining(settings: Settings, console: Console, device: string): Promise<Setup> {
  useThreads(settings)
  const initial = settings.initFrom === undefined ? undefined : locate(settings.initFrom)
  const whole = initial !== undefined && !existsSync(join(initial, 'adapter_config.json'))
  const base = whole ? { path: initial, bundled: false } : findBase(settings.model)
  const tokenizer = findTokenizer(settings, base.path)
  const known = initial === undefined ? undefined : readAdapterInfo(initial).labels
  const data = await readSplits(settings, known && known.length > 0 ? labelMap(known) : undefined)
  for (const notice of data.notices) console.note(notice)
  checkClasses(data)
  const model = loadBase(base.path, headFor(data, settings.labels), settings, device)
  try {
    const maxLength = lengthOf(settings, model, tokenizer)
    const encoded = {
      train: encode(data.splits.train, tokenizer, data, maxLength),
      validation: encode(data.splits.validation, tokenizer, data, maxLength),
      test: encode(data.splits.test, tokenizer, data, maxLength),
    }
    const truncated = encoded.train.truncated + encoded.validation.truncated + encoded.test.truncated
    if (truncated > 0) console.note(`${plural(truncated, 'example')} truncated to ${maxLength} tokens`)
    const examples = {
      train: encoded.train.examples,
      validation: encoded.validation.examples,
      test: encoded.test.examples,
    }
    const attached = attachMethod(model, settings, whole ? undefined : initial)
    warnOfNewTensors(model, initial !== undefined, console)
    return { base, tokenizer, data, model, attached, maxLength, examples, truncated }
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** @throws ERR_DATA where all rows have one and the same label */
function checkClasses({ labels, choice, columns }: SplitData): void {
  const alone = taskOf(choice).oneClass && labels?.names.length === 1
  check(!alone, 'ERR_DATA', () => {
    const name = `"${labels!.names[0]}"`
    return `labels: all rows have the label ${name} in "${columns.label}"; there is nothing to tell apart, add other rows`
  })
}

function attachMethod(model: Model, settings: Settings, initial: string | undefined): Adapter {
  if (initial !== undefined) return loadAdapter(model, initial, { trainable: true })
  const { seed } = settings
  return attach(model, createMethod(String(settings.method), methodOptions(settings)), { seed })
}

/** The part of the settings that their method takes. */
export function methodOptions(settings: Settings): Readonly<Record<string, unknown>> {
  const names = kindOf(String(settings.method)).fields.map(({ name }) => name as string)
  const entries = Object.entries(settings).filter(([name, value]) => names.includes(name) && value !== undefined)
  return Object.fromEntries(entries)
}

/** The part of the settings that `train` takes; the caller adds method, signal and folders. */
export function trainOptions(settings: Settings, tokenizer: Tokenizer, model: Model): Omit<TrainOptions, 'method'> {
  const { schedule } = settings
  return {
    epochs: settings.epochs,
    maxSteps: settings.maxSteps,
    batchSize: settings.batchSize,
    accumulate: settings.accumulate,
    evalBatchSize: settings.evalBatchSize,
    lr: settings.lr,
    schedule: schedule as TrainOptions['schedule'],
    warmup: settings.warmup,
    weightDecay: settings.weightDecay,
    clip: settings.clip,
    beta1: settings.beta1,
    beta2: settings.beta2,
    eps: settings.eps,
    optimizerStates: settings.optimizerStates as TrainOptions['optimizerStates'],
    seed: settings.seed,
    groupByLength: settings.groupByLength,
    dropLast: settings.dropLast,
    labelSmoothing: settings.labelSmoothing,
    classWeights: settings.classWeights,
    masking: maskingFor(taskOfModel(model), tokenizer, settings),
    evaluateBefore: settings.evaluateBefore,
    evalEvery: settings.evalEvery,
    metric: settings.metric,
    patience: settings.patience,
  }
}

// A base always lacks a head for a new task; one that an adapter brings is not news.
function warnOfNewTensors(model: Model, brought: boolean, console: Console): void {
  const names = model.newTensors
  if (names.length === 0 || brought) return
  console.warn(`newly initialised, to be trained and saved: ${names.join(', ')}`)
}
