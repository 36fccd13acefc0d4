// From what was typed to settings: flags over the YAML file over defaults, each value checked against its option.

import { check, nearest } from '../../errors.ts'
import { readText } from '../../io/json.ts'
import { nameHere, nearestOption } from '../../options.ts'
import { METHODS, type MethodKind } from '../../peft/index.ts'
import { type Command, checkYaml, flagOf, type Option, parseFlag } from './option.ts'
import { OPTIONS, optionsOf, type Settings } from './options.ts'
import { parseYaml } from './yaml.ts'

/** What the command line brought: texts of flags by option name, true and false for switches, lists for places. */
export type Given = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** Settings, and where each that is no default came from. */
export interface Resolved {
  readonly settings: Settings
  /** Names given by flag or file. */
  readonly given: ReadonlySet<string>
}

/**
 * Settings of a command. An option that only other commands take is an error as a flag, but not in a file, so that one
 * file serves train, evaluate and inspect.
 * @throws ERR_OPTION for an unknown key (with the nearest) and a value of the wrong kind
 */
export function resolveSettings(command: Command, given: Given): Resolved {
  const values = new Map<string, unknown>(OPTIONS.map(option => [option.name, standard(option, command)]))
  const seen = new Set<string>()
  const put = (name: string, value: unknown): void => {
    values.set(name, value)
    seen.add(name)
  }
  if (typeof given.config === 'string') for (const [name, value] of readConfig(given.config, command)) put(name, value)
  for (const option of optionsOf(command)) {
    const value = given[option.name]
    if (value !== undefined) put(option.name, fromFlag(option, value))
  }
  const settings = Object.fromEntries(values) as Settings
  checkMethod(settings, seen)
  return { settings, given: seen }
}

/** An option of another method would have no effect. @throws ERR_OPTION */
function checkMethod({ method }: Settings, given: ReadonlySet<string>): void {
  const takes = (kind: MethodKind, name: string) => kind.fields.some(field => field.name === name)
  const known = METHODS.find(({ type }) => type === method)
  for (const name of given) {
    const owners = METHODS.filter(kind => takes(kind, name)).map(({ type }) => type)
    check(!known || owners.length === 0 || takes(known, name), 'ERR_OPTION', () => {
      return `${flagOf(name)}: method ${method} has no such option; ${owners.join(', ')} do${owners.length > 1 ? '' : 'es'}`
    })
  }
}

function standard({ default: value, more }: Option, command: Command): unknown {
  return command === 'quickstart' && more.quickstart !== undefined ? more.quickstart : value
}

function fromFlag(option: Option, value: string | boolean | readonly string[]): unknown {
  if (typeof value === 'string') return parseFlag(option, value)
  return value
}

function* readConfig(path: string, command: Command): Generator<[string, unknown]> {
  const values = parseYaml(path, readText(path, 'ERR_OPTION'))
  const names = OPTIONS.map(option => option.name)
  for (const [key, value] of Object.entries(values)) {
    const option = OPTIONS.find(({ name }) => name === key)
    check(
      option && key !== 'config',
      'ERR_OPTION',
      () => `${path}: there is no option "${key}"${nearestOption(key, names)}`,
    )
    const checked = value === null ? undefined : checkYaml(option, value, path)
    if (checked !== undefined && option.commands.includes(command)) yield [key, checked]
  }
}

/** The message for a flag nobody knows: the nearest flag of this command, or the commands that do take it. */
export function unknownFlag(command: Command, flag: string): string {
  const name = flag.replace(/=.*/s, '')
  const known = optionsOf(command).map(option => flagOf(option.name))
  const ours = nameHere(
    name,
    optionsOf(command).map(option => option.name),
  )
  const elsewhere = OPTIONS.find(option => flagOf(option.name) === name)
  if (elsewhere && ours === undefined)
    return `${name}: lowrank ${command} has no such option; ${elsewhere.commands.join(', ')} do`
  const hint = ours === undefined ? nearest(name, known) : ` (here it is "${flagOf(ours)}")`
  return `${name}: there is no such option${hint}; lowrank ${command} --help lists them`
}
