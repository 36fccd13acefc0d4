// Errors and warnings of the library name options as the API does; here they are named as whoever reads them gave them.

import { COMMANDS, type Command, flagOf } from './option.ts'
import { OPTIONS } from './options.ts'

/** Where the settings of a command came from: options by flag, by place, and the file of the others. */
export interface Origins {
  readonly command: Command
  /** Names given on the command line. */
  readonly typed: ReadonlySet<string>
  /** Names that the config file brought, and that file. */
  readonly filed?: { readonly path: string; readonly names: ReadonlySet<string> } | undefined
}

/** `--batch-size`; `file: batchSize` where that gave it; `data` as it stands where it is given by its place. */
export function nameAsGiven(name: string, { command, typed, filed }: Origins): string {
  if (!typed.has(name) && filed?.names.has(name)) return `${filed.path}: ${name}`
  return isPlaced(name, command) ? name : flagOf(name)
}

const isPlaced = (name: string, command: Command) =>
  OPTIONS.some(option => option.name === name && option.more.positional?.includes(command))

const OWN_NAMES: ReadonlySet<string> = new Set(COMMANDS)
const isCompound = (name: string) => /[A-Z]/.test(name)
const compounds = OPTIONS.map(({ name }) => name).filter(isCompound)
// Not within quotes, a path or a longer name: those are the reader's own.
const mentions = new RegExp(
  `"[^"]*"|(?<![\\w./\\\\-])(?:${compounds.join('|')}|columns\\.[a-z]\\w*)(?![\\w/\\\\-]|[.:]\\w)`,
  'g',
)

const words = OPTIONS.map(({ name }) => name).filter(name => !isCompound(name) && !OWN_NAMES.has(name))
const word = `(?:${words.join('|')})(?![\\w/\\\\-]|[.:=]\\w)`
// In a cure, words that are options follow one of these verbs, or another option.
const item = `(?:--[\\w-]+|${word})`
const cures = new RegExp(
  `"[^"]*"|\\b(?:lower|raise|lengthen|leave|give|choose|with) ${item}(?:(?:, | and | or )${item})*`,
  'g',
)
const afterSpace = new RegExp(`(?<= )${word}`, 'g')

/**
 * A message with the options in it named as they were given. What stands before its first colon is one where it was
 * given, or where no word of English or command is spelled so; further on, what cannot be a word, and in the cure what
 * one is told to give, change or leave out.
 */
export function asGiven(message: string, origins: Origins): string {
  const [, lead, name = '', part] = /^((\w+)(?:\.(\w+))?): /.exec(message) ?? []
  const { typed, filed } = origins
  const isGiven = typed.has(name) || filed?.names.has(name) === true
  const isOption = OPTIONS.some(option => option.name === name) && !OWN_NAMES.has(name)
  const renamed = lead !== undefined && isOption && (isGiven || isCompound(name) || part !== undefined)
  const start = renamed ? lead.length : 0
  const said = nameAsGiven(name, origins)
  const begin = !renamed
    ? ''
    : part === undefined
      ? said
      : said.startsWith('--')
        ? `${said} ${part}`
        : `${said}.${part}`
  const rest = message.slice(start).replace(mentions, found => mentioned(found, origins))
  const cure = rest.indexOf('; ') + 1 || rest.length
  const inCure = (found: string) =>
    found.startsWith('"') ? found : found.replace(afterSpace, option => mentioned(option, origins))
  return begin + rest.slice(0, cure) + rest.slice(cure).replace(cures, inCure)
}

/** An option in the midst of a message: what a reader would write to give it. */
function mentioned(found: string, { command, typed, filed }: Origins): string {
  if (found.startsWith('"')) return found
  const [name = '', part] = found.split('.')
  if ((!typed.has(name) && filed?.names.has(name)) || isPlaced(name, command)) return found
  return part === undefined ? flagOf(name) : `${flagOf(name)} ${part}=NAME`
}
