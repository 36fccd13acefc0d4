// lowrank.json: what an adapter folder says beside PEFT's two files, so that its model can be built again.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../errors.ts'
import { portableName } from '../hub/id.ts'
import { referenceOf } from '../hub/reference.ts'
import { isJsonObject, isObject, type Json, type JsonObject, type PyObject, readJson, shown } from '../io/json.ts'
import { isTexts } from '../tuple.ts'
import { readAdapterConfig } from './config.ts'
import { textIn } from './fields.ts'
import type { Host } from './method.ts'
import { taskOfPeftType } from './task.ts'

export const infoFile = 'lowrank.json'

/** What is known of a saved adapter or fine-tuned model before its base is loaded. */
export interface AdapterInfo {
  /** 'lora', 'full' … */
  readonly method: string
  readonly modelType: string | undefined
  readonly task: string | undefined
  /** 'single', 'multi' or 'regression'. */
  readonly problem: string | undefined
  /** Classes in the order of their ids. */
  readonly labels: readonly string[] | undefined
  /** Where the base was loaded from: a folder, or a name on a hub. */
  readonly baseModel: string | undefined
  /** The commit, branch or tag of a base from a hub. */
  readonly baseRevision?: string | undefined
  /** Its name and hash, by which it is known on other machines; undefined where the file does not say. */
  readonly base?: { readonly name: string; readonly sha256: string } | undefined
  /** What was handed to saveAdapter as `extra`. */
  readonly extra: JsonObject
}

/** The object of lowrank.json. */
export async function infoRecord(
  host: Host,
  method: string,
  baseModel: string | undefined,
  extra: PyObject,
): Promise<PyObject> {
  const reference = host.path === undefined ? undefined : await referenceOf(host.path)
  return {
    format: 1,
    method,
    model_type: host.config.modelType,
    task: host.task,
    problem: host.head.problem,
    labels: [...host.labels],
    base_model: baseModel === undefined ? null : portableName(baseModel),
    base: reference ? { ...reference, revision: reference.revision ?? null } : null,
    extra,
  }
}

/**
 * Reads lowrank.json of a folder, or what adapter_config.json alone tells of one that PEFT wrote. Neither there, or a
 * value of the wrong kind: ERR_CONFIG.
 */
export async function readAdapterInfo(dir: string): Promise<AdapterInfo> {
  const path = join(dir, infoFile)
  if (!existsSync(path)) return infoOfPeft(dir)
  const values = readJson(path)
  check(isJsonObject(values), 'ERR_CONFIG', () => `${path}: is not an object; save the adapter again`)
  const record = values
  check(record.format === 1, 'ERR_CONFIG', () => {
    return `${path}: format is ${shown(record.format)}, this version reads 1; update the package`
  })
  const { labels, extra } = record
  check(isTexts(labels), 'ERR_CONFIG', () => `${path}: labels is not a list of names; save the adapter again`)
  return {
    method: textIn(path, record, 'method') ?? 'lora',
    modelType: textIn(path, record, 'model_type'),
    task: textIn(path, record, 'task'),
    problem: textIn(path, record, 'problem'),
    labels,
    baseModel: textIn(path, record, 'base_model'),
    base: baseIn(record.base),
    baseRevision: isJsonObject(record.base) ? textIn(path, record.base, 'revision') : undefined,
    extra: isJsonObject(extra) ? extra : {},
  }
}

function baseIn(value: Json | undefined): AdapterInfo['base'] {
  if (!isJsonObject(value) || typeof value.name !== 'string' || typeof value.sha256 !== 'string') return undefined
  return { name: value.name, sha256: value.sha256 }
}

function infoOfPeft(dir: string): AdapterInfo {
  const { path, peftType, values } = readAdapterConfig(dir)
  const taskType = textIn(path, values, 'task_type')
  const mapping = values.auto_mapping
  const library = isObject(mapping) ? textIn(path, mapping, 'parent_library') : undefined
  return {
    method: peftType.toLowerCase(),
    modelType: /^transformers\.models\.(\w+)\./.exec(library ?? '')?.[1],
    task: taskType === undefined ? undefined : taskOfPeftType(taskType),
    problem: undefined,
    labels: undefined,
    baseModel: textIn(path, values, 'base_model_name_or_path'),
    baseRevision: textIn(path, values, 'revision'),
    extra: {},
  }
}
