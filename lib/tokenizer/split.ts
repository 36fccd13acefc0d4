// Cutting a text at matches, and what becomes of the matches.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import type { Pattern } from './pattern.ts'
import type { Piece } from './piece.ts'

const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const

/** What becomes of a match. */
type Behavior = (typeof behaviors)[number]

/** A behavior by its name in tokenizer.json. @throws ERR_UNSUPPORTED for another name. */
export function readBehavior(value: unknown, where: string): Behavior {
  const found = behaviors.find(name => name === value || snake(name) === value)
  check(found, 'ERR_UNSUPPORTED', () => `tokenizer: ${where} has the unknown behavior ${shown(value)}`)
  return found
}

const snake = (name: string) => name.replace(/(?<=[a-z])[A-Z]/g, letter => `_${letter}`).toLowerCase()

/** The pieces that a pattern cuts a piece into; empty ones are left out. `invert`: what lies between is the match. */
export function split(piece: Piece, pattern: Pattern, behavior: Behavior, invert = false): Piece[] {
  const pieces: Piece[] = []
  const keep = (from: number, to: number) => {
    if (to > from) pieces.push(piece.slice(from, to))
  }
  const matches = pattern(piece.text)
  if (behavior === 'Isolated') eachPart(piece.text, matches, keep)
  else if (behavior === 'Removed')
    eachPart(piece.text, matches, (from, to, isMatch) => {
      if (isMatch === invert) keep(from, to)
    })
  else for (const [from, to] of joined(piece.text, matches, invert, behavior)) keep(from, to)
  return pieces
}

/** Goes through a text in order, matches and what lies between. */
function eachPart(
  text: string,
  matches: readonly number[],
  take: (from: number, to: number, isMatch: boolean) => void,
): void {
  let last = 0
  for (let i = 0; i < matches.length; i += 2) {
    const [from, to] = [matches[i]!, matches[i + 1]!]
    if (from > last) take(last, from, false)
    take(from, to, true)
    last = to
  }
  if (last < text.length) take(last, text.length, false)
}

/** Parts of which some are put together with the one before or after. */
function joined(
  text: string,
  matches: readonly number[],
  invert: boolean,
  behavior: Exclude<Behavior, 'Removed' | 'Isolated'>,
): [number, number][] {
  const rows: [number, number, boolean][] = []
  eachPart(text, matches, (from, to, isMatch) => rows.push([from, to, isMatch !== invert]))
  const backwards = behavior === 'MergedWithNext'
  if (backwards) rows.reverse()
  const result: [number, number][] = []
  let previous = false
  for (const [from, to, match] of rows) {
    const last = result.at(-1)
    const join = behavior === 'Contiguous' ? match === previous : match && !previous
    if (!join || !last) result.push([from, to])
    else if (backwards) last[0] = from
    else last[1] = to
    previous = match
  }
  return backwards ? result.reverse() : result
}

/** The pattern of single characters that pass a test. */
export function charPattern(test: (char: string) => boolean): Pattern {
  return text => {
    const found: number[] = []
    let at = 0
    for (const char of text) {
      if (test(char)) found.push(at, at + char.length)
      at += char.length
    }
    return found
  }
}

/** The pattern of a JavaScript regular expression with flags `gu`, for those of our own, which are linear. */
export function regexPattern(regex: RegExp): Pattern {
  return text => {
    const found: number[] = []
    regex.lastIndex = 0
    for (let match = regex.exec(text); match; match = regex.exec(text)) found.push(match.index, regex.lastIndex)
    return found
  }
}
