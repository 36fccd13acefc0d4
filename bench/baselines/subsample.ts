// The subsets of the training rows that every method of the model card is measured on.
import { shuffled } from '../../scripts/pretrain/random.ts'
import { apportion, type Row, TOPICS } from '../../scripts/pretrain/sample.ts'

/** Training rows of the small runs; the third size is all of them. */
export const SIZES = [500, 1000] as const
export const SEEDS = [1, 2, 3] as const

/**
 * `count` of the rows, topics in proportion, in shuffled order: a function of the seed alone. All rows: `rows` itself.
 */
export function subsample(rows: readonly Row[], count: number, seed: number): readonly Row[] {
  if (count >= rows.length) return rows
  const groups = TOPICS.map(topic => rows.filter(row => row.label === topic))
  const shares = apportion(
    groups.map(group => group.length),
    count,
  )
  return shuffled(
    groups.flatMap((group, i) => shuffled(group, seed * 100 + i).slice(0, shares[i])),
    seed,
  )
}
