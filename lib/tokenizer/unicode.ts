// Classes of characters as the Rust library draws them.

import { codePointIn } from '../tuple.ts'
import { combiningMarks, controls, nonspacingMarks, notDecomposed, punctuation } from './oldUnicode.ts'

type Test = (char: string) => boolean

/** A test by the inside of a JavaScript class, turned round for the characters of `except`. */
function test(inside: string, except: readonly string[] = []): Test {
  const regex = new RegExp(`^[${inside}]$`, 'u')
  const turned = except
    .flatMap(line => line.split(' '))
    .map(range => range.split('-').map(bound => Number.parseInt(bound, 16)))
  const find = (char: string): boolean => {
    const codePoint = codePointIn(char, 0)
    return regex.test(char) !== turned.some(([from, to]) => codePoint >= from! && codePoint <= (to ?? from!))
  }
  const known = new Uint8Array(0x10000)
  return char => {
    if (char.length > 1) return find(char)
    const unit = char.charCodeAt(0)
    if (known[unit] === 0) known[unit] = find(char) ? 2 : 1
    return known[unit] === 2
  }
}

export const isWhiteSpace = test('\\p{White_Space}')
export const isNumeric = test('\\p{N}')
/** Punctuation, and the signs and symbols of ASCII. */
export const isPunctuation = test('\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E', punctuation)
/** `\w` of Rust's regular expressions. */
export const isWord = test('\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}')
export const isControl = test('\\p{Cc}\\p{Cf}\\p{Co}', controls)
export const isNonspacingMark = test('\\p{Mn}', nonspacingMarks)
/** Whether a character is too new for the normal forms to know what it is made of. */
export const isNotDecomposed = test('', notDecomposed)
export const isCombiningMark = test('\\p{M}', combiningMarks)
export const isIdeograph = test(
  [
    '\\u4E00-\\u9FFF\\u3400-\\u4DBF\\uF900-\\uFAFF\\u{20000}-\\u{2A6DF}\\u{2A700}-\\u{2B73F}\\u{2B740}-\\u{2B81F}',
    '\\u{2B920}-\\u{2CEAF}\\u{2F800}-\\u{2FA1F}',
  ].join(''),
)

/** Whether a text holds ASCII only. */
export function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII holds them
  return /^[\x00-\x7F]*$/.test(text)
}
