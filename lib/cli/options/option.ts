// Options on the command line: how a flag's text becomes a value, and what a YAML value must be.

import { check } from '../../errors.ts'
import { shown } from '../../io/json.ts'
import { accepts, describeKind, nearestChoice, type OptionRow } from '../../options.ts'
import { must } from '../../tuple.ts'

export const COMMANDS = [
  'train',
  'evaluate',
  'predict',
  'generate',
  'chat',
  'compare',
  'sweep',
  'sweep worker',
  'merge',
  'combine',
  'convert',
  'diff',
  'report',
  'download',
  'inspect model',
  'inspect data',
  'inspect batch',
  'doctor',
  'build',
  'quickstart',
  'init',
  'completion',
] as const
export type Command = (typeof COMMANDS)[number]

/** Shells that completion is written for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** What may be added to an option's row. */
export interface More {
  readonly commands?: readonly Command[]
  /** Takes its value without a flag: its place on the command line. */
  readonly positional?: readonly Command[]
  /** What stands for the default in the help, where it is found out at run time. */
  readonly found?: string
  /** As `found`, of commands that have another; '' of those that have none. */
  readonly foundBy?: Readonly<Partial<Record<Command, string>>>
  /** Single-letter flag. */
  readonly short?: string
  /** What quickstart takes in place of the default. */
  readonly quickstart?: unknown
}

/** One row of the option table. */
export interface Option extends Omit<OptionRow, 'found'> {
  readonly name: string
  readonly group: string
  readonly commands: readonly Command[]
  readonly more: More
}

/** `--learning-rate` for learningRate. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** The value behind a flag's text. @throws ERR_OPTION naming the flag, the text and the kind */
export function parseFlag(option: Option, text: string): unknown {
  const flag = flagOf(option.name)
  const value = decode(option, text)
  check(accepts(option, value), 'ERR_OPTION', () => {
    return `${flag}: "${text}" is not ${describeKind(option)}${nearestChoice(option, text)}`
  })
  return value
}

/** A YAML value checked against its option. @throws ERR_OPTION naming file, key, value and kind */
export function checkYaml(option: Option, value: unknown, file: string): unknown {
  const { kind } = option
  const wrapped =
    (kind === 'names' || kind === 'integers' || kind === 'decimals') && !Array.isArray(value) ? [value] : value
  check(accepts(option, wrapped), 'ERR_OPTION', () => {
    const close = nearestChoice(option, value)
    return `${file}: ${option.name}: ${shown(value)} (${typeName(value)}) is not ${describeKind(option)}${close}`
  })
  return wrapped
}

function decode({ kind, choices }: Option, text: string): unknown {
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
    case 'decimals':
      return list.map(numeric)
    case 'weights':
      return text === 'balanced' || text === 'none' ? text : list.map(numeric)
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
      return must(choices, 'choices').find(choice => String(choice) === text) ?? text
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

function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'list' : typeof value
}
