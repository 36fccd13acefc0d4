import type { PyObject } from '../io/parseJson.ts'
import { checkOptions } from '../options.ts'

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
}
