// From a folder that train (or PEFT) wrote to a model that can be used.

import { existsSync, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { bundled } from '../bundled.ts'
import type { ColumnNames } from '../data/columns.ts'
import { check, fail, LowrankError } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { checkNames } from '../heads/headSource.ts'
import { HEADS, headOf, headTasks, type TaskName, unknownTask } from '../heads/index.ts'
import { localFolder } from '../hub/folder.ts'
import { hubIdOf } from '../hub/id.ts'
import { referenceOf } from '../hub/reference.ts'
import { architectures, configLabels, readModelConfig } from '../io/config.ts'
import type { JsonObject } from '../io/json.ts'
import { isJsonObject } from '../io/json.ts'
import { isModelPath } from '../io/modelPath.ts'
import { openSafetensors, openTorchFile } from '../io/safetensors.ts'
import { VOCABULARIES } from '../io/tokenizerFiles.ts'
import type { Model } from '../model.ts'
import { MODEL_TYPES } from '../models/index.ts'
import { checkIdle } from '../options.ts'
import { type Adapter, type AdapterInfo, loadAdapter, readAdapterInfo } from '../peft/index.ts'
import type { TaskValues } from '../tasks/task.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'
import { must } from '../tuple.ts'
import { type Base, type BaseSettings, findBase, loadBase, maxLengthOf } from './base.ts'

/** A trained model with all that its use needs. */
export interface Trained {
  /** The folder of the adapter or model itself. */
  readonly folder: string
  readonly info: AdapterInfo
  readonly base: Base
  readonly model: Model
  /** Undefined where the folder holds a whole model. */
  readonly attached: Adapter<Model> | undefined
  readonly tokenizer: Tokenizer
  readonly maxLength: number
  /** Columns of the training data that were named by hand. */
  readonly columnNames: ColumnNames
  /** How the conversations of the training data were read. */
  readonly taskOptions: TaskValues
  /** What its user should know, e.g. that the base is another than the one trained on. */
  readonly notices: readonly string[]
}

/** What of the settings decides how a trained folder is opened. */
export interface TrainedSettings extends BaseSettings {
  /** The folder. */
  readonly adapter?: string | undefined
  /** Where the folder does not say its task. */
  readonly task?: string | boolean | undefined
  readonly labels?: readonly string[] | undefined
}

/**
 * Opens an adapter, a fine-tuned model folder or a GGUF file, on the device of the settings or another.
 * @throws ERR_CONFIG, ERR_CHECKPOINT, ERR_OPTION
 */
export async function openTrained(
  settings: TrainedSettings,
  { device, ...options }: { trainable?: boolean; name?: string; device?: string } = {},
): Promise<Trained> {
  const folder = await locate(settings.adapter ?? fail('ERR_OPTION', 'adapter: none given'))
  const isAdapter = existsSync(join(folder, 'adapter_config.json'))
  const info = await infoOf(folder, isAdapter)
  if (!isAdapter)
    for (const name of ['model', 'revision'] as const)
      checkIdle(name, settings[name], () => `on ${folder}, a whole model and no adapter`)
  const base = isAdapter ? await baseOf(folder, info, settings) : { path: folder, bundled: false }
  const task = taskFor(info, settings, folder)
  const labels = headOf(task).isLabelled ? labelsFor(folder, base.path, info, settings) : undefined
  const headRows = isAdapter ? 'byName' : 'inOrder'
  const model = await loadBase(base.path, { task, problem: problemFor(info), labels, headRows }, settings, device)
  try {
    if (!isAdapter) checkComplete(model, folder)
    if (!isAdapter) checkOwnTask(task, info, folder)
    const attached = isAdapter ? await loadAdapter(model, folder, options) : undefined
    const tokenizer = await tokenizerOf(folder, info, base, settings, isAdapter)
    const saved = info.extra.max_length
    const maxLength = settings.maxLength ?? (typeof saved === 'number' ? saved : undefined)
    const length = maxLengthOf({ ...settings, maxLength }, model, tokenizer)
    const { extra } = info
    const [columnNames, taskOptions] = [columnsOf(extra, folder), noted(extra, 'task_options', folder)]
    const notices = isAdapter ? await otherBase(info, base) : []
    return { folder, info, base, model, attached, tokenizer, maxLength: length, columnNames, taskOptions, notices }
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** Tells where a base is not the one that an adapter says it was trained on. */
async function otherBase({ base: known }: AdapterInfo, { path }: Base): Promise<string[]> {
  const here = known && (await referenceOf(path))
  if (!here || here.sha256 === known.sha256) return []
  const [wanted, found] = [known, here].map(({ name, sha256 }) => `${name} (SHA-256 ${sha256.slice(0, 12)}…)`)
  return [
    `adapter: it was trained on ${wanted}, the base here is ${found}: with other weights its answers mean nothing; ` +
      'name the base that it was trained on with model, or go on if this one was only saved anew',
  ]
}

/** Heads for other tasks may have layers of the same names. @throws ERR_OPTION */
function checkOwnTask(task: TaskName, info: AdapterInfo, folder: string): void {
  const own = headTasks.find(name => name === info.task)
  check(!own || headOf(own).sits === headOf(task).sits, 'ERR_OPTION', () => {
    return `task: ${task}, but the head of ${folder} is one for ${own}; leave it out, or train one with model`
  })
}

/** @throws ERR_CHECKPOINT for a folder without the head that its task needs */
function checkComplete({ newTensors, task }: Model, folder: string): void {
  check(newTensors.length === 0, 'ERR_CHECKPOINT', () => {
    const names = newTensors.slice(0, 4).join(', ')
    return (
      `adapter: ${folder} lacks ${names}${newTensors.length > 4 ? ' …' : ''}, so it has no trained head for ${task}; ` +
      'train one with model, or name the folder that has it'
    )
  })
}

/**
 * The folder or GGUF file itself, the adapter or model in a folder that train wrote, or the folder of an adapter or
 * model of the hub.
 */
export async function locate(path: string): Promise<string> {
  const cure = 'name what train wrote, or an adapter of the Hugging Face hub (owner/name)'
  const dir = resolve(await localFolder(path, { option: 'adapter', purpose: 'trained', cure }))
  const candidates = [dir, join(dir, 'adapter'), join(dir, 'model')]
  const found = candidates.find(candidate => {
    return existsSync(join(candidate, 'adapter_config.json')) || isModelPath(candidate)
  })
  check(found || !statSync(dir).isFile(), 'ERR_CONFIG', () => {
    return `adapter: ${path} is a file, neither GGUF nor a folder; name the folder that it lies in`
  })
  return (
    found ??
    fail(
      'ERR_CONFIG',
      `adapter: ${path} holds no adapter_config.json, nor config.json; name the folder that train wrote`,
    )
  )
}

async function infoOf(folder: string, isAdapter: boolean): Promise<AdapterInfo> {
  if (isAdapter || existsSync(join(folder, 'lowrank.json'))) return await readAdapterInfo(folder)
  const config = readModelConfig(folder, MODEL_TYPES)
  const labels = configLabels(config)?.id2label
  const [task] = architectures(config).flatMap(name => taskOfClass(name) ?? [])
  return {
    method: 'full',
    modelType: config.modelType,
    labels,
    task,
    problem: undefined,
    baseModel: undefined,
    extra: {},
  }
}

/** The base of a trained folder: the one named by hand, else the one it says. @throws ERR_CONFIG, ERR_HUB */
export async function baseOf(folder: string, info: AdapterInfo, settings: TrainedSettings): Promise<Base> {
  if (settings.model !== undefined) return await findBase(settings)
  check(settings.revision === undefined, 'ERR_OPTION', () => {
    return `revision: ${settings.revision} is a base's, and none is named; name it with model; for one of the adapter write it as name@revision`
  })
  if (info.extra.bundled === true) return await findBase({})
  const { baseModel } = info
  check(baseModel !== undefined, 'ERR_CONFIG', () => `adapter: ${folder} names no base; name it with model`)
  const places = isAbsolute(baseModel) ? [baseModel] : [resolve(baseModel), resolve(folder, baseModel)]
  const found = places.find(isModelPath)
  if (found === undefined && hubIdOf(baseModel))
    return await findBase({ model: baseModel, revision: info.baseRevision }).catch((error: unknown) => {
      if (!(error instanceof LowrankError) || error.code !== 'ERR_HUB') throw error
      const message = `adapter: its base "${baseModel}" is not here: ${error.message}; name a folder with model`
      fail('ERR_HUB', message, error)
    })
  check(found, 'ERR_CONFIG', () => {
    const known = info.base ? ` (${info.base.name}, SHA-256 ${info.base.sha256})` : ''
    return `adapter: its base "${baseModel}"${known} is no model here; name its folder or GGUF file with model`
  })
  return { path: found, bundled: found === bundled.encoder }
}

function taskFor(info: AdapterInfo, settings: TrainedSettings, folder: string): TaskName {
  const task = settings.task ?? info.task
  const known = headTasks.find(name => name === task)
  check(known !== undefined || settings.task === undefined, 'ERR_OPTION', () => unknownTask(String(settings.task)))
  return (
    known ?? fail('ERR_CONFIG', `adapter: ${folder} does not say its task; name it with task (${headTasks.join(', ')})`)
  )
}

function problemFor({ problem }: AdapterInfo): Problem | undefined {
  return problem === 'single' || problem === 'multi' || problem === 'regression' ? problem : undefined
}

/** Names from the adapter, the command line or the base's config, else one for each row of the classifier. */
function labelsFor(
  folder: string,
  base: string,
  info: AdapterInfo,
  { labels }: TrainedSettings,
): readonly string[] | undefined {
  checkNames(labels)
  const own = info.labels && info.labels.length > 0 ? info.labels : undefined
  const isAdapter = existsSync(join(folder, 'adapter_config.json'))
  check(!labels || !own || !isAdapter || labels.join('\n') === own.join('\n'), 'ERR_OPTION', () => {
    return `labels: the adapter was trained on ${must(own, 'own').join(', ')}, not ${must(labels, 'labels').join(', ')}; leave labels out`
  })
  const known = labels ?? own
  if (known) return known
  const [path, older] = [join(folder, 'adapter_model.safetensors'), join(folder, 'adapter_model.bin')]
  const isOlder = !existsSync(path) && existsSync(older)
  if (!isOlder && !existsSync(path)) return undefined
  const file = isOlder ? openTorchFile(older) : openSafetensors(path)
  try {
    const head = file.names().find(name => /\b(classifier|score|out_proj)\.weight$/.test(name))
    const rows = head === undefined ? undefined : file.info(head).shape[0]
    const config = configLabels(readModelConfig(base, MODEL_TYPES))?.id2label
    if (rows === undefined || config?.length === rows) return config
    return Array.from({ length: rows }, (_, i) => `LABEL_${i}`)
  } finally {
    file.close()
  }
}

async function tokenizerOf(
  folder: string,
  { extra, baseModel }: AdapterInfo,
  base: Base,
  settings: TrainedSettings,
  isAdapter: boolean,
): Promise<Tokenizer> {
  const side = settings.truncationSide ?? extra.truncation_side
  const options = { truncationSide: side === 'left' || side === 'right' ? side : undefined } as const
  if (settings.tokenizer !== undefined) return await loadTokenizer(settings.tokenizer, options)
  const brings = VOCABULARIES.some(name => existsSync(join(folder, name)))
  if (isAdapter && brings) return await loadTokenizer(folder, options)
  // A whole model's folder has the tokenizer that it was trained with.
  const saved = isAdapter ? extra.tokenizer : undefined
  if (typeof saved !== 'string' || saved === baseModel) return await loadTokenizer(base.path, options)
  // A name without an owner is far more often a folder that is gone than a model of the hub.
  check(existsSync(saved) || (saved.includes('/') && hubIdOf(saved)), 'ERR_CONFIG', () => {
    return `adapter: it was trained with the tokenizer of ${saved}, which is not here; name its folder with tokenizer`
  })
  return await loadTokenizer(saved, options)
}

/** What training noted in a folder as an object; an empty one where it noted none. */
function noted(extra: JsonObject, key: string, folder: string): JsonObject {
  const value = extra[key] ?? {}
  check(isJsonObject(value), 'ERR_CONFIG', () => `adapter: ${key} of ${folder} is no object; train it again`)
  return value
}

function columnsOf(extra: JsonObject, folder: string): ColumnNames {
  const texts = Object.entries(noted(extra, 'columns', folder)).map(([part, name]) => {
    check(typeof name === 'string', 'ERR_CONFIG', () => `adapter: columns.${part} of ${folder} is no text; mend it`)
    return [part, name]
  })
  return Object.fromEntries(texts)
}

/** The task of a transformers class such as BertForTokenClassification. */
export function taskOfClass(name: string): TaskName | undefined {
  return HEADS.find(({ classSuffix }) => name.endsWith(classSuffix))?.task
}
