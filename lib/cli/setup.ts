// Everything that training needs, made from settings: data, model, method, examples.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { labelMap } from '../data/labels.ts'
import { check, fail, LowrankError } from '../errors.ts'
import { portableName } from '../hub/id.ts'
import { isPyJson } from '../io/json.ts'
import type { Model } from '../model.ts'
import {
  type Base,
  baseLabels,
  findBase,
  findTokenizer,
  loadBase,
  maxLengthOf,
  tasksOf,
  useThreads,
} from '../open/base.ts'
import { locate, openTrained } from '../open/trained.ts'
import {
  type Adapter,
  attach,
  createMethod,
  kindOf,
  loadAdapter,
  readAdapterInfo,
  type SaveOptions,
} from '../peft/index.ts'
import { encodeSplits } from '../tasks/encode.ts'
import { taskOf, taskOfModel } from '../tasks/index.ts'
import { taskValues } from '../tasks/options.ts'
import { headFor, inOrderOf, type SplitData, settledOptions } from '../tasks/prepare.ts'
import type { TaskValues } from '../tasks/task.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { TrainExamples, TrainOptions } from '../train/events.ts'
import { TRAIN_OPTIONS, type TrainOptionName, type TrainValues } from '../train/options.ts'
import { keysOf, must, pick } from '../tuple.ts'
import { readSplits, sayFor, specOf } from './data.ts'
import type { Settings } from './options/options.ts'
import type { RunFolder } from './runFolder.ts'
import type { Console } from './terminal/console.ts'
import { plural } from './terminal/format.ts'

/** What training works on. */
export interface Setup {
  readonly base: Base
  readonly tokenizer: Tokenizer
  readonly data: SplitData
  readonly model: Model
  readonly attached: Adapter<Model>
  /** A larger model that is learned from. */
  readonly teacher?: Model | undefined
  readonly maxLength: number
  /** Options of the task's own: given, or settled by the rows. */
  readonly taskOptions: TaskValues
  readonly examples: TrainExamples
  readonly truncated: number
}

/** What is there before a method. */
export type Prepared = Omit<Setup, 'attached'>

/** A run that is to be made. */
export interface RunSetup extends Setup {
  readonly folder: RunFolder
  /** Whether checkpoints are kept. */
  readonly checkpoints: boolean
}

/** Reads data, loads the base, attaches the method, encodes the splits; tells what it found out. */
export async function prepareTraining(settings: Settings, console: Console, device: string): Promise<Setup> {
  const initial = settings.initFrom === undefined ? undefined : await locate(settings.initFrom)
  const whole = initial !== undefined && !existsSync(join(initial, 'adapter_config.json'))
  const prepared = await prepareBase(settings, console, device, initial, whole)
  try {
    const attached = await attachMethod(prepared.model, settings, whole ? undefined : initial)
    warnOfNewTensors(prepared.model, initial !== undefined, console)
    return { ...prepared, attached, teacher: await openTeacher(prepared, settings, device) }
  } catch (error) {
    prepared.model.dispose()
    throw error
  }
}

/** @throws ERR_OPTION where the teacher has other tokens; as `openTrained` */
async function openTeacher(
  { tokenizer, model }: Pick<Setup, 'tokenizer' | 'model'>,
  { teacher, storage, compute, seed, device }: Settings,
  at: string,
): Promise<Model | undefined> {
  if (teacher === undefined) return undefined
  const known = { adapter: teacher, task: model.task, storage, compute, seed, device }
  const { model: found, tokenizer: theirs } = await openTrained(known, { device: at }).catch((error: unknown) => {
    if (!(error instanceof LowrankError)) throw error
    fail(error.code, error.message.replace(/^(adapter|loadModel|tokenizer)(?=:)/, 'teacher'), error)
  })
  const size = Math.max(tokenizer.vocabSize, theirs.vocabSize)
  for (let id = 0; id < size; id++) {
    const [ours, other] = [tokenizer, theirs].map(each => each.token(id) ?? 'nothing')
    if (ours === other) continue
    found.dispose()
    fail(
      'ERR_OPTION',
      `teacher: token ${id} is "${other}" in ${teacher}, "${ours}" here; name a teacher with the same tokenizer`,
    )
  }
  return found
}

/** As {@link prepareTraining}, with no method on the base. `initial`: what to start from, a model if it is `whole`. */
export async function prepareBase(
  settings: Settings,
  console: Console,
  device: string,
  initial?: string,
  whole = false,
): Promise<Prepared> {
  useThreads(settings)
  const base = whole ? { path: must(initial, 'initial'), bundled: false } : await findBase(settings)
  const tokenizer = await findTokenizer(settings, base.path)
  const known = initial === undefined ? undefined : (await readAdapterInfo(initial)).labels
  const read = await readSplits(settings, tasksOf(base.path), known && known.length > 0 ? labelMap(known) : undefined)
  const data = known || settings.labels ? read : inOrderOf(read, baseLabels(base.path))
  for (const notice of data.notices) console.note(notice)
  checkClasses(data, settings.labels)
  const model = await loadBase(
    base.path,
    { ...headFor(data, settings.labels), headRows: settings.newHead ? 'anew' : 'byName' },
    settings,
    device,
  )
  try {
    const maxLength = maxLengthOf(settings, model, tokenizer)
    const taskOptions = settledOptions(data, taskValues(taskOf(data.choice), settings))
    const spec = specOf(data, maxLength, taskOptions)
    const { train, validation, test, truncated, unknown } = await encodeSplits(data.splits, tokenizer, spec)
    const examples = { train: train.examples, validation: validation.examples, test: test.examples }
    if (truncated > 0) console.note(`${plural(truncated, 'example')} truncated to ${maxLength} tokens`)
    if (unknown !== undefined) console.warn(unknown)
    return { base, tokenizer, data, model, maxLength, taskOptions, examples, truncated }
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** What is saved beside an adapter, so that it is used as it was trained. */
export function saveOptions({ base, tokenizer, data, maxLength, taskOptions }: Prepared): SaveOptions {
  const options: unknown = taskOptions
  check(isPyJson(options), 'ERR_OPTION', () => {
    return `task: options ${Object.keys(taskOptions).join(', ')} cannot be written`
  })
  return {
    baseModel: base.path,
    tokenizer: tokenizer.path,
    extra: {
      max_length: maxLength,
      bundled: base.bundled,
      tokenizer: portableName(tokenizer.path),
      columns: { ...data.columns },
      task_options: options,
      truncation_side: tokenizer.truncationSide,
    },
  }
}

/** @throws ERR_DATA where all rows have one and the same label */
function checkClasses({ labels, choice, columns }: SplitData, named: readonly string[] | undefined): void {
  check(named?.length !== 1 || !taskOf(choice).oneClass, 'ERR_OPTION', () => {
    return `labels: "${must(named, 'named')[0]}" alone; name every class, since there is nothing to tell apart`
  })
  const alone = taskOf(choice).oneClass && labels?.names.length === 1 && !named
  check(!alone, 'ERR_DATA', () => {
    const name = `"${must(labels, 'labels').names[0]}"`
    return `labels: all rows have the label ${name} in "${columns.label}"; there is nothing to tell apart, add other rows`
  })
}

async function attachMethod(model: Model, settings: Settings, initial: string | undefined): Promise<Adapter<Model>> {
  if (initial !== undefined) return await loadAdapter(model, initial, { trainable: true })
  const { seed } = settings
  return attach(model, createMethod(settings.method, methodOptions(settings)), { seed })
}

/** The part of the settings that their method takes. */
export function methodOptions(settings: Pick<Settings, 'method'>): Readonly<Record<string, unknown>> {
  const { fields, recommended } = kindOf(settings.method)
  const names: readonly string[] = fields.map(({ name }) => name)
  const entries = Object.entries(settings).filter(([name, value]) => names.includes(name) && value !== undefined)
  const given = Object.fromEntries(entries)
  return { ...recommended?.(given), ...given }
}

/** The part of the settings that `train` takes; the caller adds signal, folders and checkpoints. */
export function trainOptions(settings: Settings, tokenizer: Tokenizer, model: Model): TrainOptions {
  const names = keysOf(TRAIN_OPTIONS)
  const ours = new Set<TrainOptionName>(['resume', 'overwrite', 'checkpointEvery', 'keepCheckpoints'])
  const values = pick<TrainValues, TrainOptionName>(
    settings,
    names.filter(name => !ours.has(name)),
  )
  const task = taskOfModel(model)
  const say = sayFor(task, tokenizer, settings)
  return { ...values, transform: task.transform?.(tokenizer, taskValues(task, settings)), say }
}

// A base always lacks a head for a new task; one that an adapter brings is not news.
function warnOfNewTensors(model: Model, brought: boolean, console: Console): void {
  for (const notice of model.notices) console.warn(notice)
  const names = model.newTensors
  if (names.length === 0 || brought) return
  console.warn(`newly initialised, to be trained and saved: ${names.join(', ')}`)
}
