// Where a run stands, as plain data: all of it beside the tensors that going on needs.

import { check, fail, messageOf } from '../errors.ts'
import { nonFiniteAsText, shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import { isCount, under } from '../tuple.ts'
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
  return `${JSON.stringify(state, nonFiniteAsText, 1)}\n`
}

const NUMBERS = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
])

/** The state behind {@link stringifyState}'s text. Anything else: ERR_CHECKPOINT that names `path` and the key. */
export function parseState(text: string, path = 'state.json'): RunState {
  const number = (_: string, value: unknown) => (typeof value === 'string' ? (NUMBERS.get(value) ?? value) : value)
  let state: unknown
  try {
    state = JSON.parse(text, number)
  } catch (error) {
    fail('ERR_CHECKPOINT', `${path}: is not JSON (${messageOf(error)}); use another checkpoint`, error)
  }
  check(isState(state), 'ERR_CHECKPOINT', () => `${path}: ${stateProblem(state)}; use another checkpoint`)
  return { ...state, best: state.best }
}

type Kind = 'count' | 'number' | 'text' | 'numbers'

const IS: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  count: value => isCount(value),
  number: value => typeof value === 'number',
  text: value => typeof value === 'string',
  numbers: value => isRecord(value) && Object.values(value).every(IS.number),
}

const STATE = { step: 'count', worse: 'count', tokens: 'count', seconds: 'number', divisor: 'count' } as const
const EPOCH_LOSS = { sum: 'number', weight: 'number' } as const
const BEST = { step: 'count', value: 'number' } as const
const STEP = { step: 'count', epoch: 'number', loss: 'number', gradNorm: 'number', lr: 'number' } as const
const EVALUATION = {
  when: 'text',
  split: 'text',
  step: 'count',
  epoch: 'number',
  loss: 'number',
  metrics: 'numbers',
  seconds: 'number',
  samples: 'count',
} as const

const isState = (value: unknown): value is RunState => stateProblem(value) === undefined

/** The first thing that a value read from a file has otherwise than a state; undefined where it is one. */
function stateProblem(state: unknown): string | undefined {
  const problem = difference('state', state, STATE)
  if (problem || !isRecord(state)) return problem
  const { evaluatedAt, epochLoss, best, history, divisor } = state
  if (evaluatedAt !== -1 && !isCount(evaluatedAt)) return `evaluatedAt is ${shown(evaluatedAt)}`
  if (!Number.isInteger(Math.log2(Number(divisor)))) return `divisor is ${shown(divisor)}, no power of two`
  if (!Array.isArray(history)) return `history is ${shown(history)}, no list`
  const entries = history.map((entry, i) => {
    const kind = isRecord(entry) ? entry.kind : undefined
    if (kind !== 'step' && kind !== 'evaluation') return `history[${i}] is ${shown(entry)}`
    return difference(`history[${i}]`, entry, kind === 'step' ? STEP : EVALUATION)
  })
  return (
    difference('epochLoss', epochLoss, EPOCH_LOSS) ??
    (best === undefined ? undefined : difference('best', best, BEST)) ??
    entries.find(each => each !== undefined)
  )
}

function difference(what: string, value: unknown, keys: Readonly<Record<string, Kind>>): string | undefined {
  if (!isRecord(value)) return `${what} is ${shown(value)}, no object`
  const wrong = Object.keys(keys).find(key => !IS[under(keys, key)](value[key]))
  return wrong && `${what}.${wrong} is ${shown(value[wrong])}, expected a ${keys[wrong]}`
}
