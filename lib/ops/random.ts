// Where dropout's bits come from (house rule: nothing is stored; forward, backward and recomputation see the same
// mask).

import { check } from '../errors.ts'
import type { Struct } from '../native.ts'

/** The random state of one micro-batch of a training step. */
export interface StepRandom {
  /** The run's seed, a whole number below 2^53. */
  seed: number
  /** Optimizer step, from 0. */
  step: number
  /** Tokens of earlier micro-batches of this optimizer step. */
  rowOffset: number
  /** Sequences of earlier micro-batches of this optimizer step. */
  sequenceOffset: number
  /** Rows that the head selected from earlier micro-batches of this optimizer step. Default: rowOffset. */
  selectedOffset?: number
  /** Tokens of a decoder beside the encoder, of earlier micro-batches of this optimizer step. Default: rowOffset. */
  decoderOffset?: number
  /** While a decoder runs: the rowOffset of the encoder. */
  memoryOffset?: number
}

let current: StepRandom | undefined

/** Runs `body` in training mode: dropout is active in it, and only in it. */
export function withRandom<T>(random: StepRandom, body: () => T): T {
  return during(random, body)
}

/** Runs `body` out of training mode: no dropout is active in it. */
export function withoutRandom<T>(body: () => T): T {
  return during(undefined, body)
}

function during<T>(random: StepRandom | undefined, body: () => T): T {
  const outer = current
  current = random
  try {
    return body()
  } finally {
    current = outer
  }
}

/** Whether masks are drawn now: in training mode. */
export const isRandom = (): boolean => current !== undefined

/** Runs something later as it would run now, in or out of training mode: a forward pass that backward runs again. */
export function asNow(): <T>(body: () => T) => T {
  const now = current
  return body => during(now, body)
}

/**
 * Runs `body`, whose rows are those that a head selected: its dropout counts them, not tokens. Else accumulated
 * micro-batches would see other masks than one large batch.
 */
export function countingSelected<T>(body: () => T): T {
  if (current?.selectedOffset === undefined) return body()
  return withRandom({ ...current, rowOffset: current.selectedOffset }, body)
}

/** Runs `body`, whose rows are tokens of a decoder beside the encoder: those of earlier micro-batches count. */
export function countingDecoder<T>(body: () => T): T {
  if (current?.decoderOffset === undefined) return body()
  return withRandom({ ...current, rowOffset: current.decoderOffset, memoryOffset: current.rowOffset }, body)
}

/** Runs `body`, a part of the decoder whose rows are the encoder's tokens. */
export function countingMemory<T>(body: () => T): T {
  if (current?.memoryOffset === undefined) return body()
  return withRandom({ ...current, rowOffset: current.memoryOffset }, body)
}

/** Runs `body`, whose first row is row `begin` of the micro-batch: a part of it sees the masks of the whole. */
export function countingFrom<T>(begin: number, body: () => T): T {
  if (!current || begin === 0) return body()
  return withRandom({ ...current, rowOffset: current.rowOffset + begin }, body)
}

/** Runs `body`, in whose batch each sequence has `count` more rows: those of earlier micro-batches count too. */
export function countingVirtual<T>(count: number, body: () => T): T {
  return current ? countingFrom(count * current.sequenceOffset, body) : body()
}

/** Where a dropout sits: a module path and what is dropped there. Attaching an adapter never shifts another site. */
export function site(path: string, kind: string): number {
  return hash(`${path}:${kind}`)
}

/** 32 bits that stand for a name (FNV-1a over its UTF-8 bytes). */
export function hash(text: string): number {
  let bits = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) bits = Math.imul(bits ^ byte, 0x01000193)
  return bits >>> 0
}

/** How many of 256 elements are kept: thresholds have 8 bits, so the probability in effect is 1 - keep / 256. */
export function keepOf(p: number, option = 'dropout'): number {
  const keep = Math.round(256 * (1 - p))
  const fits = p === 0 || (p > 0 && p < 1 && keep > 0 && keep < 256)
  check(fits, 'ERR_OPTION', () => `${option}: ${p} is not possible with thresholds of 1/256; use 0, or 0.004 to 0.996`)
  return keep
}

/** The native description of a dropout at `where`; null where it does nothing. `rows` says what counts as a row. */
export function dropoutStruct(p: number, where: number, rows: 'tokens' | 'sequences' = 'tokens'): Struct | null {
  if (!current || p === 0) return null
  const { seed, step, rowOffset, sequenceOffset } = current
  const offset = rows === 'tokens' ? rowOffset : sequenceOffset
  return Float64Array.of(keepOf(p), where, step, seed % 2 ** 32, Math.floor(seed / 2 ** 32), offset)
}
