// What is read from files, before anybody knows what it is.

import { readFile } from 'node:fs/promises'
import { fail, messageOf, systemCode } from '../errors.ts'
import { isRecord } from '../options.ts'

/** A parsed JSON object. */
export type Fields = Readonly<Record<string, unknown>>

/** `value` as a JSON object, or undefined. */
export function asObject(value: unknown): Fields | undefined {
  return isRecord(value) ? value : undefined
}

/** Items of `value`, or none when it is not an array. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The text of a file; undefined where there is none. @throws ERR_CONFIG for one that cannot be read */
export async function readTextAt(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    fail('ERR_CONFIG', `tokenizer: cannot read ${file}: ${messageOf(error)}`, error)
  }
}
