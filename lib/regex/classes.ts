// What stands between [ and ].

import { codePointIn, nth } from '../tuple.ts'
import type { PatternCursor } from './cursor.ts'
import { RegexError } from './error.ts'
import { parseEscape } from './escapes.ts'
import { both, type CharTest, either, not, property, ranges } from './sets.ts'

const maxDepth = 50

/** The set of a [...] at the cursor, and a key that equal sets share. */
export function parseClass(cursor: PatternCursor, depth = 0): [test: CharTest, key: string] {
  if (depth > maxDepth) throw new RegexError(`nests more than ${maxDepth} classes`)
  const from = cursor.at
  cursor.at++
  const negative = cursor.pattern[cursor.at] === '^'
  if (negative) cursor.at++
  let sets: CharTest[] = []
  let common: CharTest | undefined
  for (let first = true; ; first = false) {
    const c = cursor.pattern[cursor.at]
    if (c === undefined) throw new RegexError('uses a [ that is never closed')
    if (c === ']' && !(first && closesLater(cursor))) break
    if (cursor.dialect === 'onig' && cursor.pattern.startsWith('&&', cursor.at)) {
      cursor.at += 2
      common = intersected(common, sets)
      sets = []
      continue
    }
    sets.push(parseItem(cursor, depth))
  }
  cursor.at++
  const test = intersected(common, sets)
  const key = `${cursor.dialect}${cursor.pattern.slice(from, cursor.at)}`
  return [negative ? not(test) : test, key]
}

/** A bracket that comes first is a character; Ruby takes it so only where another one closes the class. */
function closesLater(cursor: PatternCursor): boolean {
  return cursor.dialect === 'python' || cursor.pattern.includes(']', cursor.at + 1)
}

function intersected(common: CharTest | undefined, sets: readonly CharTest[]): CharTest {
  const test = either(sets)
  return common ? both(common, test) : test
}

/** A character, a range, an escape, [:name:] or a class inside the class. */
function parseItem(cursor: PatternCursor, depth: number): CharTest {
  const { pattern, at, dialect } = cursor
  if (pattern[at] === '[' && dialect === 'onig') {
    const posix = /^\[:(\^?[a-z]{1,20}):\]/.exec(pattern.slice(at, at + 30))
    if (!posix) return parseClass(cursor, depth + 1)[0]
    cursor.at += posix[0].length
    return property(nth(posix, 1))
  }
  const low = parseOne(cursor)
  if (typeof low !== 'number') return low
  const ranged = pattern[cursor.at] === '-' && pattern[cursor.at + 1] !== ']' && cursor.at + 1 < pattern.length
  if (!ranged) return c => c === low
  const dash = cursor.at++
  const high = parseOne(cursor)
  if (typeof high !== 'number') {
    if (dialect === 'python') throw new RegexError('has a range that ends in a class')
    cursor.at = dash
    return c => c === low
  }
  if (high < low) throw new RegexError(`has the range ${pattern.slice(at, cursor.at)}, which runs backwards`)
  return ranges(low, high)
}

function parseOne(cursor: PatternCursor): number | CharTest {
  if (cursor.pattern[cursor.at] === '\\') {
    const found = parseEscape(cursor, true)
    if ('anchor' in found) throw new RegexError('has an anchor in a class')
    return found.codePoint ?? found.test
  }
  const codePoint = codePointIn(cursor.pattern, cursor.at)
  cursor.at += codePoint > 0xffff ? 2 : 1
  return codePoint
}
