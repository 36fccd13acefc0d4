// Patterns of tokenizer.json: a plain text, or a regular expression of Oniguruma.

import { brief, fail, messageOf } from '../errors.ts'
import { Regex, RegexError } from '../regex/regex.ts'
import { asObject } from './json.ts'

/** The matches in a text as [start, end, start, end, …]. */
export type Pattern = (text: string) => readonly number[]

/** The pattern of a `{"String": …}` or `{"Regex": …}`. @throws ERR_UNSUPPORTED, ERR_CONFIG naming `where`. */
export function readPattern(value: unknown, where: string): Pattern {
  const config = asObject(value)
  const plain = typeof value === 'string' ? value : config?.String
  if (typeof plain === 'string' && plain !== '') return text => occurrences(text, plain)
  // The Rust library makes a regular expression of a plain text too: an empty one is found between all characters.
  const source = plain ?? config?.Regex
  if (typeof source !== 'string') fail('ERR_CONFIG', `tokenizer: ${where} has no pattern, neither String nor Regex`)
  try {
    const regex = new Regex(source, 'onig')
    return text => {
      try {
        return regex.matches(text)
      } catch (error) {
        fail('ERR_DATA', `tokenizer: the pattern "${brief(source)}" of ${where} ${messageOf(error)}`, error)
      }
    }
  } catch (error) {
    if (!(error instanceof RegexError)) throw error
    fail('ERR_UNSUPPORTED', `tokenizer: the pattern "${brief(source)}" of ${where} ${error.message}`, error)
  }
}

function occurrences(text: string, part: string): number[] {
  const found: number[] = []
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) found.push(at, at + part.length)
  return found
}
