import { check } from '../errors.ts'
import { random } from '../random.ts'
import type { Splits } from './duplicates.ts'
import type { Row } from './row.ts'

/** Shares of train, validation and test; they sum to 1. */
export type Fractions = readonly [train: number, validation: number, test: number]

/** Shares from text such as `0.8/0.1/0.1` or `0.9/0.1`. @throws ERR_OPTION unless they are ≥ 0 and sum to 1. */
export function parseFractions(text: string): Fractions {
  const parts = text.split(/[/,:]/).map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  const [train = Number.NaN, validation = 0, test = 0] = parts
  const sound = parts.length <= 3 && parts.every(part => part >= 0 && part <= 1)
  check(sound && train > 0 && Math.abs(train + validation + test - 1) < 1e-6, 'ERR_OPTION', () => {
    return `split: "${text}" is not two or three shares that sum to 1; write 0.8/0.1/0.1`
  })
  return [train, validation, test]
}

/**
 * Cuts rows into train, validation and test. Every stratum (a name for each row) is shuffled by the seed and dealt by
 * the fractions, so that class ratios hold to within one row a class; a class with a single row goes to train. Each
 * split keeps the order of the rows.
 * @param strata one name a row
 */
export function splitRows(
  rows: readonly Row[],
  strata: readonly string[],
  fractions: Fractions,
  seed: number | bigint,
): Splits {
  check(rows.length === strata.length, 'ERR_OPTION', () => `split: ${strata.length} strata for ${rows.length} rows`)
  const place = new Uint8Array(rows.length)
  const members = membersOf(strata)
  const deficit = [0, 0, 0]
  const names = [...members.keys()].sort((a, b) => (a < b ? -1 : 1))
  for (const name of names) {
    const list = random(seed, 'split', name).shuffle(members.get(name)!)
    const counts = deal(list.length, fractions, deficit)
    let from = 0
    counts.forEach((count, split) => {
      for (const i of list.slice(from, from + count)) place[i] = split
      from += count
    })
  }
  const pick = (split: number): Row[] => rows.filter((_, i) => place[i] === split)
  return { train: pick(0), validation: pick(1), test: pick(2) }
}

/**
 * So many rows, each stratum keeping its share as nearly as whole rows allow, chosen by the seed; in the order of the
 * rows. With fewer rows than strata, the largest strata have one each.
 */
export function takeRows(
  rows: readonly Row[],
  strata: readonly string[],
  count: number,
  seed: number | bigint,
): readonly Row[] {
  if (count >= rows.length) return rows
  const members = membersOf(strata)
  const names = [...members.keys()].sort((a, b) => (a < b ? -1 : 1))
  const exact = names.map(name => (members.get(name)!.length * count) / rows.length)
  const counts = exact.map(Math.floor)
  // What whole rows leave over goes to the strata that lost most by it.
  const left = count - counts.reduce((a, b) => a + b, 0)
  const byLoss = [...names.keys()].sort((a, b) => exact[b]! - counts[b]! - (exact[a]! - counts[a]!) || a - b)
  for (const i of byLoss.slice(0, left)) counts[i]!++
  const taken = new Set(
    names.flatMap((name, i) => random(seed, 'split', name).shuffle(members.get(name)!).slice(0, counts[i])),
  )
  return rows.filter((_, i) => taken.has(i))
}

function membersOf(strata: readonly string[]): Map<string, number[]> {
  const members = new Map<string, number[]>()
  strata.forEach((stratum, i) => {
    const list = members.get(stratum)
    if (list) list.push(i)
    else members.set(stratum, [i])
  })
  return members
}

/**
 * How many of n rows each split gets: the whole part of its share, and what is left one by one to the split that is
 * furthest behind, over all strata so far; the first of all goes to train.
 */
function deal(n: number, fractions: Fractions, deficit: number[]): number[] {
  const counts = fractions.map(share => Math.floor(n * share + 1e-9))
  const left = n - counts.reduce((a, b) => a + b, 0)
  fractions.forEach((share, split) => {
    deficit[split]! += n * share - counts[split]!
  })
  const taken = new Set<number>()
  for (let i = 0; i < left; i++) {
    const open = [0, 1, 2].filter(split => fractions[split]! > 0 && !taken.has(split))
    const next = counts[0] === 0 ? 0 : open.reduce((a, b) => (deficit[b]! > deficit[a]! + 1e-9 ? b : a))
    counts[next]!++
    deficit[next]!--
    taken.add(next)
  }
  return counts
}
