import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** Runs `fn` with a temporary folder that holds the files. */
export async function withFiles(
  files: Readonly<Record<string, string | Uint8Array>>,
  fn: (path: (name: string) => string) => unknown,
): Promise<void> {
  const folder = temporaryFolder()
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
    await fn(name => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Fails unless `fn` throws or rejects with the coded error. */
export async function rejects(fn: () => unknown, code: string, message: RegExp): Promise<void> {
  try {
    await fn()
  } catch (error) {
    assert.instance(error, LowrankError, String(error))
    assert.is((error as LowrankError).code, code, String(error))
    assert.match((error as LowrankError).message, message)
    return
  }
  assert.unreachable(`expected ${code} ${message}`)
}

/** All items of an async iterable. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
