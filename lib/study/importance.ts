// Which parameter made the difference: the share of the scores' variance that lies between groups of its values.

import { nth } from '../tuple.ts'
import type { Choice, Distribution } from './journal.ts'

const GROUPS = 4

/**
 * ω² of one parameter: trials in groups by its value, or by quarters of their order where it is a range; 0 where
 * groups differ no more than chance makes them.
 */
export function importanceOf(distribution: Distribution, values: readonly Choice[], scores: readonly number[]): number {
  const groups = groupsOf(distribution, values)
    .map(group => group.map(i => nth(scores, i)))
    .filter(group => group.length > 0)
  const [n, k] = [scores.length, groups.length]
  if (k < 2 || n <= k) return 0
  const mean = average(scores)
  const between = groups.reduce((sum, group) => sum + group.length * (average(group) - mean) ** 2, 0)
  const total = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0)
  const within = (total - between) / (n - k)
  const omega = (between - (k - 1) * within) / (total + within)
  return total > 0 ? Math.max(0, omega) : 0
}

/** Indices of the trials, group by group. */
function groupsOf(distribution: Distribution, values: readonly Choice[]): number[][] {
  const all = [...values.keys()]
  const distinct = [...new Set(values)]
  if (distribution.name === 'CategoricalDistribution' || distinct.length <= GROUPS)
    return distinct.map(value => all.filter(i => values[i] === value))
  const order = all.toSorted((a, b) => Number(values[a]) - Number(values[b]))
  return Array.from({ length: GROUPS }, (_, g) =>
    order.slice(Math.floor((g * order.length) / GROUPS), Math.floor(((g + 1) * order.length) / GROUPS)),
  )
}

const average = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length
