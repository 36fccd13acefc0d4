// Where dropout's bits come from (house rule: nothing is stored; forward, backward and recomputation see the same
// mask).

import { check, fail } from '../errors.ts'
import type { Struct } from '../native.ts'
import type { Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'

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

/** Consecutive rows of a batch that are a micro-batch of a run of their own: they see the masks of that run. */
export interface RandomPart {
  readonly rows: number
  readonly random: StepRandom
  /** Where its sequences begin and end, i32[B + 1], counted from its first row. */
  readonly cuSeqlens: Tensor
  /** Tokens of its longest sequence. */
  readonly maxLength: number
}

let current: StepRandom | undefined
/** In place of `current`, where rows belong to several runs. */
let parts: readonly RandomPart[] | undefined

/** Runs `body` in training mode: dropout is active in it, and only in it. */
export function withRandom<T>(random: StepRandom, body: () => T): T {
  return during(random, undefined, body)
}

/** Runs `body` out of training mode: no dropout is active in it. */
export function withoutRandom<T>(body: () => T): T {
  return during(undefined, undefined, body)
}

/** Runs `body` in training mode, for rows of several runs one after the other. */
export function withRandomParts<T>(given: readonly RandomPart[], body: () => T): T {
  return given.length === 1 ? withRandom(nth(given, 0).random, body) : during(undefined, given, body)
}

function during<T>(random: StepRandom | undefined, given: readonly RandomPart[] | undefined, body: () => T): T {
  const outer = [current, parts] as const
  current = random
  parts = given
  try {
    return body()
  } finally {
    current = outer[0]
    parts = outer[1]
  }
}

/** Whether masks are drawn now: in training mode. */
export const isRandom = (): boolean => current !== undefined || parts !== undefined

/** The runs that rows belong to, where they are several's. */
export const randomParts = (): readonly RandomPart[] | undefined => parts

/** Whether a dropout has to be drawn part by part: it is active, and rows are of several runs. */
export function isParted(dropout: { readonly p: number } | undefined): boolean {
  return parts !== undefined && dropout !== undefined && dropout.p > 0
}

/** Runs something later as it would run now, in or out of training mode: a forward pass that backward runs again. */
export function asNow(): <T>(body: () => T) => T {
  const [random, given] = [current, parts]
  return body => during(random, given, body)
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

/** Runs `body` for `rows` rows from row `begin` on: with the masks of their run, where rows are several's. */
export function countingRows<T>(begin: number, rows: number, body: () => T): T {
  if (!parts) return countingFrom(begin, body)
  const { random, from } = partAt(begin, rows)
  return withRandom({ ...random, rowOffset: random.rowOffset + begin - from }, body)
}

/** The one run that rows belong to. */
function partAt(begin: number, rows: number): { random: StepRandom; from: number } {
  let from = 0
  for (const part of must(parts, 'parts')) {
    const isWithin = begin >= from && begin + rows <= from + part.rows
    if (isWithin) return { random: part.random, from }
    from += part.rows
  }
  return fail('ERR_SHAPE', `random: rows ${begin} to ${begin + rows} are of several runs; cut them where a run begins`)
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

/** {@link dropoutStruct} of `rows` rows from `begin` on, which it counts from the first of them. */
export function dropoutOfRows(p: number, where: number, begin: number, rows: number): Struct | null {
  return countingRows(begin, rows, () => dropoutStruct(p, where))
}

/** The native description of a dropout at `where`; null where it does nothing. `rows` says what counts as a row. */
export function dropoutStruct(p: number, where: number, rows: 'tokens' | 'sequences' = 'tokens'): Struct | null {
  if (p === 0) return null
  check(!parts, 'ERR_UNSUPPORTED', () => 'dropout: rows of several runs have no mask in common; go part by part')
  if (!current) return null
  const { seed, step, rowOffset, sequenceOffset } = current
  const offset = rows === 'tokens' ? rowOffset : sequenceOffset
  return Float64Array.of(keepOf(p), where, step, seed % 2 ** 32, Math.floor(seed / 2 ** 32), offset)
}
