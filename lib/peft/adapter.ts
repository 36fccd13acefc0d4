// Attaching, saving and merging; loading and whole model folders are beside.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeFolderAtomic } from '../io/atomic.ts'
import { type PyObject, writeJson } from '../io/json.ts'
import { checkValues, snapshot, writeChecked } from './files.ts'
import { infoFile, infoRecord } from './info.ts'
import { saveMerged } from './merged.ts'
import type { Attached, AttachOptions, Host, Method } from './method.ts'

export { type LoadOptions, loadAdapter } from './load.ts'
export { saveMerged } from './merged.ts'

/** Puts a method on a model: {@link Method.attach}. */
export function attach(model: Host, method: Method, options: AttachOptions & { name?: string } = {}): Attached {
  return method.attach(model, options.name, options)
}

export interface SaveOptions {
  /** What the file names as its base. Default: what it was loaded with, else the model's folder. */
  baseModel?: string | undefined
  /** Kept in lowrank.json, for the caller's own use. */
  extra?: PyObject
}

/**
 * Writes an adapter as PEFT does, adapter_config.json and adapter_model.safetensors, with lowrank.json beside them
 * (task, labels, base). A name other than 'default' goes to a sub-folder of that name, as in PEFT. A method that
 * trains the model itself is written as a model folder. Returns the folder written.
 *
 * The tensors are those of the moment of the call. The folder appears whole; into one that is there each file is
 * written atomically, the config last. Then the file is read back and compared. Errors: ERR_CHECKPOINT for values that
 * are not finite, matrices never set, a disk that is full or gives other bytes; ERR_OPTION where it cannot be written.
 */
export async function saveAdapter(attached: Attached, dir: string, options: SaveOptions = {}): Promise<string> {
  const { host, name } = attached
  const config = attached.config(options.baseModel)
  const folder = config && name !== 'default' ? join(dir, name) : dir
  const base = options.baseModel ?? baseOf(config) ?? host.path
  const info = infoRecord(attached, base, options.extra ?? {})
  if (!config) {
    await saveMerged(host, folder, { info })
    return folder
  }
  const tensors = await snapshot(attached.tensors(), attached.fileDtypes)
  checkValues(tensors)
  const fill = async (into: string) => {
    await writeChecked(join(into, 'adapter_model.safetensors'), tensors)
    await writeJson(join(into, infoFile), info)
    await writeJson(join(into, 'adapter_config.json'), config)
  }
  if (existsSync(folder)) await fill(folder)
  else await writeFolderAtomic(folder, fill)
  return folder
}

function baseOf(config: PyObject | undefined): string | undefined {
  const base = config?.base_model_name_or_path
  return typeof base === 'string' ? base : undefined
}

/** Merges an adapter for good: its changes become the model's weights, its head the model's, and it is freed. */
export function mergeAdapter(attached: Attached): void {
  if (!attached.isMerged) attached.merge()
  attached.detach({ keep: true })
}
