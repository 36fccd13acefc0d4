// What an option is: the kinds of values, how a flag's text becomes one, and what a YAML value must be.

import { check, nearest } from '../../errors.ts'

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
  /** name=value pairs as a flag, an object in YAML. */
  numbers: Readonly<Record<string, number>>
  texts: Readonly<Record<string, string>>
  choice: string | boolean
  /** epoch, never, or a number of steps. */
  every: 'epoch' | 'never' | number
  /** balanced, or one number a class. */
  weights: 'balanced' | readonly number[]
  /** A flag alone, or with a path. */
  pathOrTrue: string | boolean
}
export type Kind = keyof Kinds

export const COMMANDS = [
  'train',
  'evaluate',
  'predict',
  'merge',
  'inspect model',
  'inspect data',
  'inspect batch',
  'doctor',
  'build',
  'quickstart',
] as const
export type Command = (typeof COMMANDS)[number]

/** What may be added to an option's row. */
export interface More {
  readonly choices?: readonly (string | boolean)[]
  readonly commands?: readonly Command[]
  /** Takes its value without a flag: its place on the command line. */
  readonly positional?: readonly Command[]
  /** What stands for the default in the help, where it is found out at run time. */
  readonly found?: string
  readonly min?: number
  readonly max?: number
  /** Single-letter flag. */
  readonly short?: string
  /** What quickstart takes in place of the default. */
  readonly quickstart?: unknown
}

/** One row of the option table. */
export interface Option {
  readonly name: string
  readonly kind: Kind
  readonly default: unknown
  readonly help: string
  readonly group: string
  readonly commands: readonly Command[]
  readonly more: More
}

/** `--learning-rate` for learningRate. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** What a kind's values are called in messages and in the help. */
export function describeKind({ kind, more }: Pick<Option, 'kind' | 'more'>): string {
  if (more.choices) return `one of ${more.choices.join(', ')}`
  const range =
    more.min === undefined ? '' : more.max === undefined ? ` from ${more.min}` : ` from ${more.min} to ${more.max}`
  const words: Readonly<Record<Kind, string>> = {
    text: 'a text',
    path: 'a path',
    integer: `a whole number${range}`,
    number: `a number${range}`,
    boolean: 'true or false',
    names: 'a list of names',
    pattern: 'a list of names, or a pattern',
    integers: 'a list of whole numbers',
    numbers: 'name=number pairs',
    texts: 'name=name pairs',
    choice: 'a choice',
    every: 'epoch, never, or a number of steps from 1',
    weights: 'balanced, or a list of numbers',
    pathOrTrue: 'true, false or a path',
  }
  return words[kind]
}

/** The value behind a flag's text. @throws ERR_OPTION naming the flag, the text and the kind */
export function parseFlag(option: Option, text: string): unknown {
  const flag = flagOf(option.name)
  const value = decode(option, text)
  check(accepts(option, value), 'ERR_OPTION', () => {
    const close = option.more.choices ? nearest(text, option.more.choices.map(String)) : ''
    return `${flag}: "${text}" is not ${describeKind(option)}${close}`
  })
  return value
}

/** A YAML value checked against its option. @throws ERR_OPTION naming file, key, value and kind */
export function checkYaml(option: Option, value: unknown, file: string): unknown {
  const { kind } = option
  const wrapped = (kind === 'names' || kind === 'integers') && !Array.isArray(value) ? [value] : value
  check(accepts(option, wrapped), 'ERR_OPTION', () => {
    const shown = typeof value === 'string' ? `"${value}"` : JSON.stringify(value)
    const close = option.more.choices ? nearest(String(value), option.more.choices.map(String)) : ''
    return `${file}: ${option.name}: ${shown} (${typeName(value)}) is not ${describeKind(option)}${close}`
  })
  return wrapped
}

function decode({ kind, more }: Option, text: string): unknown {
  const list = text.split(',').map(part => part.trim())
  switch (kind) {
    case 'integer':
    case 'number':
      return numeric(text)
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'names':
      return list
    case 'integers':
      return list.map(numeric)
    case 'weights':
      return text === 'balanced' ? text : list.map(numeric)
    case 'every':
      return numeric(text)
    // Module names hold letters, digits, dots and underscores; anything else makes it a regular expression.
    case 'pattern':
      return text === 'all-linear' || !/^[\w.,\s-]+$/.test(text) ? text : list
    case 'numbers':
      return pairs(list, numeric)
    case 'texts':
      return pairs(list, value => value)
    case 'choice':
      return more.choices!.find(choice => String(choice) === text) ?? text
    default:
      return text
  }
}

function numeric(text: string): number | string {
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}

/** `a=1,b=2` as an object; a value may hold `=`, a name may not. */
function pairs(list: readonly string[], read: (text: string) => unknown): unknown {
  const found: Record<string, unknown> = {}
  for (const part of list) {
    const at = part.indexOf('=')
    if (at <= 0) return undefined
    found[part.slice(0, at).trim()] = read(part.slice(at + 1).trim())
  }
  return found
}

function accepts({ kind, more }: Option, value: unknown): boolean {
  const { choices, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = more
  switch (kind) {
    case 'text':
    case 'path':
      return typeof value === 'string' && value !== ''
    case 'integer':
      return Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max
    case 'boolean':
      return typeof value === 'boolean'
    case 'names':
      return isNames(value)
    case 'pattern':
      return (typeof value === 'string' && value !== '') || isNames(value)
    case 'integers':
      return Array.isArray(value) && value.every(Number.isSafeInteger)
    case 'numbers':
      return isRecord(value) && Object.values(value).every(Number.isFinite)
    case 'texts':
      return isRecord(value) && Object.values(value).every(item => typeof item === 'string' && item !== '')
    case 'choice':
      return choices!.includes(value as string | boolean)
    case 'every':
      return value === 'epoch' || value === 'never' || (Number.isSafeInteger(value) && Number(value) >= 1)
    case 'weights':
      return value === 'balanced' || (Array.isArray(value) && value.length > 0 && value.every(Number.isFinite))
    case 'pathOrTrue':
      return typeof value === 'boolean' || (typeof value === 'string' && value !== '')
  }
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(item => typeof item === 'string' && item !== '')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'list' : typeof value
}
