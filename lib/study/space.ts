// Where a search looks: parameters by name, each with values or a range.

import { check, fail } from '../errors.ts'
import { shown } from '../io/json.ts'
import { accepts, isRecord, nearestOption, type OptionRow } from '../options.ts'
import { isOptionField, kindOf, METHODS } from '../peft/index.ts'
import { TRAIN_OPTIONS } from '../train/options.ts'
import { type SearchRange, searchSpace } from '../train/searchSpace.ts'
import { isTexts, mapTuple, nth, under } from '../tuple.ts'
import { type Choice, type Distribution, isChoice } from './journal.ts'

/** Parameters with their distributions, in the order they are drawn in. */
export type Space = Readonly<Record<string, Distribution>>

/** Options of training that are no matter of search. */
const FIXED = ['seed', 'time', 'resume', 'overwrite', 'checkpointEvery', 'keepCheckpoints', 'evaluateBefore', 'metric']

/**
 * A space as it is written: of each name a list of values, a range `{ from, to, scale: log, step }`, or nothing, which
 * takes the range of the option's own row. Names are `method`, options of training, and those of the method.
 * @throws ERR_OPTION naming what is wrong
 */
export function parseSpace(written: Readonly<Record<string, unknown>>, method: string): Space {
  check(Object.keys(written).length > 0, 'ERR_OPTION', () => 'space: is empty; name at least one option')
  const methods = isTexts(written.method) ? written.method : [method]
  const rows = rowsOf(methods)
  const entries = Object.entries(written).map(([name, value]): [string, Distribution] => {
    const row = rows.get(name) ?? unknown(name, [...rows.keys()])
    if (value === null || value === undefined)
      return [name, distribution(name, under(searchSpace([name], methods[0]), name), row)]
    if (Array.isArray(value)) return [name, choicesOf(name, value, row)]
    check(isRecord(value), 'ERR_OPTION', () => {
      return `space: ${name} is ${shown(value)}; write a list of values, or from and to`
    })
    return [name, distribution(name, rangeOf(name, value), row)]
  })
  return Object.fromEntries(entries)
}

/** What is searched where nothing is said: the learning rate, and rank and dropout of a method that has them. */
export function defaultSpace(method: string): Space {
  const { fields } = kindOf(method)
  const has = (name: string) => fields.some(field => field.name === name && field.search)
  // Of dropout few values differ: its thresholds are whole 256ths.
  return parseSpace(
    { lr: null, ...(has('r') && { r: null }), ...(has('dropout') && { dropout: [0, 0.05, 0.1] }) },
    method,
  )
}

function rowsOf(methods: readonly string[]): Map<string, OptionRow> {
  const fields = methods.flatMap(name => kindOf(name).fields.filter(isOptionField))
  const training = Object.entries(TRAIN_OPTIONS).filter(([name]) => !FIXED.includes(name))
  const choice: OptionRow = { kind: 'choice', choices: METHODS.map(({ type }) => type), help: 'The method' }
  const own = fields.map((field): [string, OptionRow] => [field.name, field])
  return new Map<string, OptionRow>([['method', choice], ...training, ...own])
}

function unknown(name: string, known: readonly string[]): never {
  fail('ERR_OPTION', `space: "${name}" is not searched${nearestOption(name, known)}; use ${known.join(', ')}`)
}

function choicesOf(name: string, values: readonly unknown[], row: OptionRow): Distribution {
  check(values.length > 0, 'ERR_OPTION', () => `space: ${name} has no values`)
  const choices = values.map(value => {
    check(isChoice(value) && (value === null || accepts(row, value)), 'ERR_OPTION', () => {
      return `space: ${name}: ${shown(value)} is no value of it`
    })
    return value
  })
  check(new Set(values).size === values.length, 'ERR_OPTION', () => `space: ${name} repeats a value`)
  return { name: 'CategoricalDistribution', attributes: { choices } }
}

function rangeOf(name: string, { from, to, scale, step, ...others }: Record<string, unknown>): SearchRange & Step {
  const [other] = Object.keys(others)
  check(other === undefined, 'ERR_OPTION', () => `space: ${name}: there is no "${other}"; use from, to, scale and step`)
  const isSound = typeof from === 'number' && typeof to === 'number' && from <= to && (scale !== 'log' || from > 0)
  check(isSound, 'ERR_OPTION', () => {
    return `space: ${name} from ${String(from)} to ${String(to)} is no range; write two numbers, the smaller first`
  })
  check(scale === undefined || scale === 'log' || scale === 'linear', 'ERR_OPTION', () => {
    return `space: ${name}: scale is ${String(scale)}; write log or linear`
  })
  check(step === undefined || (typeof step === 'number' && step > 0 && scale !== 'log'), 'ERR_OPTION', () => {
    return `space: ${name}: step is ${String(step)}; write a number above 0, on a linear scale`
  })
  return { from, to, ...(scale === 'log' && { scale }), ...(step !== undefined && { step }) }
}

interface Step {
  readonly step?: number
}

function distribution(name: string, range: SearchRange & Step, row: OptionRow): Distribution {
  if ('values' in range) return choicesOf(name, range.values, row)
  const { from: low, to: high, scale, step } = range
  for (const end of [low, high])
    check(accepts(row, end), 'ERR_OPTION', () => `space: ${name}: ${end} is no value of it`)
  const log = scale === 'log'
  if (row.kind === 'integer') return { name: 'IntDistribution', attributes: { log, step: step ?? 1, low, high } }
  check(row.kind === 'number', 'ERR_OPTION', () => `space: ${name} has no range; write a list of values`)
  return { name: 'FloatDistribution', attributes: { step: step ?? null, low, high, log } }
}

/** A value at `share` in [0, 1] of the way from one end to the other. */
export function valueAt(distribution: Distribution, share: number): Choice {
  if (distribution.name === 'CategoricalDistribution') {
    const { choices } = distribution.attributes
    return nth(choices, Math.min(choices.length - 1, Math.floor(share * choices.length)))
  }
  const { low, high, log, step } = distribution.attributes
  const isWhole = distribution.name === 'IntDistribution'
  if (log) {
    const [from, to] = isWhole ? [low - 0.5, high + 0.5] : [low, high]
    const value = Math.exp(Math.log(from) + share * (Math.log(to) - Math.log(from)))
    return isWhole ? clamp(Math.round(value), low, high) : clamp(rounded(value), low, high)
  }
  if (step === null) return clamp(rounded(low + share * (high - low)), low, high)
  const count = Math.floor((high - low) / step + 1e-9) + 1
  return low + step * Math.min(count - 1, Math.floor(share * count))
}

/** Where a value lies in [0, 1]; of choices their middle. */
export function shareOf(distribution: Distribution, value: Choice): number {
  if (distribution.name === 'CategoricalDistribution') {
    const { choices } = distribution.attributes
    return (choices.indexOf(value) + 0.5) / choices.length
  }
  const { low, high, log } = distribution.attributes
  if (high === low) return 0.5
  const [x, from, to] = mapTuple([Number(value), low, high], each => (log ? Math.log(each) : each))
  return (x - from) / (to - from)
}

// Four digits say as much as a search can, and files stay readable.
const rounded = (value: number) => Number(value.toPrecision(4))
const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value))

const GRID_POINTS = 3

/** Every combination: all choices and whole steps, of other ranges three points. */
export function gridOf(space: Space): Record<string, Choice>[] {
  let combinations: Record<string, Choice>[] = [{}]
  for (const [name, each] of Object.entries(space))
    combinations = combinations.flatMap(known => pointsOf(each).map(value => ({ ...known, [name]: value })))
  return combinations
}

function pointsOf(distribution: Distribution): readonly Choice[] {
  if (distribution.name === 'CategoricalDistribution') return distribution.attributes.choices
  const { low, high, log, step } = distribution.attributes
  if (step !== null && !log && (distribution.name === 'FloatDistribution' || (high - low) / step < 8))
    return Array.from({ length: Math.floor((high - low) / step + 1e-9) + 1 }, (_, i) => low + i * step)
  const ends = Array.from({ length: GRID_POINTS }, (_, i) => i / (GRID_POINTS - 1))
  return [...new Set(ends.map(share => (share === 1 ? high : valueAt(distribution, share))))]
}
