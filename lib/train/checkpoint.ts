// Checkpoints: `checkpoint-<step>` folders that are whole whenever they are there, and say so by their hashes.

import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { check, LowrankError } from '../errors.ts'
import { faults, recoverFolder, writeFileAtomic, writeFolderAtomic } from '../io/atomic.ts'
import { readText, writeJson } from '../io/json.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../io/safetensors.ts'
import type { AdamW } from '../optim/adamw.ts'
import type { Arena } from '../optim/arena.ts'
import type { Adapter } from '../peft/adapter.ts'
import type { TrainingHooks } from '../peft/method.ts'
import type { Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { readBefore, writeBefore } from './before.ts'
import type { Before, TrainExamples } from './events.ts'
import { type Origin, originDifference } from './fingerprint.ts'
import { MANIFEST, readManifest, writeManifest } from './manifest.ts'
import { methodState, readMethodState, writeMethodState } from './methodState.ts'
import type { TrainSettings } from './settings.ts'
import { parseState, type RunState, stringifyState } from './state.ts'
import { type TrainerFacts, trainerState } from './trainerState.ts'

const TRAINABLE = 'trainable.safetensors'
const OPTIMIZER = 'optimizer.safetensors'
const BEST = 'best.safetensors'
const METHOD = 'method.safetensors'
const BEFORE = 'before.safetensors'
const STATE = 'state.json'

/** A checkpoint whose files are all as they were written. */
export interface SavedRun {
  readonly path: string
  readonly step: number
  readonly origin: Origin
  readonly state: RunState
}

/** A folder that looks like a checkpoint and is none, and why. */
export interface Skipped {
  readonly path: string
  readonly reason: string
}

/** What {@link saveCheckpoint} writes. */
interface Snapshot {
  readonly attached: Adapter
  readonly optimizer: AdamW
  readonly state: RunState
  readonly origin: Origin
  readonly facts: Omit<TrainerFacts, 'bestCheckpoint'>
  readonly data: TrainExamples
  readonly before: readonly Before[]
  /** What trained at the best step, where that is another one: a checkpoint needs no other to go on from. */
  readonly best?: Float32Array | Float64Array | undefined
}

export const checkpointPath = (outputDir: string, step: number): string => join(outputDir, `checkpoint-${step}`)

/**
 * Writes `checkpoint-<step>`: all that trains and both moments (f32 or f64, exactly), the state of the run,
 * trainer_state.json, the adapter as PEFT reads it, and a manifest with the SHA-256 of every file. The folder appears
 * whole or not at all. Errors: those of `writeFolderAtomic`; earlier checkpoints stay as they are.
 */
export async function saveCheckpoint(outputDir: string, snapshot: Snapshot): Promise<string> {
  const { attached, optimizer, state, origin, facts, best, before, data } = snapshot
  const path = checkpointPath(outputDir, state.step)
  const { arena } = optimizer
  const write = await stateWriter(attached, optimizer)
  const bestCheckpoint = state.best && checkpointPath(outputDir, state.best.step)
  await writeFolderAtomic(path, async folder => {
    await write(folder)
    if (best && state.best?.step !== state.step)
      await writeSafetensors(join(folder, BEST), tensorsOf(arena, '', best), { format: 'pt' })
    await writeBefore(join(folder, BEFORE), before, data)
    await writeFileAtomic(join(folder, STATE), stringifyState(state))
    const record = trainerState(state, { ...facts, bestCheckpoint })
    await writeJson(join(folder, 'trainer_state.json'), record, { trailingNewline: true })
    await writeManifest(folder, state.step, origin)
  })
  return path
}

/**
 * Reads what trains, both moments and what the method remembers, all of one moment; the result writes them into a
 * folder, with the adapter as PEFT reads it.
 */
export async function stateWriter(attached: Adapter, optimizer: AdamW): Promise<(folder: string) => Promise<void>> {
  const { arena, steps } = optimizer
  // Reads are in the queue before any later work, so all of them show the same moment.
  const [params, moments, remembered] = await Promise.all([
    arena.params.floats(),
    momentsOf(arena),
    methodState(attached.training),
  ])
  return async folder => {
    const pt = { format: 'pt' }
    await writeSafetensors(join(folder, TRAINABLE), tensorsOf(arena, '', params), pt)
    await writeSafetensors(join(folder, OPTIMIZER), moments, { ...pt, step: String(steps) })
    await writeMethodState(join(folder, METHOD), remembered)
    if (attached.config()) await attached.save(folder)
  }
}

/** Steps that the optimizer of a folder has done. @throws ERR_CHECKPOINT for one that `stateWriter` did not write */
export function stepsIn(folder: string): number {
  const file = openSafetensors(join(folder, OPTIMIZER))
  try {
    const steps = Number(file.metadata.step)
    check(Number.isSafeInteger(steps) && steps >= 0, 'ERR_CHECKPOINT', () => {
      return `${file.path}: its step is ${file.metadata.step}, expected a whole number; use another folder`
    })
    return steps
  } finally {
    file.close()
  }
}

type Numbers = Float32Array | Float64Array | Uint8Array

function* tensorsOf(arena: Arena, prefix: string, values: Numbers): Generator<TensorToWrite> {
  const dtype = values instanceof Float64Array ? 'F64' : values instanceof Uint8Array ? 'U8' : 'F32'
  for (const { parameter, begin, end } of arena.slices)
    yield { name: prefix + parameter.name, dtype, shape: [...parameter.shape], data: values.subarray(begin, end) }
}

/** Both moments by parameter; 8-bit ones with their scales, which cover the whole arena. */
async function momentsOf(arena: Arena): Promise<TensorToWrite[]> {
  const codes = async (state: Tensor) => new Uint8Array(await state.bytes())
  const { m, v, scales } = arena
  const read = scales ? [codes(m), codes(v), scales.m.floats(), scales.v.floats()] : [m.floats(), v.floats()]
  const [first, second, ...rest] = await Promise.all<Numbers>(read)
  const moments = [...tensorsOf(arena, 'm.', must(first, 'first')), ...tensorsOf(arena, 'v.', must(second, 'second'))]
  const names = ['scale.m', 'scale.v']
  return [
    ...moments,
    ...rest.map((data, i) => ({ name: nth(names, i), dtype: 'F32' as const, shape: [data.length], data })),
  ]
}

/**
 * Reads a checkpoint and checks every byte of it. Anything wrong, a state or manifest of another form too:
 * ERR_CHECKPOINT that says what.
 */
export async function readCheckpoint(path: string): Promise<SavedRun> {
  const { step, origin } = await readManifest(path)
  const state = parseState(readText(join(path, STATE), 'ERR_CHECKPOINT'), join(path, STATE))
  check(state.step === step, 'ERR_CHECKPOINT', () => {
    return `${path}: the state is of step ${state.step}, the manifest of ${step}; use another checkpoint`
  })
  return { path, step, origin, state }
}

/** Steps of the checkpoint folders of a run, newest first. */
export async function checkpointSteps(outputDir: string): Promise<number[]> {
  const names = await readdir(outputDir).catch((): string[] => [])
  const steps = names.flatMap(name => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
  return steps.map(Number).sort((a, b) => b - a)
}

/**
 * The newest checkpoint of a run that is whole and that `restore` takes; broken ones are skipped and told. What a
 * killed save left behind is cleaned first. A checkpoint of another run: what `checkOrigin` throws.
 */
export async function newestCheckpoint(
  outputDir: string,
  origin: Origin,
  restore: (checkpoint: SavedRun) => void,
): Promise<{ checkpoint: SavedRun | undefined; skipped: Skipped[] }> {
  await recoverFolder(outputDir)
  const skipped: Skipped[] = []
  const skip = (path: string, error: unknown) => {
    if (!(error instanceof LowrankError)) throw error
    skipped.push({ path, reason: error.message })
  }
  for (const step of await checkpointSteps(outputDir)) {
    const path = checkpointPath(outputDir, step)
    const checkpoint = await readCheckpoint(path).catch(error => skip(path, error))
    if (!checkpoint) continue
    checkOrigin(checkpoint, origin)
    try {
      restore(checkpoint)
      return { checkpoint, skipped }
    } catch (error) {
      skip(path, error)
    }
  }
  return { checkpoint: undefined, skipped }
}

/** The settings of the newest whole checkpoint that a run goes on from; they hold what was found at its start. */
export async function settingsBefore({
  resume,
  outputDir,
}: Pick<TrainSettings, 'resume' | 'outputDir'>): Promise<Origin['settings'] | undefined> {
  if (!resume) return undefined
  const inFolder = async (folder: string) => (await checkpointSteps(folder)).map(step => checkpointPath(folder, step))
  const paths = resume === true ? await inFolder(must(outputDir, 'outputDir')) : [resume]
  for (const path of paths) {
    // One that is broken is told where the run is opened.
    const manifest = await readManifest(path).catch(() => undefined)
    if (manifest) return manifest.origin.settings
  }
  return undefined
}

/** @throws ERR_CHECKPOINT naming every difference between where the checkpoint came from and this run */
export function checkOrigin(checkpoint: SavedRun, origin: Origin): void {
  const difference = originDifference(checkpoint.origin, origin)
  check(difference === undefined, 'ERR_CHECKPOINT', () => {
    const cure = 'make it the same again, or start afresh with overwrite, or in another folder'
    return `resume: ${checkpoint.path} belongs to another run: ${difference}; ${cure}`
  })
}

/** Puts a checkpoint's tensors where the optimizer has them. @throws ERR_CHECKPOINT for other names or shapes */
export function restoreCheckpoint(
  { path, step }: Pick<SavedRun, 'path' | 'step'>,
  optimizer: AdamW,
  training: TrainingHooks = {},
): void {
  const { arena } = optimizer
  const states = join(path, OPTIMIZER)
  arena.params.upload(readInto(arena, join(path, TRAINABLE), '', emptyLike(arena.params)))
  arena.m.upload(readInto(arena, states, 'm.', emptyLike(arena.m)))
  arena.v.upload(readInto(arena, states, 'v.', emptyLike(arena.v)))
  if (arena.scales) restoreScales(states, arena.scales)
  readMethodState(join(path, METHOD), training)
  optimizer.steps = step
}

function restoreScales(path: string, scales: NonNullable<Arena['scales']>): void {
  const file = openSafetensors(path)
  try {
    for (const name of ['m', 'v'] as const) {
      const length = scales[name].size
      const values = file.readF32(`scale.${name}`)
      check(values.length === length, 'ERR_CHECKPOINT', () => {
        return `${path}: scale.${name} has ${values.length} numbers, expected ${length}; use another checkpoint`
      })
      scales[name].upload(values)
    }
  } finally {
    file.close()
  }
}

function emptyLike({ size, dtype }: Tensor): Numbers {
  return dtype === 'u8' ? new Uint8Array(size) : emptyFloats({ size, dtype })
}

function emptyFloats({ size, dtype }: Pick<Tensor, 'size' | 'dtype'>): Float32Array | Float64Array {
  return dtype === 'f64' ? new Float64Array(size) : new Float32Array(size)
}

/** What trained at the best step so far, as it lies in the arena; undefined before the first validation. */
export function readBest({ path, step, state }: SavedRun, arena: Arena): Float32Array | Float64Array | undefined {
  if (!state.best) return undefined
  const best = emptyFloats(arena.params)
  return readInto(arena, join(path, state.best.step === step ? TRAINABLE : BEST), '', best)
}

/** What the model said before training, of the splits that are still the same. @throws ERR_CHECKPOINT */
export function beforeIn({ path, state }: SavedRun, data: TrainExamples): Before[] {
  return readBefore(join(path, BEFORE), state.history, data)
}

/** Fills `all` with the slices of a file, which have its type. */
function readInto<T extends Numbers>(arena: Arena, path: string, prefix: string, all: T): T {
  const expected = all instanceof Float64Array ? 'F64' : all instanceof Uint8Array ? 'U8' : 'F32'
  const file = openSafetensors(path)
  try {
    for (const { parameter, begin } of arena.slices) {
      const name = prefix + parameter.name
      const { shape, dtype } = file.info(name)
      const sound = dtype === expected && shape.join() === parameter.shape.join()
      check(sound, 'ERR_CHECKPOINT', () => {
        return `${path}: ${name} is ${dtype} [${shape}], the model has [${parameter.shape}]; use another checkpoint`
      })
      const bytes = file.read(name)
      all.set(
        expected === 'U8' ? bytes : expected === 'F64' ? new Float64Array(bytes.buffer) : file.readF32(name),
        begin,
      )
    }
    return all
  } finally {
    file.close()
  }
}

/**
 * Removes checkpoints but the newest `keep` and the best; also those of later steps, left by a run that was redone.
 * Returns those that could not be removed, each with the reason.
 */
export async function pruneCheckpoints(outputDir: string, state: RunState, keep: number): Promise<Skipped[]> {
  const steps = await checkpointSteps(outputDir)
  const kept = new Set(steps.filter(step => step <= state.step).slice(0, Math.max(1, keep)))
  if (state.best) kept.add(state.best.step)
  const left: Skipped[] = []
  for (const step of steps)
    if (!kept.has(step))
      await removeCheckpoint(outputDir, step).catch((error: NodeJS.ErrnoException) => {
        left.push({ path: checkpointPath(outputDir, step), reason: error.code ?? error.message })
      })
  return left
}

/** Removes all checkpoints of a folder. */
export async function removeCheckpoints(outputDir: string): Promise<void> {
  for (const step of await checkpointSteps(outputDir)) await removeCheckpoint(outputDir, step)
}

/** The manifest goes first: what a cut removal leaves is no checkpoint. Of a link, the link alone goes. */
async function removeCheckpoint(outputDir: string, step: number): Promise<void> {
  const path = checkpointPath(outputDir, step)
  faults.remove?.(path)
  if ((await lstat(path)).isDirectory()) await rm(join(path, MANIFEST), { force: true })
  await rm(path, { recursive: true, force: true })
}
