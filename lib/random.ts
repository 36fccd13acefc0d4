// Seeded random numbers of the host: equal on every platform and version, for they are part of what a seed promises.
// Only 32-bit integer arithmetic is used. Reproducible, not for secrets. Those of a step's ops are in ops/random.ts.

import { check } from './errors.ts'
import { codePointIn, mapTuple } from './tuple.ts'

/** A stream of random numbers. */
export interface Random {
  /** Uniform in [0, 2^32). */
  next(): number
  /** Uniform integer in [0, n), without bias, 1 ≤ n ≤ 2^32. */
  below(n: number): number
  /** Uniform in [0, 1), a multiple of 2^-53. */
  float(): number
  /** Puts the items into random order, in place (Fisher and Yates, from the end). */
  shuffle<T extends { [i: number]: V; readonly length: number }, V>(items: T): T
}

/**
 * Numbers for the order of data and for masking. Generator: xoshiro128** (Blackman and Vigna 2018). Seeding: each
 * 32-bit word of seed and stream is mixed into four lanes by the finaliser of MurmurHash3.
 *
 * The stream of a run's seed and what it is used for; other streams of a seed are independent of it.
 * @param seed integer in [0, 2^64)
 * @param stream words that name the use: text, or integers in [0, 2^53)
 */
export function random(seed: number | bigint, ...stream: readonly (string | number)[]): Random {
  return xoshiro(seedState([...seedWords(seed), ...stream.flatMap(streamWords)]))
}

/** Uniform integers in [0, below) for resampling: xoshiro128**, its state filled by splitmix32. */
export function resampler(seed: number): (below: number) => number {
  let mix = seed >>> 0
  const splitmix = () => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  return xoshiro([splitmix(), splitmix(), splitmix(), splitmix()]).below
}

/** Uniform numbers in [0, 1): sfc32 (Chris Doty-Humphrey's small fast counting generator), seeded by three words. */
export function sfc32(a: number, b: number, c: number): () => number {
  let counter = 1
  const next = () => {
    const t = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return (t >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 15; i++) next()
  return next
}

/** The state of a generator: four words of 32 bits. */
type Lanes = readonly [number, number, number, number]

function xoshiro([a, b, c, d]: Lanes): Random {
  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = rotate(d, 11)
    return result
  }
  const below = (n: number): number => {
    // The topmost partial interval is rejected, so that no value is favoured.
    const end = 2 ** 32 - (2 ** 32 % n)
    let value = next()
    while (value >= end) value = next()
    return value % n
  }
  return {
    next,
    below,
    float: () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53,
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = below(i + 1)
        const item = items[i]!
        items[i] = items[j]!
        items[j] = item
      }
      return items
    },
  }
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

function seedState(words: readonly number[]): Lanes {
  let state: Lanes = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]
  for (const [position, word] of words.entries()) {
    const mixed = finalise(word + Math.imul(position + 1, 0x9e3779b9))
    state = mapTuple(state, (value, lane) => finalise(value ^ (mixed + Math.imul(lane, 0x85ebca6b))))
  }
  return state
}

function finalise(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function seedWords(seed: number | bigint): number[] {
  const whole = typeof seed === 'bigint' || Number.isSafeInteger(seed)
  const value = whole ? BigInt(seed) : -1n
  check(value >= 0n && value < 1n << 64n, 'ERR_OPTION', () => `seed: ${seed} is not an integer from 0 to 2^64 - 1`)
  return [Number(value & 0xffffffffn), Number(value >> 32n)]
}

function streamWords(part: string | number): number[] {
  if (typeof part === 'number') return [part >>> 0, Math.floor(part / 2 ** 32)]
  return [part.length, ...Array.from(part, sign => codePointIn(sign, 0))]
}
