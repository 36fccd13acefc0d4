// Where a run stands, as plain data: all of it beside the tensors that going on needs.

import type { HistoryEntry } from './events.ts'

export interface RunState {
  /** Optimizer steps done: with the number of steps of an epoch this is the place in the data. */
  step: number
  /** Step of the last validation; a run stopped between a step and its validation makes up for it. -1: none. */
  evaluatedAt: number
  /** Of the epoch in progress: Σ loss · weight, and Σ weight. */
  epochLoss: { sum: number; weight: number }
  best: { step: number; value: number } | undefined
  /** Validations since the best. */
  worse: number
  tokens: number
  seconds: number
  /** Into how many parts micro-batches are cut. */
  divisor: number
  history: HistoryEntry[]
}

export function freshState(): RunState {
  return {
    step: 0,
    evaluatedAt: -1,
    epochLoss: { sum: 0, weight: 0 },
    best: undefined,
    worse: 0,
    tokens: 0,
    seconds: 0,
    divisor: 1,
    history: [],
  }
}

/** JSON of a state. Numbers come back bit for bit; NaN and infinities as strings, which JSON lacks. */
export function stringifyState(state: RunState): string {
  const plain = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
  return `${JSON.stringify(state, plain, 1)}\n`
}

const NUMBERS = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
])

/** The state behind {@link stringifyState}'s text. */
export function parseState(text: string): RunState {
  const number = (_: string, value: unknown) => (typeof value === 'string' ? (NUMBERS.get(value) ?? value) : value)
  return { best: undefined, ...(JSON.parse(text, number) as Partial<RunState>) } as RunState
}
