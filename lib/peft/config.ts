// LoRA's settings, and the adapter_config.json of PEFT 0.21 that holds them: the one place that maps our names to
// PEFT's.

import { join } from 'node:path'
import { check, nearest } from '../errors.ts'
import {
  isObject,
  PyFloat,
  type PyJson,
  type PyObject,
  pyFloat,
  readExactJson,
  stringifyPython,
  writeJson,
} from '../io/json.ts'
import { defaultTargets, modulesToSaveFor, stablePattern } from './targets.ts'

/** The tasks PEFT knows; a model without one (masked LM, a custom head) has none. */
export type TaskType = (typeof taskTypes)[number]
export const taskTypes = [
  'SEQ_CLS',
  'SEQ_2_SEQ_LM',
  'CAUSAL_LM',
  'TOKEN_CLS',
  'QUESTION_ANS',
  'FEATURE_EXTRACTION',
] as const

/** Which biases are trained: none, all of the model, or those of the targeted modules. */
export type Bias = (typeof biases)[number]
const biases = ['none', 'all', 'lora_only'] as const

/** Settings of LoRA; every one may be left out. */
export interface LoraOptions {
  /** Rank of A and B. Default 8. */
  r?: number
  /** Scale times r (times √r with `useRslora`). Default 8. */
  alpha?: number
  /** Probability of dropping an input element of the low-rank path. Default 0. */
  dropout?: number
  /** Default 'none'. */
  bias?: Bias
  /** Names or path ends; or one Python regular expression for whole paths; or 'all-linear'. Default: the family's. */
  targetModules?: string | readonly string[] | undefined
  /** As `targetModules`; wins over it. */
  excludeModules?: string | readonly string[] | undefined
  /** Only modules of these layers, counted from 0; not with a regular expression. */
  layersToTransform?: number | readonly number[] | undefined
  /** The path segment before the layer number, where it is not the first numbered one. */
  layersPattern?: string | readonly string[] | undefined
  /** Other ranks, by path end or regular expression; the first that matches counts. */
  rankPattern?: Readonly<Record<string, number>>
  /** Other alphas, in the same way. */
  alphaPattern?: Readonly<Record<string, number>>
  /** Modules trained in full and saved beside the adapter; heads of a task are added by themselves. */
  modulesToSave?: readonly string[]
  /** Scale alpha/√r in place of alpha/r. Default false. */
  useRslora?: boolean
  /** f32 accuracy of the adapter's products beside bf16 activations (docs/exact-adapters.md). Default true. */
  exact?: boolean
  /** true: A uniform within ±1/√in, B 0; 'gaussian': A normal, deviation 1/r; false: both random. Default true. */
  initLoraWeights?: boolean | 'gaussian'
  /** Weight of the regulariser on A and B; it is part of training, not of the adapter's file. Default 0. */
  regularizer?: number
  /** 'l2': Σ ‖A‖² + ‖B‖²; 'orth': the mean of all ‖AAᵀ − I‖² and ‖BᵀB − I‖². Default 'l2'. */
  regularizerKind?: 'l2' | 'orth'
}

/** {@link LoraOptions} checked and with every default filled in; only choices with no default stay undefined. */
export interface ResolvedLora extends Required<LoraOptions> {}

const defaults: ResolvedLora = {
  r: 8,
  alpha: 8,
  dropout: 0,
  bias: 'none',
  targetModules: undefined,
  excludeModules: undefined,
  layersToTransform: undefined,
  layersPattern: undefined,
  rankPattern: {},
  alphaPattern: {},
  modulesToSave: [],
  useRslora: false,
  exact: true,
  initLoraWeights: true,
  regularizer: 0,
  regularizerKind: 'l2',
}

/** One setting: its name here, its name in PEFT's file, and what it may be. */
interface Field {
  readonly ours: keyof ResolvedLora
  readonly peft?: string
  readonly what: string
  readonly accepts: (value: unknown) => boolean
}

const fields: readonly Field[] = [
  { ours: 'r', peft: 'r', what: 'a whole number from 1', accepts: isRank },
  { ours: 'alpha', peft: 'lora_alpha', what: 'a finite number', accepts: Number.isFinite },
  { ours: 'dropout', peft: 'lora_dropout', what: 'a number from 0 up to 1', accepts: isDropout },
  { ours: 'bias', peft: 'bias', what: `one of ${biases.join(', ')}`, accepts: isOneOf(biases) },
  { ours: 'targetModules', peft: 'target_modules', what: namesOrRegex(), accepts: isNamesOrRegex },
  { ours: 'excludeModules', peft: 'exclude_modules', what: namesOrRegex(), accepts: isNamesOrRegex },
  {
    ours: 'layersToTransform',
    peft: 'layers_to_transform',
    what: 'a layer number or a list of them',
    accepts: isLayers,
  },
  { ours: 'layersPattern', peft: 'layers_pattern', what: 'a name or a list of names', accepts: isNamesOrRegex },
  { ours: 'rankPattern', peft: 'rank_pattern', what: 'an object of whole numbers from 1', accepts: isRecordOf(isRank) },
  { ours: 'alphaPattern', peft: 'alpha_pattern', what: 'an object of numbers', accepts: isRecordOf(Number.isFinite) },
  { ours: 'modulesToSave', peft: 'modules_to_save', what: 'a list of names', accepts: isNames },
  { ours: 'useRslora', peft: 'use_rslora', what: 'true or false', accepts: isOneOf([true, false]) },
  { ours: 'exact', what: 'true or false', accepts: isOneOf([true, false]) },
  { ours: 'initLoraWeights', peft: 'init_lora_weights', what: "true, false or 'gaussian'", accepts: isInit },
  { ours: 'regularizer', what: 'a number from 0', accepts: value => Number.isFinite(value) && Number(value) >= 0 },
  { ours: 'regularizerKind', what: "'l2' or 'orth'", accepts: isOneOf(['l2', 'orth']) },
]

/** Checks options and fills in defaults. Unknown key, wrong kind, value out of range: `ERR_OPTION`. */
export function resolveLora(options: LoraOptions): ResolvedLora {
  const names = Object.keys(defaults)
  for (const name of Object.keys(options))
    check(names.includes(name), 'ERR_OPTION', () => {
      return `lora: there is no option "${name}"${nearest(name, names)}; known are ${names.join(', ')}`
    })
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const resolved: ResolvedLora = { ...defaults, ...Object.fromEntries(given) }
  for (const { ours, what, accepts } of fields) {
    const value = resolved[ours]
    check(value === undefined || accepts(value), 'ERR_OPTION', () => `${ours}: ${show(value)} is not ${what}`)
  }
  const alphas = [resolved.alpha, ...Object.values(resolved.alphaPattern)]
  check(Math.min(...alphas) > 0, 'ERR_OPTION', () => {
    return `alpha: ${Math.min(...alphas)} would switch the adapter off or turn it round; give a number above 0`
  })
  return resolved
}

/** An adapter's `adapter_config.json` as it stands in the file, integers and floats kept apart. */
export interface AdapterConfig {
  readonly path: string
  /** The method, PEFT's upper-case name. */
  readonly peftType: string
  readonly values: PyObject
}

/** What a LoRA config says beside the options. */
export interface LoraConfig {
  readonly options: ResolvedLora
  readonly taskType: TaskType | undefined
  readonly baseModelNameOrPath: string | undefined
  readonly revision: string | undefined
}

/** Reads an adapter folder's config. No file, no object, no `peft_type` or one that is not upper-case: `ERR_CONFIG`. */
export function readAdapterConfig(dir: string): AdapterConfig {
  const path = join(dir, 'adapter_config.json')
  const values = readExactJson(path)
  check(isObject(values), 'ERR_CONFIG', () => `${path}: holds ${show(values)}, not an object; name an adapter folder`)
  const peftType = values.peft_type
  check(typeof peftType === 'string' && peftType !== '', 'ERR_CONFIG', () => {
    return `${path}: peft_type is ${show(peftType)}; it must name the method, e.g. "LORA"`
  })
  check(peftType === peftType.toUpperCase(), 'ERR_CONFIG', () => {
    return `${path}: peft_type is "${peftType}"; PEFT writes it "${peftType.toUpperCase()}"`
  })
  return { path, peftType, values }
}

// Settings that change what an adapter computes and are not built here; each with the value that leaves it out.
const notBuilt: Readonly<Record<string, PyJson>> = {
  alora_invocation_tokens: null,
  arrow_config: null,
  ensure_weight_tying: false,
  kasa_config: null,
  layer_replication: null,
  lora_bias: false,
  megatron_config: null,
  monteclora_config: null,
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  velora_config: null,
}

/**
 * The LoRA settings of a config file; keys it leaves out have PEFT's defaults. A value of the wrong kind (a rank
 * that is text, 0 or 8.0; an unknown bias or task): `ERR_CONFIG`. Another method, or a setting that changes what the
 * adapter computes and is not built here (DoRA, PiSSA …): `ERR_UNSUPPORTED`.
 */
export function loraFromConfig({ path, peftType, values }: AdapterConfig): LoraConfig {
  check(peftType === 'LORA', 'ERR_UNSUPPORTED', () => `${path}: peft_type is "${peftType}", not "LORA"`)
  for (const [key, neutral] of Object.entries(notBuilt)) {
    const value = values[key] ?? neutral
    const isNeutral = value === neutral || value === null || (Array.isArray(value) && value.length === 0)
    check(
      isNeutral,
      'ERR_UNSUPPORTED',
      () => `${path}: ${key} is ${show(value)}, which is not built; only ${show(neutral)} is`,
    )
  }
  const found = new Map<keyof ResolvedLora, unknown>()
  for (const { ours, peft, what, accepts } of fields) {
    const value = peft === undefined ? undefined : values[peft]
    if (value === undefined || value === null) continue
    const decoded =
      ours === 'initLoraWeights' ? loadedInit(path, value) : plain(value, ours === 'r' || ours === 'rankPattern')
    check(accepts(decoded), 'ERR_CONFIG', () => `${path}: ${peft} is ${show(value)}, not ${what}`)
    found.set(ours, decoded)
  }
  const taskType = text(path, values, 'task_type')
  check(taskType === undefined || isOneOf(taskTypes)(taskType), 'ERR_CONFIG', () => {
    return `${path}: task_type is "${taskType}"${nearest(taskType!, taskTypes)}; known are ${taskTypes.join(', ')}`
  })
  return {
    options: { ...defaults, ...Object.fromEntries(found) },
    taskType: taskType as TaskType | undefined,
    baseModelNameOrPath: text(path, values, 'base_model_name_or_path'),
    revision: text(path, values, 'revision'),
  }
}

/** What an adapter's file says beside the options. */
export interface AdapterContext {
  readonly modelType: string
  /** Paths of the modules that carry the adapter. */
  readonly targets: readonly string[]
  readonly taskType?: TaskType | undefined
  readonly baseModelNameOrPath?: string | undefined
  readonly revision?: string | undefined
  /** Whether base weights lie [in, out], as GPT-2's do. */
  readonly fanInFanOut?: boolean
  /** Class and Python module of the base model; PEFT notes them where there is no task. */
  readonly autoMapping?: { readonly baseModelClass: string; readonly parentLibrary: string } | undefined
}

/**
 * The object to be written as `adapter_config.json`, every key of PEFT 0.21 included. With `preserved`, the config
 * the adapter was loaded with, its unknown keys stay, and so does the spelling of every value that did not change.
 * Overlapping rank or alpha patterns are written so that they mean the same after PEFT's sorting.
 */
export function adapterRecord(options: ResolvedLora, context: AdapterContext, preserved?: AdapterConfig): PyObject {
  const { runtime_config: _, ...kept } = preserved?.values ?? {}
  const before = preserved && loraFromConfig(preserved)
  const record: Record<string, PyJson> = { ...blank, ...kept, inference_mode: true }
  for (const { ours, peft } of fields) {
    const isKept = before && peft! in kept && same(before.options[ours], options[ours])
    if (peft !== undefined && !isKept) record[peft] = encoded(ours, options, context)
  }
  record.modules_to_save = orNull(modulesToSaveFor(context.taskType, options.modulesToSave))
  record.fan_in_fan_out = context.fanInFanOut ?? false
  record.task_type = context.taskType ?? null
  record.base_model_name_or_path = context.baseModelNameOrPath ?? record.base_model_name_or_path ?? null
  record.revision = context.revision ?? record.revision ?? null
  if (context.autoMapping && !context.taskType) {
    const { baseModelClass, parentLibrary } = context.autoMapping
    record.auto_mapping = { base_model_class: baseModelClass, parent_library: parentLibrary }
  }
  return record
}

/** Writes {@link adapterRecord} into an adapter folder, byte for byte in PEFT's layout. Errors: `writeFileAtomic`'s. */
export async function writeAdapterConfig(dir: string, record: PyObject): Promise<void> {
  await writeJson(join(dir, 'adapter_config.json'), record)
}

/** Every key PEFT 0.21 writes for LoRA, with its default. */
const blank: PyObject = {
  ...notBuilt,
  alpha_pattern: {},
  auto_mapping: null,
  base_model_name_or_path: null,
  bias: 'none',
  corda_config: null,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_alpha: 8,
  lora_dropout: pyFloat(0),
  lora_ga_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  peft_type: 'LORA',
  peft_version: '0.21.0',
  qalora_group_size: 16,
  r: 8,
  rank_pattern: {},
  revision: null,
  target_modules: null,
  task_type: null,
  use_rslora: false,
}

function encoded(ours: keyof ResolvedLora, options: ResolvedLora, { modelType, targets }: AdapterContext): PyJson {
  if (ours === 'dropout') return pyFloat(options.dropout)
  if (ours === 'rankPattern' || ours === 'alphaPattern') return stablePattern(options[ours], targets)
  if (ours === 'targetModules') {
    const { targetModules } = options
    // PEFT never writes the short-hand, and a default of ours it may not know: the file names the modules.
    if (targetModules === undefined) return defaultTargets(modelType) ?? targets
    return typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear' ? targets : targetModules
  }
  return options[ours] ?? null
}

/** The initialisation a loaded adapter counts as: its tensors are in the file, so only a changed base matters. */
function loadedInit(path: string, value: PyJson): PyJson {
  if (value === 'eva' || value === 'orthogonal') return true
  check(typeof value !== 'string' || isInit(value), 'ERR_UNSUPPORTED', () => {
    return `${path}: init_lora_weights is ${show(value)}, which changes the base weights; convert it to plain LoRA`
  })
  return value
}

function text(path: string, values: PyObject, key: string): string | undefined {
  const value = values[key] ?? undefined
  check(
    value === undefined || typeof value === 'string',
    'ERR_CONFIG',
    () => `${path}: ${key} is ${show(value)}, not a text`,
  )
  return value
}

/** The JavaScript value of a JSON one; floats stay marked where only integers will do. */
function plain(value: PyJson, keepFloats: boolean): unknown {
  if (value instanceof PyFloat) return keepFloats ? value : value.value
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map((item: PyJson) => plain(item, keepFloats))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, keepFloats)]))
}

function same(a: unknown, b: unknown): boolean {
  // The order of a pattern's keys is part of its meaning, so a comparison of texts is the right one.
  return JSON.stringify(a) === JSON.stringify(b)
}

function orNull(names: readonly string[]): PyJson {
  return names.length === 0 ? null : names
}

function isRank(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 1
}

function isDropout(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value < 1
}

function isInit(value: unknown): boolean {
  return typeof value === 'boolean' || value === 'gaussian'
}

function isOneOf(known: readonly unknown[]): (value: unknown) => boolean {
  return value => known.includes(value)
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(name => typeof name === 'string' && name !== '')
}

function isNamesOrRegex(value: unknown): boolean {
  return typeof value === 'string' || isNames(value)
}

function namesOrRegex(): string {
  return 'a list of names or a regular expression'
}

function isLayers(value: unknown): boolean {
  const layers = Array.isArray(value) ? value : [value]
  return layers.every(layer => Number.isSafeInteger(layer) && layer >= 0)
}

function isRecordOf(accepts: (value: unknown) => boolean): (value: unknown) => boolean {
  return value => {
    return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(accepts)
  }
}

function show(value: unknown): string {
  if (value === undefined) return 'missing'
  const shown =
    typeof value === 'number' && !Number.isFinite(value)
      ? String(value)
      : stringifyPython(value as PyJson, { indent: 0 })
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown
}
