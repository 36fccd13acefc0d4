// What an option is: the kinds of values, and what may stand behind each. Tables of options are kept where the options
// belong (train/options.ts, the fields of a method); flags, YAML, help, docs and checks follow from them.

import { check, nearest } from './errors.ts'
import { shown } from './io/json.ts'
import { isOneOf, must } from './tuple.ts'

/** The TypeScript type behind each kind of option. */
export interface Kinds {
  text: string
  path: string
  integer: number
  number: number
  boolean: boolean
  /** Comma-separated as a flag, a list in YAML. */
  names: readonly string[]
  /** Names, or one text that is a pattern or a word of its own such as all-linear. */
  pattern: string | readonly string[]
  integers: readonly number[]
  decimals: readonly number[]
  /** name=value pairs as a flag, an object in YAML. */
  numbers: Readonly<Record<string, number>>
  texts: Readonly<Record<string, string>>
  choice: string | boolean
  /** epoch, never, or a number of steps. */
  every: 'epoch' | 'never' | number
  /** balanced, none, or one number a class. */
  weights: 'balanced' | 'none' | readonly number[]
  /** A flag alone, or with a path. */
  pathOrTrue: string | boolean
  /** Seconds, or a text such as 90s, 2m, 1h30m. */
  duration: number | string
}

/** Kinds of options. */
export type Kind = keyof Kinds

/** What the values of an option are. */
export interface Domain {
  readonly kind: Kind
  readonly choices?: readonly (string | boolean)[]
  readonly min?: number
  readonly max?: number
  /** Our name for a choice that others call otherwise. */
  readonly here?: (value: string) => string | undefined
}

/** Where the values of an option may be looked for. */
export type Search =
  | { readonly from: number; readonly to: number; readonly scale?: 'log' | undefined }
  | { readonly values: readonly (number | string | boolean)[] }

/** One seed for everything that draws by one, unless told otherwise. */
export const SEED = 42

/** One option, where it belongs. */
export interface OptionRow extends Domain {
  /** Undefined: found out when it is needed, as `found` says. */
  readonly default?: unknown
  readonly found?: string
  /** One line of --help. */
  readonly help: string
  /** Where better values than the default may lie; none for what changes no result, or is no matter of search. */
  readonly search?: Search
  /** Another option that it stands in place of: both given are an error, and the default of that one does not hold. */
  readonly instead?: string
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, OptionRow>>

/** The type of an option's values: its choices where it has some, else its kind's. */
export type ValueOf<R> = R extends { readonly choices: readonly (infer C)[] }
  ? C
  : R extends { readonly kind: infer K extends Kind }
    ? Kinds[K]
    : never

/** Options of a table as a caller gives them. */
export type ValuesOf<T> = { readonly [K in keyof T]?: ValueOf<T[K]> | undefined }

/** Options of a table with their defaults; undefined is left for what is found out. */
export type FilledOf<T> = {
  readonly [K in keyof T]: T[K] extends { readonly default: unknown } ? ValueOf<T[K]> : ValueOf<T[K]> | undefined
}

/** Every default of a table that is a value, not found out. */
export function defaultsOf(table: OptionTable): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(table).flatMap(([name, row]) => ('default' in row ? [[name, row.default]] : [])),
  )
}

/** Given options over the defaults of their table. @throws ERR_OPTION for one that is unknown or out of its domain */
export function filled<const T extends OptionTable>(table: T, given: object, owner: string): FilledOf<T> {
  const set = Object.entries(given).filter(([, value]) => value !== undefined)
  for (const [name, value] of set) {
    const row = Object.hasOwn(table, name) ? table[name] : undefined
    check(row, 'ERR_OPTION', () => `${name}: is no option of ${owner}${nearestOption(name, Object.keys(table))}`)
    checkValue(name, row, value)
  }
  return { ...defaultsOf(table), ...Object.fromEntries(set) } as FilledOf<T>
}

/** What the values of an option are called in messages and in the help. */
export function describeKind({ kind, choices, min, max }: Domain): string {
  if (choices) return `one of ${choices.join(', ')}`
  const range = min === undefined ? '' : max === undefined ? ` from ${min}` : ` from ${min} to ${max}`
  const words: Readonly<Record<Kind, string>> = {
    text: 'a text',
    path: 'a path',
    integer: `a whole number${range}`,
    number: `a number${range}`,
    boolean: 'true or false',
    names: 'a list of names',
    pattern: 'a list of names, or a pattern',
    integers: 'a list of whole numbers',
    decimals: 'a list of numbers',
    numbers: 'name=number pairs',
    texts: 'name=name pairs',
    choice: 'a choice',
    every: 'epoch, never, or a number of steps from 1',
    weights: 'balanced, none, or a list of numbers',
    pathOrTrue: 'true, false or a path',
    duration: 'a time such as 90s, 2m or 1h30m',
  }
  return words[kind]
}

/** Whether a value is one of an option. */
export function accepts({ kind, choices, min, max }: Domain, value: unknown): boolean {
  const inside = (n: number) => n >= (min ?? Number.NEGATIVE_INFINITY) && n <= (max ?? Number.POSITIVE_INFINITY)
  switch (kind) {
    case 'text':
    case 'path':
      return typeof value === 'string' && value !== ''
    case 'integer':
      return Number.isSafeInteger(value) && inside(Number(value))
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) && inside(value)
    case 'boolean':
      return typeof value === 'boolean'
    case 'names':
      return isNames(value)
    case 'pattern':
      return (typeof value === 'string' && value !== '') || isNames(value)
    case 'integers':
      return Array.isArray(value) && value.every(Number.isSafeInteger)
    case 'decimals':
      return Array.isArray(value) && value.every(Number.isFinite)
    case 'numbers':
      return isNumbers(value)
    case 'texts':
      return isRecord(value) && Object.values(value).every(item => typeof item === 'string' && item !== '')
    case 'choice':
      return isOneOf(must(choices, 'choices'), value)
    case 'every':
      return value === 'epoch' || value === 'never' || (Number.isSafeInteger(value) && Number(value) >= 1)
    case 'weights':
      return (
        value === 'balanced' ||
        value === 'none' ||
        (Array.isArray(value) && value.length > 0 && value.every(Number.isFinite))
      )
    case 'pathOrTrue':
      return typeof value === 'boolean' || (typeof value === 'string' && value !== '')
    case 'duration':
      return (secondsOf(value) ?? 0) > 0
  }
}

/** The seconds of a number, or of a text of hours, minutes and seconds: `1h30m`, `2m`, `90`; undefined for others. */
export function secondsOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  const number = '(\\d+(?:\\.\\d+)?) *'
  const parts = new RegExp(`^(?:${number}h *)?(?:${number}m(?:in)? *)?(?:${number}s? *)?$`).exec(String(value).trim())
  const [hours, minutes, seconds] = (parts ?? []).slice(1)
  if (hours === undefined && minutes === undefined && seconds === undefined) return undefined
  return Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0)
}

/** ` (here it is "x")` for what others call a choice, ` (did you mean "x"?)` for what is near one, else `''`. */
export function nearestChoice({ choices, here }: Domain, value: unknown): string {
  const ours = here?.(String(value))
  if (ours !== undefined) return ` (here it is "${ours}")`
  return choices ? nearest(String(value), choices.map(String)) : ''
}

/** @throws ERR_OPTION naming the option, the value, what it must be and the nearest choice */
export function checkValue(name: string, domain: Domain, value: unknown): void {
  check(accepts(domain, value), 'ERR_OPTION', () => {
    return `${name}: ${shown(value)}, expected ${describeKind(domain)}${nearestChoice(domain, value)}`
  })
}

/** {@link checkValue} of all that is given. */
export function checkValues(domains: Readonly<Record<string, Domain>>, given: object): void {
  for (const [name, domain] of Object.entries(domains)) {
    const value: unknown = Reflect.get(given, name)
    if (value !== undefined) checkValue(name, domain, value)
  }
}

/** @throws ERR_OPTION for what JavaScript may hand over in place of a signal, or of none */
export function checkSignal(signal: unknown): void {
  check(signal === undefined || signal instanceof AbortSignal, 'ERR_OPTION', () => {
    return `signal: ${shown(signal)} is none; give that of an AbortController`
  })
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(item => typeof item === 'string' && item !== '')
}

/** Whether a value of any origin is an object (not null, nor an array). */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** Whether a value of any origin is an object of finite numbers. */
export function isNumbers(value: unknown): value is Record<string, number> {
  return isRecord(value) && Object.values(value).every(Number.isFinite)
}

// What people from transformers, its Trainer and PEFT look for, without case and underscores.
const ELSEWHERE: Readonly<Record<string, string>> = {
  learningrate: 'lr',
  numtrainepochs: 'epochs',
  numepochs: 'epochs',
  perdevicetrainbatchsize: 'batchSize',
  perdeviceevalbatchsize: 'evalBatchSize',
  gradientaccumulationsteps: 'accumulate',
  maxgradnorm: 'clip',
  warmupsteps: 'warmup',
  warmupratio: 'warmup',
  lrschedulertype: 'schedule',
  adambeta1: 'beta1',
  adambeta2: 'beta2',
  adamepsilon: 'eps',
  labelsmoothingfactor: 'labelSmoothing',
  savetotallimit: 'keepCheckpoints',
  metricforbestmodel: 'metric',
  earlystoppingpatience: 'patience',
  dataloaderdroplast: 'dropLast',
  resumefromcheckpoint: 'resume',
  maxseqlength: 'maxLength',
  modelnameorpath: 'model',
  torchdtype: 'storage',
  dtype: 'storage',
  devicemap: 'device',
  problemtype: 'problem',
  numlabels: 'labels',
  id2label: 'labels',
  rank: 'r',
  lorar: 'r',
  loraalpha: 'alpha',
  loradropout: 'dropout',
}

/** Our name for an option of transformers, its Trainer or PEFT; undefined where we have none among `known`. */
export function nameHere(key: string, known: readonly string[]): string | undefined {
  const ours = ELSEWHERE[key.replace(/[-_]/g, '').toLowerCase()]
  return ours !== undefined && known.includes(ours) ? ours : undefined
}

/** Every option of a type, which the compiler holds against it. */
export type OptionsOf<T> = { readonly [K in keyof T]-?: true }

/**
 * What a public function does before all else.
 * @throws ERR_OPTION for options that are no object, or one that is none of `known`, with the nearest
 */
export function checkOptions<T extends object>(what: string, options: T | undefined, known: OptionsOf<T>): void {
  check(options === undefined || isRecord(options), 'ERR_OPTION', () => {
    return `${what}: the options are ${shown(options)}, expected an object of ${Object.keys(known).join(', ')}`
  })
  checkKeys(what, options ?? {}, Object.keys(known))
}

/** @throws ERR_OPTION for a key that is none of `known`, with our name for it or the nearest */
export function checkKeys(what: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options))
    check(known.includes(key), 'ERR_OPTION', () => `${key}: is no option of ${what}${nearestOption(key, known)}`)
}

/** @throws ERR_OPTION for an option that is given where it would change nothing; `why` begins "on" or "without", say */
export function checkIdle(name: string, value: unknown, why: () => string, cure = 'leave it out'): void {
  check(value === undefined, 'ERR_OPTION', () => `${name}: ${shown(value)} has no effect ${why()}; ${cure}`)
}

/** ` (here it is "lr")` for an option of another library, ` (did you mean "lr"?)` for one that is near, else `''`. */
export function nearestOption(key: string, known: readonly string[]): string {
  const ours = nameHere(key, known)
  if (ours !== undefined) return ` (here it is "${ours}")`
  const camel = key.replace(/^-+/, '').replace(/[-_]+(\w)/g, (_, letter: string) => letter.toUpperCase())
  return nearest(camel, known)
}
