// Patterns of other languages as trees: Oniguruma's as Ruby writes them (tokenizer.json) and Python's (adapters).

import { codePointIn, nth, under } from '../tuple.ts'
import { parseClass } from './classes.ts'
import type { Anchor, Dialect, PatternCursor } from './cursor.ts'
import { RegexError } from './error.ts'
import { parseEscape } from './escapes.ts'
import { foldAtEnd } from './folds.ts'
import { anything, type CharTest, ignoringCase, lineFeed, not } from './sets.ts'

/** A pattern as a tree. */
export type Node =
  | { readonly type: 'set'; readonly test: CharTest; readonly key: string }
  | { readonly type: 'sequence'; readonly parts: readonly Node[] }
  | { readonly type: 'choice'; readonly parts: readonly Node[] }
  | { readonly type: 'repeat'; readonly part: Node; readonly min: number; readonly max: number; readonly kind: Repeat }
  | { readonly type: 'atomic'; readonly part: Node }
  | { readonly type: 'look'; readonly part: Node; readonly behind: boolean; readonly negative: boolean }
  | { readonly type: 'anchor'; readonly at: Anchor }

type Repeat = 'greedy' | 'lazy' | 'possessive'

const maxDepth = 200
const maxCount = 1000

/** The tree of a pattern. @throws {@link RegexError} for what is no pattern or cannot be matched here. */
export function parse(pattern: string, dialect: Dialect): Node {
  const cursor: PatternCursor = {
    pattern,
    dialect,
    at: 0,
    depth: 0,
    ignoreCase: false,
    dotAll: false,
    multiline: dialect === 'onig',
  }
  const global = dialect === 'python' ? /^\(\?([aimsu]+)\)/.exec(pattern) : null
  if (global) {
    setFlags(cursor, nth(global, 1), true)
    cursor.at = global[0].length
  }
  const node = parseChoice(cursor)
  if (cursor.at < pattern.length) throw new RegexError('is not a regular expression: it has a ) too many')
  return node
}

function parseChoice(cursor: PatternCursor): Node {
  const flags = { ...cursor }
  cursor.depth++
  if (cursor.depth > maxDepth) throw new RegexError(`nests more than ${maxDepth} groups`)
  const parts = [parseSequence(cursor)]
  while (cursor.pattern[cursor.at] === '|') {
    cursor.at++
    parts.push(parseSequence(cursor))
  }
  const { ignoreCase, dotAll, multiline, depth } = flags
  Object.assign(cursor, { ignoreCase, dotAll, multiline, depth })
  return parts.length === 1 ? nth(parts, 0) : { type: 'choice', parts }
}

function parseSequence(cursor: PatternCursor): Node {
  const parts: Node[] = []
  let text = ''
  for (;;) {
    const c = cursor.pattern[cursor.at]
    if (c === undefined || c === '|' || c === ')') break
    const atom = parseAtom(cursor)
    if (!atom) continue
    const part = parseRepeats(cursor, atom)
    // What is repeated stands by itself.
    const char = cursor.dialect === 'onig' ? charIgnoringCase(atom) : undefined
    if (char !== undefined) checkFolds(part === atom ? text + char : char)
    text = char !== undefined && part === atom ? text + char : ''
    parts.push(part)
  }
  return parts.length === 1 ? nth(parts, 0) : { type: 'sequence', parts }
}

/** The character that a set stands for whatever its case. */
function charIgnoringCase(node: Node): string | undefined {
  const [flag, char, ...more] = node.type === 'set' ? [...node.key] : []
  return flag === 'i' && more.length === 0 ? char : undefined
}

function checkFolds(text: string): void {
  const found = foldAtEnd(text)
  if (found) throw new RegexError(`ignores the case of "${found[1]}", which "${found[0]}" may stand for`)
}

/** One character, class, group or anchor; undefined for a comment. */
function parseAtom(cursor: PatternCursor): Node | undefined {
  const c = cursor.pattern.charAt(cursor.at)
  if (c === '(') return parseGroup(cursor)
  if (c === '[') return set(cursor, ...parseClass(cursor))
  if (c === '\\') {
    const found = parseEscape(cursor, false)
    return 'anchor' in found ? { type: 'anchor', at: found.anchor } : set(cursor, found.test, found.key)
  }
  if ('*+?'.includes(c)) throw new RegexError(`is not a regular expression: nothing stands before its ${c}`)
  const codePoint = codePointIn(cursor.pattern, cursor.at)
  cursor.at += codePoint > 0xffff ? 2 : 1
  if (c === '.') return cursor.dotAll ? set(cursor, anything, 'any') : set(cursor, not(lineFeed), 'dot')
  if (c === '^') return { type: 'anchor', at: cursor.multiline ? 'lineStart' : 'start' }
  if (c === '$') return { type: 'anchor', at: cursor.multiline ? 'lineEnd' : 'endOrLine' }
  return set(cursor, x => x === codePoint, String.fromCodePoint(codePoint))
}

function set(cursor: PatternCursor, test: CharTest, key: string): Node {
  return cursor.ignoreCase ? { type: 'set', test: ignoringCase(test), key: `i${key}` } : { type: 'set', test, key }
}

const looks: Readonly<Record<string, { behind: boolean; negative: boolean }>> = {
  '(?=': { behind: false, negative: false },
  '(?!': { behind: false, negative: true },
  '(?<=': { behind: true, negative: false },
  '(?<!': { behind: true, negative: true },
}

function parseGroup(cursor: PatternCursor): Node | undefined {
  const rest = cursor.pattern.slice(cursor.at, cursor.at + 80)
  if (!rest.startsWith('(?')) return inGroup(cursor, 1)
  const comment = /^\(\?#[^)]*\)/.exec(cursor.pattern.slice(cursor.at))
  if (comment) {
    cursor.at += comment[0].length
    return undefined
  }
  const look = /^\(\?<?[=!]/.exec(rest)?.[0]
  if (look) return { type: 'look', part: inGroup(cursor, look.length), ...under(looks, look) }
  if (rest.startsWith('(?:')) return inGroup(cursor, 3)
  const name = (cursor.dialect === 'python' ? /^\(\?P<[A-Za-z_]\w*>/ : /^\(\?<[A-Za-z_]\w*>/).exec(rest)
  if (name) return inGroup(cursor, name[0].length)
  if (cursor.dialect === 'python') return refuseGroup(rest)
  if (rest.startsWith('(?>')) return { type: 'atomic', part: inGroup(cursor, 3) }
  return flagged(cursor, rest)
}

function refuseGroup(rest: string): never {
  if (rest.startsWith('(?>')) throw new RegexError('uses an atomic group (?>')
  if (rest.startsWith('(?(')) throw new RegexError('uses a conditional group (?(')
  if (rest.startsWith('(?P=')) throw new RegexError('uses a back reference (?P=')
  if (rest.startsWith('(?<')) throw new RegexError('uses the group (?<name>, which Python writes (?P<name>)')
  throw new RegexError(`uses the group ${rest.slice(0, 4)}`)
}

/** `(?i:…)`, or `(?i)` which holds to the end of the group around it. */
function flagged(cursor: PatternCursor, rest: string): Node {
  const found = /^\(\?([im]*)(?:-([im]+))?([:)])/.exec(rest)
  if (!found) throw new RegexError(`uses the group ${rest.slice(0, 4)}`)
  const before = { ignoreCase: cursor.ignoreCase, dotAll: cursor.dotAll }
  setFlags(cursor, nth(found, 1), true)
  setFlags(cursor, found[2] ?? '', false)
  if (found[3] === ':') {
    const node = inGroup(cursor, found[0].length)
    Object.assign(cursor, before)
    return node
  }
  cursor.at += found[0].length
  return parseChoice(cursor)
}

function setFlags(cursor: PatternCursor, letters: string, on: boolean): void {
  for (const letter of letters) {
    if (letter === 'i') cursor.ignoreCase = on
    // Ruby's m is everybody else's s.
    if (letter === (cursor.dialect === 'onig' ? 'm' : 's')) cursor.dotAll = on
    if (letter === 'm' && cursor.dialect === 'python') cursor.multiline = on
  }
}

function inGroup(cursor: PatternCursor, opening: number): Node {
  cursor.at += opening
  const node = parseChoice(cursor)
  if (cursor.pattern[cursor.at] !== ')') throw new RegexError('is not a regular expression: a ( is never closed')
  cursor.at++
  return node
}

function parseRepeats(cursor: PatternCursor, atom: Node): Node {
  let node = atom
  for (let count = 0; ; count++) {
    const rest = cursor.pattern.slice(cursor.at, cursor.at + 24)
    const found = /^(?:[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})/.exec(rest)?.[0]
    if (!found) return node
    if (count > 0 && cursor.dialect === 'python') throw new RegexError(`repeats what is repeated ("${found}")`)
    if (count > maxDepth) throw new RegexError(`repeats one thing more than ${maxDepth} times over`)
    const [min, max] = counts(found)
    cursor.at += found.length
    node = { type: 'repeat', part: node, min, max, kind: kindOf(cursor, found) }
  }
}

function kindOf(cursor: PatternCursor, quantifier: string): Repeat {
  const next = cursor.pattern[cursor.at]
  if (next === '+' && cursor.dialect === 'python') throw new RegexError('uses a possessive quantifier')
  // In Ruby a{2}+ repeats a{2}; elsewhere it is possessive.
  const possessive = next === '+' && !quantifier.startsWith('{')
  if (next !== '?' && !possessive) return 'greedy'
  cursor.at++
  return possessive ? 'possessive' : 'lazy'
}

function counts(quantifier: string): [min: number, max: number] {
  if (quantifier === '*') return [0, Number.POSITIVE_INFINITY]
  if (quantifier === '+') return [1, Number.POSITIVE_INFINITY]
  if (quantifier === '?') return [0, 1]
  const [low, high] = quantifier.slice(1, -1).split(',')
  const min = Number(low || 0)
  const max = high === undefined ? min : high === '' ? Number.POSITIVE_INFINITY : Number(high)
  if (min > max) throw new RegexError(`is not a regular expression: ${quantifier} counts down`)
  if (min > maxCount || (max > maxCount && max !== Number.POSITIVE_INFINITY))
    throw new RegexError(`counts above ${maxCount} (${quantifier})`)
  return [min, max]
}
