// manifest.json of a checkpoint: where it comes from, and the SHA-256 of every file and of itself.

import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fail } from '../errors.ts'
import { sha256File, writeFileAtomic } from '../io/atomic.ts'
import { readJson, shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import type { Origin } from './fingerprint.ts'

const VERSION = 1
export const MANIFEST = 'manifest.json'

/** Writes the manifest of a folder whose other files are all there. */
export async function writeManifest(folder: string, step: number, origin: Origin): Promise<void> {
  const files: Record<string, { bytes: number; sha256: string }> = {}
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const full = join(entry.parentPath, entry.name)
    const name = full.slice(folder.length + 1).replaceAll('\\', '/')
    files[name] = { bytes: (await stat(full)).size, sha256: await sha256File(full) }
  }
  const body = { format: 'lowrank-checkpoint', version: VERSION, step, origin, files }
  await writeFileAtomic(join(folder, MANIFEST), `${JSON.stringify({ ...body, sha256: sumOf(body) }, null, 1)}\n`)
}

const sumOf = (body: object): string => createHash('sha256').update(JSON.stringify(body)).digest('hex')

/** Reads the manifest of a folder and checks every file by it. Anything wrong: ERR_CHECKPOINT that says what. */
export async function readManifest(folder: string): Promise<{ step: number; origin: Origin }> {
  const broken = (what: string): never => fail('ERR_CHECKPOINT', `${folder}: ${what}; use another checkpoint`)
  const manifest = readJson(join(folder, MANIFEST), 'ERR_CHECKPOINT')
  if (!isRecord(manifest)) return broken(`${MANIFEST} is no object`)
  const { sha256, ...body } = manifest
  if (sumOf(body) !== sha256) return broken(`${MANIFEST} is not as it was written`)
  const { version, files, origin, step } = body
  if (version !== VERSION) return broken(`it has version ${version}, this program reads ${VERSION}`)
  if (typeof step !== 'number' || !Number.isSafeInteger(step)) return broken(`${MANIFEST}: step is ${shown(step)}`)
  if (!isRecord(files)) return broken(`${MANIFEST} lists no files`)
  if (!isOrigin(origin)) return broken(`${MANIFEST} does not say where the run came from`)
  for (const [name, file] of Object.entries(files)) {
    if (name.split('/').includes('..') || !isRecord(file)) return broken(`${MANIFEST} lists a file "${name}"`)
    const size = (await stat(join(folder, name)).catch(() => undefined))?.size
    if (size !== file.bytes) return broken(`${name} has ${size ?? 'no'} bytes, ${file.bytes} were written`)
    if ((await sha256File(join(folder, name))) !== file.sha256) return broken(`${name} is not as it was written`)
  }
  return { step, origin }
}

function isOrigin(value: unknown): value is Origin {
  if (!isRecord(value)) return false
  const keys = ['instructionSet', 'device', 'data', 'model', 'method'] satisfies (keyof Origin)[]
  return keys.every(key => typeof value[key] === 'string') && isRecord(value.settings)
}
