import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { random } from '../random.ts'
import { nth } from '../tuple.ts'
import type { Splits } from './duplicates.ts'
import { type List, select } from './list.ts'
import type { Row } from './row.ts'

/** Shares of train, validation and test; they sum to 1. */
export type Fractions = readonly [train: number, validation: number, test: number]

/** Shares from text such as `0.8/0.1/0.1` or `0.9/0.1`. @throws ERR_OPTION unless they are ≥ 0 and sum to 1. */
export function parseFractions(text: string): Fractions {
  check(typeof text === 'string', 'ERR_OPTION', () => `split: ${shown(text)} is no text; write 0.8/0.1/0.1`)
  const parts = text.split(/[/,:]/).map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  const [train = Number.NaN, validation = 0, test = 0] = parts
  const sound = parts.length <= 3 && parts.every(part => part >= 0 && part <= 1)
  check(sound && train > 0 && Math.abs(train + validation + test - 1) < 1e-6, 'ERR_OPTION', () => {
    return `split: "${text}" is not two or three shares that sum to 1; write 0.8/0.1/0.1`
  })
  return [train, validation, test]
}

/** @throws ERR_OPTION for what are no three shares that sum to 1 */
export function checkFractions(given: unknown): void {
  const isShare = (share: unknown) => typeof share === 'number' && share >= 0 && share <= 1
  const are = Array.isArray(given) && given.length === 3 && given.every(isShare) && given[0] > 0
  const sum = are ? given.reduce((total: number, share: number) => total + share, 0) : 0
  check(are && Math.abs(sum - 1) < 1e-6, 'ERR_OPTION', () => {
    return `fractions: ${shown(given)} are not shares of train, validation and test that sum to 1; give [0.8, 0.1, 0.1]`
  })
}

/**
 * Cuts rows into train, validation and test. Every stratum (a name for each row) is shuffled by the seed and dealt by
 * the fractions, so that class ratios hold to within one row a class; a class with a single row goes to train. Each
 * split keeps the order of the rows.
 * @param strata one name a row
 */
export function splitRows(rows: List<Row>, strata: List<string>, fractions: Fractions, seed: number | bigint): Splits {
  check(rows.length === strata.length, 'ERR_OPTION', () => `split: ${strata.length} strata for ${rows.length} rows`)
  const place = new Uint8Array(rows.length)
  const members = membersOf(strata)
  const deficit = [0, 0, 0]
  for (const [name, own] of members) {
    const list = random(seed, 'split', name).shuffle(own)
    const counts = deal(list.length, fractions, deficit)
    let from = 0
    counts.forEach((count, split) => {
      for (const i of list.subarray(from, from + count)) place[i] = split
      from += count
    })
  }
  const pick = (split: number) => select(rows, indicesOf(place, split))
  return { train: pick(0), validation: pick(1), test: pick(2) }
}

/**
 * So many rows, each stratum keeping its share as nearly as whole rows allow, chosen by the seed; in the order of the
 * rows. With fewer rows than strata, the largest strata have one each.
 */
export function takeRows(rows: List<Row>, strata: List<string>, count: number, seed: number | bigint): List<Row> {
  if (count >= rows.length) return rows
  const members = membersOf(strata)
  const exact = members.map(([, own]) => (own.length * count) / rows.length)
  const counts = exact.map(Math.floor)
  // What whole rows leave over goes to the strata that lost most by it.
  const left = count - counts.reduce((a, b) => a + b, 0)
  const byLoss = [...members.keys()].sort(
    (a, b) => nth(exact, b) - nth(counts, b) - (nth(exact, a) - nth(counts, a)) || a - b,
  )
  for (const i of byLoss.slice(0, left)) counts[i] = nth(counts, i) + 1
  const taken = new Uint8Array(rows.length)
  for (const [k, [name, own]] of members.entries())
    for (const i of random(seed, 'split', name).shuffle(own).subarray(0, counts[k])) taken[i] = 1
  return select(rows, indicesOf(taken, 1))
}

/** The rows of each stratum, in order of their names. */
function membersOf(strata: List<string>): (readonly [name: string, rows: Int32Array])[] {
  const codes = new Map<string, number>()
  const of = new Int32Array(strata.length)
  let at = 0
  for (const stratum of strata) {
    const code = codes.get(stratum) ?? codes.size
    if (code === codes.size) codes.set(stratum, code)
    of[at++] = code
  }
  const counts = new Int32Array(codes.size)
  for (const code of of) counts[code]!++
  const members = Array.from(counts, count => new Int32Array(count))
  counts.fill(0)
  for (const [i, code] of of.entries()) nth(members, code)[counts[code]!++] = i
  return [...codes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, code]) => [name, nth(members, code)] as const)
}

/** Where a value stands. */
function indicesOf(values: Uint8Array, value: number): Int32Array {
  const indices = new Int32Array(values.reduce((count, one) => count + (one === value ? 1 : 0), 0))
  let at = 0
  for (const [i, one] of values.entries()) if (one === value) indices[at++] = i
  return indices
}

/**
 * How many of n rows each split gets: the whole part of its share, and what is left one by one to the split that is
 * furthest behind, over all strata so far; the first of all goes to train.
 */
function deal(n: number, fractions: Fractions, deficit: number[]): number[] {
  const counts = fractions.map(share => Math.floor(n * share + 1e-9))
  const left = n - counts.reduce((a, b) => a + b, 0)
  fractions.forEach((share, split) => {
    deficit[split] = nth(deficit, split) + (n * share - nth(counts, split))
  })
  const taken = new Set<number>()
  for (let i = 0; i < left; i++) {
    const open = [0, 1, 2].filter(split => nth(fractions, split) > 0 && !taken.has(split))
    const next = counts[0] === 0 ? 0 : open.reduce((a, b) => (nth(deficit, b) > nth(deficit, a) + 1e-9 ? b : a))
    counts[next] = nth(counts, next) + 1
    deficit[next] = nth(deficit, next) - 1
    taken.add(next)
  }
  return counts
}
