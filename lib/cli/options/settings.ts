// From what was typed to settings: flags over the YAML file over defaults, each value checked against its option.

import { check, type ErrorCode, fail, LowrankError, nearest } from '../../errors.ts'
import { readText } from '../../io/json.ts'
import { nameHere, nearestOption } from '../../options.ts'
import { METHODS, type Method, type MethodKind } from '../../peft/index.ts'
import { keysOf, nth } from '../../tuple.ts'
import { nameAsGiven, type Origins } from './asGiven.ts'
import { type Command, checkYaml, flagOf, type Option, parseFlag } from './option.ts'
import { OPTIONS, optionsOf, type Settings } from './options.ts'
import { parseYaml } from './yaml.ts'

/** What the command line brought: texts of flags by option name, true and false for switches, lists for places. */
export type Given = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** Settings, and where each that is no default came from. */
export interface ResolvedSettings {
  readonly settings: Settings
  /** Names given by flag or file. */
  readonly given: ReadonlySet<string>
  /** Where each came from. */
  readonly origins: Origins
}

/**
 * Settings of a command. An option that only other commands take is an error as a flag, but not in a file, so that one
 * file serves train, evaluate and inspect.
 * @param wrong what is known to be wrong already
 * @throws ERR_OPTION for an unknown key (with the nearest) and a value of the wrong kind, all of them at once
 */
export function resolveSettings(command: Command, given: Given, wrong: readonly string[] = []): ResolvedSettings {
  const values = new Map<string, unknown>(OPTIONS.map(option => [option.name, standard(option, command)]))
  const seen = new Set<string>()
  const put = (name: string, value: unknown): void => {
    values.set(name, value)
    seen.add(name)
  }
  const problems = wrong.map(message => new LowrankError('ERR_OPTION', message))
  const typed = new Set(keysOf(given).filter(name => given[name] !== undefined))
  const origins: Origins = {
    command,
    typed,
    filed: typeof given.config === 'string' ? { path: given.config, names: seen } : undefined,
  }
  if (typeof given.config === 'string')
    for (const [name, value] of readConfig(given.config, command, problems)) put(name, value)
  for (const option of optionsOf(command)) {
    const value = given[option.name]
    if (value !== undefined) attempt(problems, () => put(option.name, fromFlag(option, value)))
  }
  for (const name of replaced(seen, typed)) values.set(name, undefined)
  const settings = Object.fromEntries(values) as Settings
  const choosesMethod = optionsOf(command).some(({ name }) => name === 'method')
  if (choosesMethod) attempt(problems, () => checkMethod(settings, seen, name => nameAsGiven(name, origins)))
  throwAll(problems)
  return { settings, given: seen, origins }
}

/** Options in whose place another is given: defaults, and what a file says where a flag says otherwise. */
function replaced(seen: ReadonlySet<string>, typed: ReadonlySet<string>): string[] {
  return OPTIONS.flatMap(({ name, instead }) => {
    if (instead === undefined || !seen.has(name)) return []
    if (!seen.has(instead) || (typed.has(name) && !typed.has(instead))) return [instead]
    return typed.has(instead) && !typed.has(name) ? [name] : []
  })
}

/** Runs a check and remembers its error. */
function attempt(problems: LowrankError[], work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error
    problems.push(error)
  }
}

/** @throws all that is wrong as one error, so that nobody mends a file line by line */
function throwAll(problems: readonly LowrankError[]): void {
  const [first] = problems
  if (!first) return
  if (problems.length === 1) throw first
  refuseAll(
    problems.map(({ message }) => message),
    first.code,
  )
}

/** Tells one problem, or several together. */
export function refuseAll(messages: readonly string[], code: ErrorCode = 'ERR_OPTION'): never {
  const list = messages.map(message => `  ${message}`).join('\n')
  fail(code, messages.length === 1 ? nth(messages, 0) : `${messages.length} options are wrong:\n${list}`)
}

/** An option of another method would have no effect. @throws ERR_OPTION */
function checkMethod({ method }: Settings, given: ReadonlySet<string>, nameOf: (name: string) => string): void {
  const takes = (kind: MethodKind, name: string) => kind.fields.some(field => field.name === name)
  const known = METHODS.find(({ type }) => type === method)
  for (const name of given) {
    const owners = METHODS.filter(kind => takes(kind, name)).map(({ type }) => type)
    check(!known || owners.length === 0 || takes(known, name), 'ERR_OPTION', () => {
      return `${nameOf(name)}: method ${method} has no such option; ${owners.join(', ')} do${owners.length > 1 ? '' : 'es'}`
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

function* readConfig(path: string, command: Command, problems: LowrankError[]): Generator<[string, unknown]> {
  const values = parseYaml(path, readText(path, 'ERR_OPTION'))
  for (const [key, value] of Object.entries(values)) {
    let found: [string, unknown] | undefined
    attempt(problems, () => {
      found = entryOf(path, key, value, command)
    })
    if (found) yield found
  }
}

/** One entry of the file that this command takes. @throws ERR_OPTION */
function entryOf(path: string, key: string, value: unknown, command: Command): [string, unknown] | undefined {
  const option = OPTIONS.find(({ name }) => name === key)
  check(option && key !== 'config', 'ERR_OPTION', () => {
    const names = OPTIONS.map(({ name }) => name)
    return `${path}: there is no option "${key}"${nearestOption(key, names)}`
  })
  const checked = value === null ? undefined : checkYaml(option, value, path)
  return checked !== undefined && option.commands.includes(command) ? [key, checked] : undefined
}

/** The message for a flag nobody knows: the nearest flag of this command, or the commands that do take it. */
export function unknownFlag(command: Command, flag: string): string {
  const name = flag.replace(/=.*/s, '')
  const known = optionsOf(command).map(option => flagOf(option.name))
  const ours = nameHere(
    name,
    optionsOf(command).map(option => option.name),
  )
  const value = /=(.*)/s.exec(flag)?.[1]
  if (value !== undefined && known.includes(name))
    return `${name}: takes no value, "${value}" is given; write ${name}, or --no-${name.slice(2)}`
  const elsewhere = OPTIONS.find(option => flagOf(option.name) === name)
  if (elsewhere && ours === undefined)
    return `${name}: lowrank ${command} has no such option; ${elsewhere.commands.join(', ')} do`
  const hint = ours === undefined ? nearest(name, known) : ` (here it is "${flagOf(ours)}")`
  return `${name}: there is no such option${hint}; lowrank ${command} --help lists them`
}

/** Settings as trackers and pages take them: what is set, lists and objects as JSON. */
export function plainSettings(
  settings: object,
  without: readonly string[] = [],
): Record<string, string | number | boolean> {
  const set = Object.entries(settings).filter(([name, value]) => value !== undefined && !without.includes(name))
  return Object.fromEntries(
    set.map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : value]),
  )
}

/** Options of `train` that change no result, and where it goes. */
const ASIDE = ['out', 'config', 'texts', 'json', 'quiet', 'dryRun', 'report', 'trackers', 'resume', 'overwrite']

/** What decided a run, for records of it: options of the run and of its method alone, and what was found. */
export function runSettings(
  settings: Settings,
  { type, options }: Pick<Method, 'type' | 'options'>,
  found: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const left = new Set([...ASIDE, ...(settings.generateRows === 0 ? ['generateRows', 'maxNewTokens'] : [])])
  const rows = optionsOf('train').filter(({ name, group }) => group !== 'Method' && !left.has(name))
  const own = new Set(rows.map(({ name }) => name))
  const given = Object.fromEntries(Object.entries(settings).filter(([name]) => own.has(name)))
  const all = Object.entries({ ...given, method: type, ...options, ...found })
  return Object.fromEntries(all.filter(([, value]) => value !== undefined))
}
