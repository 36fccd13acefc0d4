// target_modules and pattern keys in an adapter's config are Python regular expressions, and PEFT will read ours as
// such. JavaScript's differ in a few spellings, translated here; what has no counterpart is refused.

import { fail } from '../errors.ts'

/** How a pattern is applied: Python's `re.fullmatch` or `re.match` (from the start, not to the end). */
export type MatchMode = 'full' | 'start'

/** A Python pattern as a RegExp. Not a pattern, or one JavaScript cannot express: `ERR_OPTION` naming `option`. */
export function pythonRegex(pattern: string, option: string, mode: MatchMode): RegExp {
  const { source, flags } = translated(pattern, option)
  try {
    return new RegExp(mode === 'full' ? `^(?:${source})$` : `^(?:${source})`, flags)
  } catch (error) {
    fail('ERR_OPTION', `${option}: "${pattern}" is not a regular expression: ${(error as Error).message}`, error)
  }
}

function translated(pattern: string, option: string): { source: string; flags: string } {
  const refuse = (what: string): never =>
    fail('ERR_OPTION', `${option}: "${pattern}" uses ${what}, which cannot be matched here; write it without`)
  const global = /^\(\?([aimsu]+)\)/.exec(pattern)
  let source = ''
  for (let at = global?.[0].length ?? 0; at < pattern.length; ) {
    const [piece, length] = nextPiece(pattern, at, refuse)
    source += piece
    at += length
  }
  const flags = [...new Set(global?.[1] ?? '')].filter(flag => 'ims'.includes(flag)).join('')
  return { source, flags }
}

/** The translation of what stands at `at`, and how many characters of the pattern it takes. */
function nextPiece(pattern: string, at: number, refuse: (what: string) => never): [piece: string, length: number] {
  const rest = pattern.slice(at)
  if (rest.startsWith('\\')) return escaped(rest, refuse)
  if (rest.startsWith('[')) return characterClass(rest, refuse)
  if (rest.startsWith('(?')) return group(rest, refuse)
  // {,3} is a count in Python and plain text in JavaScript.
  const open = /^\{,(\d+)\}/.exec(rest)
  if (open) return [`{0,${open[1]}}`, open[0].length]
  if (/^(?:[*+?]|\{\d+(?:,\d*)?\})\+/.test(rest)) return refuse('a possessive quantifier')
  // $ without a flag also matches before a last line feed; no module name holds one.
  return [rest[0]!, 1]
}

function escaped(rest: string, refuse: (what: string) => never): [string, number] {
  const letter = rest[1]
  if (letter === undefined) return refuse('a lone backslash at its end')
  if (letter === 'A') return ['(?<![^])', 2]
  if (letter === 'Z' || letter === 'z') return ['(?![^])', 2]
  if (letter === 'a') return ['\\x07', 2]
  if (/[NUpPkKGhHRXQE]/.test(letter)) return refuse(`\\${letter}`)
  return [rest.slice(0, 2), 2]
}

function group(rest: string, refuse: (what: string) => never): [string, number] {
  const named = /^\(\?P<([A-Za-z_]\w*)>/.exec(rest)
  if (named) return [`(?<${named[1]}>`, named[0].length]
  const back = /^\(\?P=([A-Za-z_]\w*)\)/.exec(rest)
  if (back) return [`\\k<${back[1]}>`, back[0].length]
  const comment = /^\(\?#[^)]*\)/.exec(rest)
  if (comment) return ['', comment[0].length]
  const plain = /^\(\?(?::|=|!|<=|<!)/.exec(rest)
  if (plain) return [plain[0], plain[0].length]
  if (rest.startsWith('(?>')) return refuse('an atomic group (?>')
  if (rest.startsWith('(?(')) return refuse('a conditional group (?(')
  if (rest.startsWith('(?<')) return refuse('the group (?<name>, which Python writes (?P<name>)')
  return refuse(`the group ${rest.slice(0, 4)}`)
}

/** A whole [...]; a bracket that comes first in it is an ordinary character in Python. */
function characterClass(rest: string, refuse: (what: string) => never): [string, number] {
  let at = rest[1] === '^' ? 2 : 1
  let piece = rest.slice(0, at)
  for (let first = true; ; first = false) {
    const character = rest[at]
    if (character === undefined) return refuse('a [ that is never closed')
    if (character === ']' && !first) return [`${piece}]`, at + 1]
    const [text, length] = character === '\\' ? escaped(rest.slice(at), refuse) : [character, 1]
    piece += text === ']' ? '\\]' : text
    at += length
  }
}
