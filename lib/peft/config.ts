// adapter_config.json of PEFT 0.21: the one place that reads and writes it, by the fields of each method.

import { join } from 'node:path'
import { check, nearest } from '../errors.ts'
import { isObject, type PyJson, type PyObject, readExactJson, shown } from '../io/json.ts'
import { isOneOf, must } from '../tuple.ts'
import {
  type AdapterContext,
  decodeField,
  encodeField,
  type Field,
  fieldDefaults,
  type Resolved,
  textIn,
} from './fields.ts'
import { isHubConfig, valuesOfHub } from './hubConfig.ts'
import { type TaskType, taskTypes } from './taskType.ts'

export type { AdapterContext } from './fields.ts'
export type { TaskType } from './taskType.ts'

/** An adapter's `adapter_config.json` as it stands in the file, integers and floats kept apart. */
export interface AdapterConfig {
  readonly path: string
  /** The method, PEFT's upper-case name. */
  readonly peftType: string
  readonly values: PyObject
  /** Of AdapterHub's, whose values are translated: what the adapter is called in its file. */
  readonly hubName?: string
}

/** What a method's file is made of: the part of `MethodKind` that this file knows. */
interface FileKind {
  readonly peftType?: string
  readonly fields: readonly Field[]
  readonly keys?: PyObject
  readonly notBuilt?: PyObject
  extraKeys?(options: object): PyObject
}

/** What a config says. */
interface FileSettings {
  readonly options: Resolved
  readonly taskType: TaskType | undefined
  readonly baseModelNameOrPath: string | undefined
  readonly revision: string | undefined
}

/** Reads an adapter folder's config. No file, no object, no `peft_type` or one that is not upper-case: `ERR_CONFIG`. */
export function readAdapterConfig(dir: string): AdapterConfig {
  const path = join(dir, 'adapter_config.json')
  const values = readExactJson(path)
  check(isObject(values), 'ERR_CONFIG', () => `${path}: holds ${shown(values)}, not an object; name an adapter folder`)
  if (isHubConfig(values)) {
    return { path, peftType: 'BOTTLENECK', values: valuesOfHub(path, values), hubName: String(values.name) }
  }
  const peftType = values.peft_type
  check(typeof peftType === 'string' && peftType !== '', 'ERR_CONFIG', () => {
    return `${path}: peft_type is ${shown(peftType)}; it must name the method, e.g. "LORA"`
  })
  check(peftType === peftType.toUpperCase(), 'ERR_CONFIG', () => {
    return `${path}: peft_type is "${peftType}"; PEFT writes it "${peftType.toUpperCase()}"`
  })
  return { path, peftType, values }
}

/**
 * The settings of a config file; keys it leaves out have PEFT's defaults. A value of the wrong kind (a rank that is
 * text, 0 or 8.0; an unknown bias or task): `ERR_CONFIG`. Another method, or a setting that changes what the adapter
 * computes and is not built here: `ERR_UNSUPPORTED`.
 */
export function settingsOfFile(kind: FileKind, { path, peftType, values }: AdapterConfig): FileSettings {
  check(peftType === kind.peftType, 'ERR_UNSUPPORTED', () => {
    return `${path}: peft_type is "${peftType}", not "${kind.peftType}"`
  })
  for (const [key, neutral] of Object.entries(kind.notBuilt ?? {})) {
    const value = values[key] ?? neutral
    const isNeutral = value === neutral || value === null || (Array.isArray(value) && value.length === 0)
    check(
      isNeutral,
      'ERR_UNSUPPORTED',
      () => `${path}: ${key} is ${shown(value)}, which is not built; only ${shown(neutral)} is`,
    )
  }
  const options: Record<string, unknown> = { ...fieldDefaults(kind.fields) }
  for (const field of kind.fields) {
    const decoded = field.peft === undefined ? undefined : decodeField(field, path, values[field.peft])
    if (decoded !== undefined) options[field.name] = decoded
  }
  const taskType = textIn(path, values, 'task_type')
  check(taskType === undefined || isOneOf(taskTypes, taskType), 'ERR_CONFIG', () => {
    return `${path}: task_type is "${taskType}"${nearest(must(taskType, 'taskType'), taskTypes)}; known are ${taskTypes.join(', ')}`
  })
  return {
    options,
    taskType,
    baseModelNameOrPath: textIn(path, values, 'base_model_name_or_path'),
    revision: textIn(path, values, 'revision'),
  }
}

/**
 * The object to be written as `adapter_config.json`, every key of PEFT 0.21 included. With `preserved`, the config
 * the adapter was loaded with, its unknown keys stay, and so does the spelling of every value that did not change.
 * Overlapping rank or alpha patterns are written so that they mean the same after PEFT's sorting.
 */
export function adapterRecord(
  kind: FileKind,
  options: object,
  context: AdapterContext,
  preserved?: AdapterConfig,
): PyObject {
  const values: Resolved = { ...options }
  const { runtime_config: _, ...kept } = preserved?.values ?? {}
  const before = preserved && settingsOfFile(kind, preserved).options
  const record: Record<string, PyJson> = {
    ...{ ...common, ...kind.notBuilt, ...kind.keys, peft_type: kind.peftType ?? null },
    ...kept,
    inference_mode: true,
  }
  for (const field of kind.fields) {
    const { name, peft } = field
    if (peft === undefined) continue
    const isKept = before && peft in kept && same(before[name], values[name])
    if (!isKept || peft === 'modules_to_save') record[peft] = encodeField(field, values[name], context)
  }
  Object.assign(record, kind.extraKeys?.(options))
  if ('fan_in_fan_out' in record) record.fan_in_fan_out = context.fanInFanOut ?? false
  record.task_type = context.taskType ?? null
  record.base_model_name_or_path = context.baseModelNameOrPath ?? record.base_model_name_or_path ?? null
  record.revision = context.revision ?? record.revision ?? null
  if (context.autoMapping && !context.taskType) {
    const { baseModelClass, parentLibrary } = context.autoMapping
    record.auto_mapping = { base_model_class: baseModelClass, parent_library: parentLibrary }
  }
  return record
}

/** Keys of every method. */
const common: PyObject = {
  auto_mapping: null,
  base_model_name_or_path: null,
  inference_mode: true,
  peft_version: '0.21.0',
  revision: null,
  task_type: null,
}

function same(a: unknown, b: unknown): boolean {
  // The order of a pattern's keys is part of its meaning, so a comparison of texts is the right one.
  return JSON.stringify(a) === JSON.stringify(b)
}
