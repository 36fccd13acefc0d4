// What a model folder is known by elsewhere: a name that is no path of this machine, and a hash of what it holds.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fail, LowrankError, systemCode } from '../errors.ts'
import { isGguf } from '../io/gguf/file.ts'
import { piecesOf } from '../io/gguf/pieces.ts'
import { isJsonObject, readJson } from '../io/json.ts'
import { hubOrigin } from './id.ts'

/** A base as an adapter names it. */
export interface BaseReference {
  /** Its id on the hub, or the one that its config says it came from, else the name of its folder. */
  readonly name: string
  /** The commit of the hub that it is. */
  readonly revision?: string | undefined
  /** SHA-256 of config.json and of the weights, or of the GGUF file, large ones by samples. */
  readonly sha256: string
}

const SAMPLES = 16
const SAMPLE_BYTES = 65_536

/**
 * The reference of a folder or GGUF file; undefined for a folder without config.json.
 * @throws ERR_CONFIG where it cannot be read
 */
export async function referenceOf(dir: string): Promise<BaseReference | undefined> {
  try {
    return await readReference(dir)
  } catch (error) {
    const code = systemCode(error)
    if (error instanceof LowrankError || code === undefined) throw error
    fail('ERR_CONFIG', `model: ${dir} cannot be read (${code}); make it readable again`, error)
  }
}

async function readReference(dir: string): Promise<BaseReference | undefined> {
  const hub = hubOrigin(dir)
  const revision = hub && { revision: hub.revision }
  if (isGguf(dir)) {
    const sha256 = await hashOf(dirname(dir), piecesOf(basename(dir)))
    return { name: hub?.id ?? basename(dir), sha256, ...revision }
  }
  const path = join(dir, 'config.json')
  if (!existsSync(path)) return undefined
  const config = readJson(path)
  const origin = isJsonObject(config) ? config._name_or_path : undefined
  const isId = typeof origin === 'string' && /^[\w.-]+\/[\w.-]+$/.test(origin)
  const files = (await readdir(dir)).filter(name => /\.(safetensors|bin)$/.test(name)).sort()
  const name = hub?.id ?? (isId ? origin : basename(dir))
  return { name, sha256: await hashOf(dir, ['config.json', ...files]), ...revision }
}

async function hashOf(dir: string, names: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const name of names) {
    hash.update(`${name};`)
    for await (const bytes of samplesOf(join(dir, name))) hash.update(bytes)
  }
  return hash.digest('hex')
}

/** The size of a file and its bytes: all, or pieces spread evenly over it. */
async function* samplesOf(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    yield Buffer.from(`${size};`)
    const whole = size <= SAMPLES * SAMPLE_BYTES
    const length = whole ? size : SAMPLE_BYTES
    for (let i = 0; i < (whole ? 1 : SAMPLES); i++) {
      const at = whole ? 0 : Math.floor(((size - length) * i) / (SAMPLES - 1))
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at)
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}
