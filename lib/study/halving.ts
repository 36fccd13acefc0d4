// Asynchronous successive halving (Li et al. 2020), by the rules and in the attributes of Optuna's
// SuccessiveHalvingPruner, so that workers of both kinds judge alike.

import { nth } from '../tuple.ts'
import type { Study, Trial } from './journal.ts'

/** Of so many at a rung one goes on. */
const REDUCTION = 3

/** What a trial has come to at a rung, and whether it ends there. */
export interface Judged {
  /** System attributes to write: `completed_rung_0`, … */
  readonly attrs: readonly (readonly [key: string, value: number])[]
  readonly prune: boolean
}

/** Judges a trial after validation `step`, counted from 1: rungs are at steps 1, 3, 9, …. */
export function halve({ trials, direction }: Study, trial: Trial, step: number, value: number): Judged {
  const attrs: [string, number][] = []
  for (let rung = rungsOf(trial); step >= REDUCTION ** rung; rung++) {
    const key = `completed_rung_${rung}`
    const others = trials.flatMap(({ id, systemAttrs }) => {
      const there = systemAttrs[key]
      return id !== trial.id && typeof there === 'number' ? [there] : []
    })
    attrs.push([key, value])
    if (!isPromoted(value, [...others, value], direction)) return { attrs, prune: true }
  }
  return { attrs, prune: false }
}

function rungsOf({ systemAttrs }: Trial): number {
  let rung = 0
  while (`completed_rung_${rung}` in systemAttrs) rung++
  return rung
}

/** Whether a value is among the best third of those at its rung, or the best of fewer than three. */
function isPromoted(value: number, competing: readonly number[], direction: Study['direction']): boolean {
  const sign = direction === 'maximize' ? -1 : 1
  const sorted = competing.toSorted((a, b) => sign * (a - b))
  const last = Math.max(0, Math.floor(sorted.length / REDUCTION) - 1)
  return sign * value <= sign * nth(sorted, last)
}
