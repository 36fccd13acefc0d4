import { check } from '../errors.ts'
import type { Columns } from './columns.ts'
import type { Splits } from './duplicates.ts'
import { random } from './random.ts'
import { listOf, type Row } from './row.ts'
import { numberOf, type TaskChoice } from './task.ts'

/** Shares of train, validation and test; they sum to 1. */
export type Fractions = readonly [train: number, validation: number, test: number]

const deciles = 10

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
 * Cuts rows into train, validation and test. Every stratum (see {@link strataOf}) is shuffled by the seed and dealt by
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
  const members = new Map<string, number[]>()
  strata.forEach((stratum, i) => {
    const list = members.get(stratum)
    if (list) list.push(i)
    else members.set(stratum, [i])
  })
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
 * The stratum of each row: its label; for lists of labels and for tags the rarest one it has (O apart); for regression
 * the decile of its number; nothing for text alone.
 */
export function strataOf(rows: readonly Row[], columns: Columns, { task, problemType }: TaskChoice): string[] {
  if (task === 'token-classification') return rarest(rows.map(row => entityTypes(listOf(row, columns.tags!))))
  const { label } = columns
  if (task === 'masked-lm' || label === undefined) return rows.map(() => '')
  if (problemType === 'regression') return decilesOf(rows.map(row => numberOf(row, label)))
  if (problemType === 'multi_label_classification') return rarest(rows.map(row => listOf(row, label)))
  return rows.map(row => String(row.values[label]))
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

function entityTypes(tags: readonly string[]): string[] {
  return tags.filter(tag => tag !== 'O').map(tag => tag.replace(/^[BIESLU]-/, ''))
}

function rarest(lists: readonly (readonly string[])[]): string[] {
  const counts = new Map<string, number>()
  for (const list of lists) for (const name of new Set(list)) counts.set(name, (counts.get(name) ?? 0) + 1)
  const rank = (name: string): number => counts.get(name)!
  return lists.map(list => {
    if (list.length === 0) return ''
    return list.reduce((a, b) => (rank(b) < rank(a) || (rank(b) === rank(a) && b < a) ? b : a))
  })
}

function decilesOf(numbers: readonly number[]): string[] {
  const sorted = [...numbers].sort((a, b) => a - b)
  const bounds = Array.from({ length: deciles - 1 }, (_, i) => sorted[Math.floor(((i + 1) * sorted.length) / deciles)]!)
  return numbers.map(number => String(bounds.filter(bound => number >= bound).length))
}
