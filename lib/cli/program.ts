// From the command line to a command: parsing by commander, everything it knows taken from the option table.

import { CommanderError, Command as Parser, Option as ParserOption } from 'commander'
import { fail, LowrankError, messageOf, nearest, systemCode } from '../errors.ts'
import { packageVersion } from '../io/package.ts'
import { isTexts, must, nth } from '../tuple.ts'
import { asGiven } from './options/asGiven.ts'
import { commandHelp, programHelp, usageOf } from './options/help.ts'
import { COMMANDS, type Command, flagOf, type Option } from './options/option.ts'
import { optionsOf, type Settings } from './options/options.ts'
import { type Given, type ResolvedSettings, refuseAll, resolveSettings, unknownFlag } from './options/settings.ts'
import { createConsole, guardOutput } from './terminal/console.ts'
import { showDownloads } from './terminal/downloads.ts'
import { visible } from './terminal/visible.ts'

/** A command line understood. */
type Parsed = { readonly command: Command; readonly given: Given } | { readonly text: string }

/** Settings that a command cannot do without, one of each list. */
const required: Readonly<Record<Command, readonly (readonly (keyof Settings)[])[]>> = {
  train: [['data', 'train']],
  compare: [['data', 'train']],
  sweep: [['data', 'train']],
  'sweep worker': [['study']],
  evaluate: [['adapter'], ['data']],
  predict: [['adapter']],
  generate: [['adapter', 'model']],
  chat: [['adapter', 'model']],
  merge: [['adapter'], ['out']],
  combine: [['adapters'], ['out']],
  convert: [['adapter'], ['out']],
  diff: [['adapters']],
  report: [['runs']],
  download: [['ids']],
  'inspect model': [['model']],
  'inspect data': [['data']],
  'inspect batch': [['data']],
  doctor: [],
  build: [],
  quickstart: [],
  init: [['data']],
  completion: [['shell']],
}

/** What a command line asks for: a command with what it was given, or a text to print. @throws ERR_OPTION */
export function parseCommandLine(argv: readonly string[]): Parsed {
  const unknown: string[] = []
  for (let words = argv[0] === 'help' ? [...argv.slice(1), '--help'] : [...argv]; ; ) {
    try {
      const parsed = parseWords(words)
      if (unknown.length > 0) resolveSettings(...commandIn(parsed, words), unknown)
      return parsed
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error
      const command = commandOf(words)
      const at = error.code === 'commander.unknownOption' ? words.indexOf(quotedIn(error)) : -1
      if (!command || at < 0) return unknown.length > 0 ? refuseAll(unknown) : explain(error, words)
      unknown.push(unknownFlag(command, nth(words, at)))
      // What else is wrong is told too, so what looks like the value goes with its flag.
      words = words.toSpliced(at, words[at + 1]?.startsWith('-') === false ? 2 : 1)
    }
  }
}

const commandIn = (parsed: Parsed, words: readonly string[]): [Command, Given] =>
  'command' in parsed ? [parsed.command, parsed.given] : [must(commandOf(words), 'command'), {}]

function parseWords(argv: readonly string[]): Parsed {
  let parsed: Parsed | undefined
  const program = quiet(new Parser('lowrank')).enablePositionalOptions().version(packageVersion(), '-v, --version')
  program.helpInformation = programHelp
  const inspect = quiet(program.command('inspect'))
  inspect.helpInformation = programHelp
  const parents = new Map([['inspect', inspect]])
  for (const command of COMMANDS) {
    const [, parent, name = command] = /^(\S+) (.+)$/.exec(command) ?? []
    const parser = must(parent === undefined ? program : parents.get(parent), command).command(name)
    parents.set(command, parser)
    addOptions(quiet(parser), command)
    parser.helpInformation = () => commandHelp(command, process.stdout.columns || 100)
    parser.action((...args: unknown[]) => {
      parsed = { command, given: givenOf(command, parser, args) }
    })
  }
  program.parse([...argv], { from: 'user' })
  return parsed ?? { text: programHelp() }
}

/** Settings of a parsed command, complete. @throws ERR_OPTION */
export function settingsOf(command: Command, given: Given): ResolvedSettings {
  const resolved = resolveSettings(command, given)
  for (const names of required[command]) {
    if (names.some(name => resolved.settings[name] !== undefined)) continue
    const flags = names.map(name => flagOf(name)).join(' or ')
    fail('ERR_OPTION', `${command}: ${names[0]} is missing; give ${flags} (${usageOf(command)})`)
  }
  return resolved
}

/** Runs one command line; the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  guardOutput()
  let command: Command
  let resolved: ResolvedSettings
  try {
    const parsed = parseCommandLine(argv)
    if ('text' in parsed) {
      process.stdout.write(parsed.text)
      return 0
    }
    command = parsed.command
    resolved = settingsOf(command, parsed.given)
  } catch (error) {
    return report(error, 2)
  }
  const named = (message: string) => asGiven(message, resolved.origins)
  try {
    const action = await actions[command]()
    const console = createConsole({ ...resolved.settings, named })
    showDownloads(console)
    return await action(resolved.settings, console, resolved)
  } catch (error) {
    return report(error, 1, named)
  }
}

/** A command: the exit code comes back. */
type Action = (
  settings: Settings,
  console: ReturnType<typeof createConsole>,
  resolved: ResolvedSettings,
) => Promise<number>

// Loaded when asked for, so that --help does not load the addon.
const actions: Readonly<Record<Command, () => Promise<Action>>> = {
  train: async () => (await import('./commands/train.ts')).trainCommand,
  evaluate: async () => (await import('./commands/evaluate.ts')).evaluateCommand,
  predict: async () => (await import('./commands/predict.ts')).predictCommand,
  generate: async () => (await import('./commands/generate.ts')).generateCommand,
  chat: async () => (await import('./commands/chat.ts')).chatCommand,
  compare: async () => (await import('./commands/compare.ts')).compareCommand,
  sweep: async () => (await import('./commands/sweep.ts')).sweepCommand,
  'sweep worker': async () => (await import('./commands/sweepWorker.ts')).sweepWorkerCommand,
  merge: async () => (await import('./commands/merge.ts')).mergeCommand,
  combine: async () => (await import('./commands/combine.ts')).combineCommand,
  convert: async () => (await import('./commands/convert.ts')).convertCommand,
  diff: async () => (await import('./commands/diff.ts')).diffCommand,
  report: async () => (await import('./commands/report.ts')).reportCommand,
  download: async () => (await import('./commands/download.ts')).downloadCommand,
  'inspect model': async () => (await import('./commands/inspectModel.ts')).inspectModelCommand,
  'inspect data': async () => (await import('./commands/inspectData.ts')).inspectDataCommand,
  'inspect batch': async () => (await import('./commands/inspectBatch.ts')).inspectBatchCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  build: async () => (await import('./commands/build.ts')).buildCommand,
  quickstart: async () => (await import('./commands/quickstart.ts')).quickstartCommand,
  init: async () => (await import('./commands/init.ts')).initCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
}

function quiet(parser: Parser): Parser {
  const silent = (): void => {}
  return parser.exitOverride().configureOutput({ writeOut: silent, writeErr: silent }).allowExcessArguments(false)
}

function addOptions(parser: Parser, command: Command): void {
  for (const option of optionsOf(command)) {
    const { name, kind, more } = option
    if (more.positional?.includes(command)) parser.argument(kind === 'names' ? `[${name}...]` : `[${name}]`)
    for (const flags of flagsOf(option)) parser.addOption(new ParserOption(flags))
  }
}

function flagsOf({ name, kind, more }: Option): string[] {
  const flag = flagOf(name)
  const letter = more.short === undefined ? '' : `-${more.short}, `
  if (kind === 'boolean') return [`${letter}${flag}`, `--no-${flag.slice(2)}`]
  if (kind === 'pathOrTrue') return [`${letter}${flag} [value]`, `--no-${flag.slice(2)}`]
  return [`${letter}${flag} <value>`]
}

/** What flags and places brought. @throws ERR_OPTION for a value given both ways */
function givenOf(command: Command, parser: Parser, args: readonly unknown[]): Given {
  const given: Record<string, string | boolean | readonly string[] | undefined> = {}
  for (const option of optionsOf(command)) {
    const source = parser.getOptionValueSource(option.name)
    const value: unknown = parser.getOptionValue(option.name)
    if (source === 'cli' && (typeof value === 'string' || typeof value === 'boolean')) given[option.name] = value
  }
  const places = optionsOf(command).filter(option => option.more.positional?.includes(command))
  for (const [i, { name }] of places.entries()) {
    const value = args[i]
    if (typeof value !== 'string' && !(isTexts(value) && value.length > 0)) continue
    if (given[name] !== undefined)
      fail('ERR_OPTION', `${flagOf(name)}: given twice, "${String(given[name])}" and "${String(value)}"; keep one`)
    given[name] = value
  }
  return given
}

const quotedIn = ({ message }: CommanderError) => /'([^']*)'/.exec(message)?.[1] ?? ''

/** Commander's words in ours. */
function explain(error: CommanderError, argv: readonly string[]): Parsed {
  const quoted = quotedIn(error)
  const command = commandOf(argv)
  switch (error.code) {
    case 'commander.helpDisplayed':
    case 'commander.help':
      if (!command) checkWord(argv[0])
      return { text: command ? commandHelp(command, process.stdout.columns || 100) : programHelp() }
    case 'commander.version':
      return { text: `${packageVersion()}\n` }
    case 'commander.unknownOption':
      return fail(
        'ERR_OPTION',
        command ? unknownFlag(command, quoted) : `${quoted}: name a command first; see lowrank --help`,
      )
    case 'commander.unknownCommand': {
      return failUnknown(argv[0] === 'inspect' ? `inspect ${quoted}` : quoted)
    }
    case 'commander.optionMissingArgument':
      return fail('ERR_OPTION', `${quoted.split(' ')[0]}: needs a value; lowrank ${command} --help tells which`)
    case 'commander.excessArguments':
      return fail('ERR_OPTION', `${command}: too many arguments; ${command ? usageOf(command) : 'see lowrank --help'}`)
    default:
      return fail('ERR_OPTION', error.message.replace(/^error: /, ''), error)
  }
}

function failUnknown(word: string): never {
  fail('ERR_OPTION', `${word}: there is no such command${nearest(word, COMMANDS)}; lowrank --help lists them`)
}

/** @throws ERR_OPTION for a word with which no command begins, whose help is asked for */
function checkWord(word = '--help'): void {
  if (!word.startsWith('-') && !COMMANDS.some(command => command.split(' ')[0] === word)) failUnknown(word)
}

function commandOf(argv: readonly string[]): Command | undefined {
  // Of sweep and sweep worker the longer one.
  return COMMANDS.findLast(command => command.split(' ').every((word, i) => argv[i] === word))
}

/** Tells an error on standard error. Stacks are for LOWRANK_DEBUG. */
function report(error: unknown, code: number, named = (message: string) => message): number {
  const known = error instanceof LowrankError
  const system = systemCode(error)
  const name = known ? error.code : (system ?? 'ERR_INTERNAL')
  const message = known ? named(messageOf(error)) : messageOf(error)
  process.stderr.write(`error ${name}: ${visible(message)}\n`)
  if (process.env.LOWRANK_DEBUG && error instanceof Error) process.stderr.write(`${visible(error.stack ?? '')}\n`)
  else if (!known && system === undefined)
    process.stderr.write('This is a fault of lowrank itself; LOWRANK_DEBUG=1 shows where.\n')
  return code
}
