// What a backslash begins.

import { codePointIn, must, nth } from '../tuple.ts'
import type { Anchor, PatternCursor } from './cursor.ts'
import { RegexError } from './error.ts'
import { type CharTest, digit, hexDigit, loneWord, not, property, space, word } from './sets.ts'

/** A set of characters with a key that equal sets share, or a place. */
type Escape =
  | { readonly test: CharTest; readonly key: string; readonly codePoint?: number }
  | { readonly anchor: Anchor }

const classes: Readonly<Record<string, CharTest>> = { d: digit, s: space, w: word }
const controls: Readonly<Record<string, number>> = { a: 7, e: 27, f: 12, n: 10, r: 13, t: 9, v: 11 }
const anchors: Readonly<Record<string, Anchor>> = { A: 'start', b: 'boundary', B: 'inside', z: 'end' }

/** Reads what stands at a backslash. @throws {@link RegexError} for an escape that cannot be matched here. */
export function parseEscape(cursor: PatternCursor, inClass: boolean): Escape {
  const from = cursor.at
  const letter = cursor.pattern[from + 1]
  if (letter === undefined) throw new RegexError('uses a lone backslash at its end')
  const set = classSet(cursor, letter, inClass)
  if (set) return { test: set, key: cursor.pattern.slice(from, cursor.at) }
  const anchor = inClass ? undefined : anchorOf(cursor, letter)
  if (anchor) {
    cursor.at += 2
    return { anchor }
  }
  const codePoint = parseCharacter(cursor, letter, inClass)
  return { test: c => c === codePoint, key: String.fromCodePoint(codePoint), codePoint }
}

/** The code point of an escape that stands for one character. */
function parseCharacter(cursor: PatternCursor, letter: string, inClass: boolean): number {
  const control =
    letter === 'b' && inClass ? 8 : cursor.dialect === 'python' && letter === 'e' ? undefined : controls[letter]
  if (control !== undefined) {
    cursor.at += 2
    return control
  }
  const rest = cursor.pattern.slice(cursor.at, cursor.at + 12)
  const found =
    /^\\x\{([0-9A-Fa-f]{1,6})\}/.exec(rest) ?? /^\\x([0-9A-Fa-f]{1,2})/.exec(rest) ?? /^\\u([0-9A-Fa-f]{4})/.exec(rest)
  const octal = /^\\(0[0-7]{0,2})/.exec(rest)
  const codePoint = found ? Number.parseInt(nth(found, 1), 16) : octal ? Number.parseInt(nth(octal, 1), 8) : undefined
  if (codePoint !== undefined) {
    const [written] = must(found ?? octal, 'number')
    if (codePoint > 0x10ffff) throw new RegexError(`uses the character ${written}, which does not exist`)
    cursor.at += written.length
    return codePoint
  }
  if (/[A-Za-z1-9]/.test(letter)) throw new RegexError(`uses \\${letter}`)
  const plain = codePointIn(cursor.pattern, cursor.at + 1)
  cursor.at += plain > 0xffff ? 3 : 2
  return plain
}

/** `\d \D \p{…}` and their like; moves past them. */
function classSet(cursor: PatternCursor, letter: string, inClass: boolean): CharTest | undefined {
  const lower = letter.toLowerCase()
  const onig = cursor.dialect === 'onig'
  const known = onig && lower === 'h' ? hexDigit : onig && lower === 'w' && !inClass ? loneWord : classes[lower]
  if (known) {
    cursor.at += 2
    return letter === lower ? known : not(known)
  }
  if (lower !== 'p' || cursor.dialect === 'python') return undefined
  const found = /^\\[pP](?:\{([^}]{1,80})\}|([A-Z]))/.exec(cursor.pattern.slice(cursor.at, cursor.at + 90))
  if (!found) throw new RegexError('uses \\p without a class')
  cursor.at += found[0].length
  const test = property(found[1] ?? nth(found, 2))
  return letter === 'p' ? test : not(test)
}

function anchorOf(cursor: PatternCursor, letter: string): Anchor | undefined {
  if (letter === 'Z') return cursor.dialect === 'python' ? 'end' : 'endOrLine'
  if (letter === 'z' && cursor.dialect === 'python') return 'end'
  return Object.hasOwn(anchors, letter) ? anchors[letter] : undefined
}
