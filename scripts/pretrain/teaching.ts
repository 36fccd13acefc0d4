// What the teachings of the student share: its optimizer and rates, what a resumed run reads, how weights are written.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { encodeF32, openSafetensors, writeSafetensors } from '../../lib/io/safetensors.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import type { Parameter } from '../../lib/nn/module.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { learningRate } from '../../lib/optim/schedule.ts'
import { CACHE } from './sources.ts'

/** Between saves, in ms. */
export const SAVE_EVERY = 240_000

/** Where a run leaves what it needs to be resumed. */
interface StateFiles {
  readonly state: string
  readonly progress: string
}

export interface Progress {
  step: number
  /** Of training, over all runs. */
  seconds: number
  /** Pieces that the student read. */
  tokens: number
  losses: [step: number, loss: number][]
}

/** How fast a teaching goes; `fall`: the share of the steps, the last ones, over which the rate falls to 0. */
export interface Pace {
  readonly peakLr: number
  readonly warmupSteps: number
  readonly fall: number
}

export function stateFiles(name: string): StateFiles {
  return { state: join(CACHE, `${name}-state.safetensors`), progress: join(CACHE, `${name}-progress.json`) }
}

/** The options of a teaching, its number of threads set. */
export function teachingOptions() {
  const { values } = parseArgs({
    options: { threads: { type: 'string' }, resume: { type: 'boolean' }, steps: { type: 'string' } },
  })
  if (values.threads) native.setThreads(Number(values.threads))
  return values
}

/** The learning rate of step t of T: up in a line, level, and down in a line at the end. */
export function rateOf(t: number, totalSteps: number, { peakLr, warmupSteps, fall }: Pace): number {
  const level = learningRate(t, { schedule: 'constant', lr: peakLr, warmupSteps, totalSteps })
  return level * Math.min(1, (totalSteps - t) / (fall * totalSteps))
}

/** AdamW of the parameters of a student that `trains` takes. */
export function optimizerOf(student: Model, trains: (parameter: Parameter) => boolean): AdamW {
  const parameters = [...student.parameters.values()].filter(trains)
  const arena = new Arena(parameters, student.device, p => ({ decay: p.shape.length > 1 ? 1 : 0 }))
  return new AdamW(arena, { weightDecay: 0.01, eps: 1e-6, beta2: 0.98, clip: 1 })
}

/** Writes what a resumed run reads. */
export async function saveProgress(optimizer: AdamW, progress: Progress, files: StateFiles): Promise<void> {
  const { params, m, v } = optimizer.arena
  const tensors = []
  for (const [name, tensor] of Object.entries({ params, m, v }))
    tensors.push({ name, dtype: 'F32' as const, shape: [...tensor.shape], data: new Uint8Array(await tensor.bytes()) })
  await writeSafetensors(files.state, tensors)
  await writeFileAtomic(files.progress, JSON.stringify(progress))
}

/** Where {@link saveProgress} left the optimizer, which is put there; undefined where it has not been. */
export function loadProgress<P extends Progress>(optimizer: AdamW, files: StateFiles): P | undefined {
  if (!existsSync(files.state)) return undefined
  const file = openSafetensors(files.state)
  const { params, m, v } = optimizer.arena
  for (const [name, tensor] of Object.entries({ params, m, v })) tensor.upload(file.readF32(name))
  file.close()
  const progress = JSON.parse(readFileSync(files.progress, 'utf8')) as P
  optimizer.steps = progress.step
  return progress
}

/** Pieces a second, as a line of the log says it. */
export function speedOf({ tokens, seconds }: Progress): string {
  return `${Math.round(tokens / seconds)} tokens/s`
}

/** What is the student's own: all but the head that a classifier would get. */
export function isOwn({ name }: { readonly name: string }): boolean {
  return /^bert\.(?:embeddings|encoder)\./.test(name)
}

/** Writes the weights that `holds` takes, in bf16. */
export async function saveWeights(
  model: Model,
  folder: string,
  holds: (parameter: Parameter) => boolean = isOwn,
): Promise<void> {
  const tensors = []
  for (const parameter of model.parameters.values()) {
    if (!holds(parameter)) continue
    const data = encodeF32((await parameter.tensor.data()) as Float32Array, 'BF16')
    tensors.push({ name: parameter.name, dtype: 'BF16' as const, shape: [...parameter.shape], data })
  }
  await writeSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' })
}
