import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import type { PyObject } from '../io/parseJson.ts'
import { checkOptions, checkValues, isRecord } from '../options.ts'

/** What {@link saveAdapter} writes beside the tensors. */
export interface SaveOptions {
  /** What the file names as its base. Default: what it was loaded with, else the model's folder. */
  baseModel?: string | undefined
  /** Kept in lowrank.json, for the caller's own use. */
  extra?: PyObject
  /** What it is called in files. Default: its name. */
  name?: string
  /** Folder of a tokenizer to copy. Default: none, and for a method that is saved as a whole model the base's. */
  tokenizer?: string | undefined
}

/** @throws ERR_OPTION for an option that there is not */
export function checkSaveOptions(options: SaveOptions): void {
  checkOptions('saveAdapter', options, { baseModel: true, extra: true, name: true, tokenizer: true })
  const { extra, name } = options
  checkValues({ baseModel: { kind: 'path' }, name: { kind: 'path' }, tokenizer: { kind: 'path' } }, options)
  check(extra === undefined || isRecord(extra), 'ERR_OPTION', () => `extra: ${shown(extra)} is no object`)
  // Its folder is called so.
  check(name === undefined || /^[A-Za-z0-9_-]+$/.test(name), 'ERR_OPTION', () => {
    return `name: ${shown(name)} is no name of an adapter; use letters, digits, _ and -`
  })
}
