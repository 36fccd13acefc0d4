// The adapters that PEFT made (test/golden/adapters, see its README), over the tiny checkpoints of test/golden/models.

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Tape } from '../../lib/autograd/tape.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, type SafetensorsFile } from '../../lib/io/safetensors.ts'
import { loadModel, type Model, type ModelOptions } from '../../lib/model.ts'
import { type PackedBatch, pack } from '../../lib/nn/batch.ts'
import type { Parameter } from '../../lib/nn/module.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { batchOf, ints, unpad } from '../support/padded.ts'
import { TASKS_BY_WORD } from '../support/targets.ts'
import { temporaryFolder } from '../support/temporary.ts'

export const MODELS = join(packageRoot, 'test/golden/models')
export const ADAPTERS = join(packageRoot, 'test/golden/adapters')
export const CASES = readdirSync(ADAPTERS).filter(name => existsSync(join(ADAPTERS, name, 'meta.json')))
const SEQ2SEQ = join(packageRoot, 'test/golden/seq2seq')

interface ModelMeta {
  task: string
  problem: 'regression' | 'multi_label_classification' | null
  labels: number | string[] | null
  lengths: number[]
  /** Of what an encoder-decoder is to say. */
  said?: number[]
}

export interface AdapterMeta {
  base: string
  task: string
  loss: number
  modules: Record<string, [number, number]>
  trainable: number
}

export const readMeta = <T>(dir: string): T => JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as T

/** The folder of a tiny checkpoint. */
export const folderOf = (name: string) => join(existsSync(join(SEQ2SEQ, name)) ? SEQ2SEQ : MODELS, name)

/** One of the tiny checkpoints with the head it was made for. */
export async function tinyModel(name: string, options: Partial<ModelOptions> = {}): Promise<Model> {
  const { task, labels, problem } = readMeta<ModelMeta>(folderOf(name))
  const names = typeof labels === 'number' ? Array.from({ length: labels }, (_, i) => `L${i}`) : (labels ?? undefined)
  const kind = problem === 'regression' ? 'regression' : problem ? 'multi' : 'single'
  return await loadModel(folderOf(name), { task: TASKS_BY_WORD[task]!, labels: names, problem: kind, ...options })
}

/** The inputs and labels of a tiny checkpoint. */
export function tinyBatch(name: string): {
  batch: PackedBatch
  labels: Int32Array | Float32Array
  total: number
  lengths: number[]
  said?: number[] | undefined
} {
  const { task, problem, lengths, said } = readMeta<ModelMeta>(folderOf(name))
  const io = openSafetensors(join(folderOf(name), 'io.safetensors'))
  const batch = batchOf(io, lengths)
  const raw = problem ? io.readF32('labels') : ints(io, 'labels')
  const labels = task === 'seq' ? raw : unpad(raw, said ?? lengths)
  if (said)
    batch.decoder = pack(said.map((length, i) => (raw as Int32Array).slice(i * width(said), i * width(said) + length)))
  io.close()
  const total = task === 'seq' ? lengths.length : Array.from(labels).filter(label => label !== -100).length
  return { batch, labels, total, lengths, said }
}

const width = (lengths: readonly number[]) => Math.max(...lengths)

/** Logits that PEFT computed, without padding. */
export function expectedLogits(io: SafetensorsFile, key: string, meta: AdapterMeta, lengths: number[]): Float32Array {
  const padded = io.readF32(key)
  return meta.task === 'seq' ? padded : unpad(padded, lengths, io.info(key).shape[2])
}

export async function logitsOf(model: Model, batch: PackedBatch): Promise<Float32Array> {
  const logits = scope(() => model.logits(batch))
  const data = await logits.data()
  logits.dispose()
  return data as Float32Array
}

/** Makes parameters train without an optimizer; returns what ends it. */
export function train(parameters: readonly Parameter[]): () => void {
  for (const { tensor, shape } of parameters) {
    tensor.requiresGrad = true
    tensor.grad = Tensor.zeros(shape, { device: tensor.device, dtype: tensor.dtype }).keep()
  }
  return () => {
    for (const { tensor } of parameters) {
      tensor.grad?.dispose()
      tensor.grad = undefined
      tensor.requiresGrad = false
    }
  }
}

/** Adds the gradients of a scalar to those of the leaves that train, and returns it. */
export async function backward(make: () => Tensor): Promise<number> {
  const tape = new Tape()
  const loss = tape.run(make)
  scope(() => {
    tape.backward(loss)
  })
  const value = await loss.item()
  loss.dispose()
  return value
}

/** Every byte of a model's parameters, by name. */
export async function bytesOf(model: Model): Promise<Map<string, string>> {
  const all = [...model.parameters.values()].map(async ({ name, tensor }) => {
    return [name, Buffer.from(await tensor.bytes()).toString('base64')] as const
  })
  return new Map(await Promise.all(all))
}

/** A fresh folder for the length of `body`. */
export async function withFolder<T>(body: (dir: string) => T | Promise<T>): Promise<T> {
  const dir = temporaryFolder()
  try {
    return await body(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
