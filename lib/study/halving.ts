// Asynchronous successive halving (Li et al. 2020), by the rules and in the attributes of Optuna's
// SuccessiveHalvingPruner, so that workers of both kinds judge alike.

import { nth } from '../tuple.ts'
import type { Study, Trial } from './journal.ts'

/** Of so many at a rung one goes on. */
const REDUCTION = 3

/** What a trial has come to at a rung, and whether it ends there. */
interface RungVerdict {
  /** System attributes to write: `completed_rung_0`, … */
  readonly attrs: readonly (readonly [key: string, value: number])[]
  readonly prune: boolean
}

/** Judges a trial after validation `step`, counted from 1: rungs are at steps 1, 3, 9, …. */
export function halve({ trials, direction }: Study, trial: Trial, step: number, value: number): RungVerdict {
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

/** Judges trials that have come to a validation at once: each among all of them, as if it were the last to come. */
export function halveAll(
  study: Study,
  at: readonly { readonly trial: Trial; readonly count: number; readonly value: number }[],
): RungVerdict[] {
  return at.map(({ trial, count, value }) => {
    const others = at.filter(other => other.trial !== trial).map(each => withRungs(study, each))
    const known = study.trials.map(each => others.find(({ id }) => id === each.id) ?? each)
    return halve({ ...study, trials: known }, trial, count, value)
  })
}

/** A trial that stays in at every rung it has come to. */
function withRungs({ trials }: Study, at: { readonly trial: Trial; readonly count: number; readonly value: number }) {
  const { trial, count, value } = at
  const systemAttrs = { ...trial.systemAttrs }
  for (let rung = rungsOf(trial); count >= REDUCTION ** rung; rung++) systemAttrs[`completed_rung_${rung}`] = value
  return { ...(trials.find(({ id }) => id === trial.id) ?? trial), systemAttrs }
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
