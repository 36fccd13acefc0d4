// Sets of characters: what [...], \w, \p{L} and . stand for, as tests of code points.

import { codePointIn, nth } from '../tuple.ts'
import { RegexError } from './error.ts'

/** Whether a code point belongs to a set. */
export type CharTest = (codePoint: number) => boolean

/** A set of characters, with answers remembered for the Basic Multilingual Plane. */
export class CharSet {
  readonly #test: CharTest
  /** 1 for each ASCII character of the set. */
  readonly ascii = new Uint8Array(128)
  #known: Uint8Array | undefined

  constructor(test: CharTest) {
    this.#test = test
    for (let c = 0; c < 128; c++) this.ascii[c] = test(c) ? 1 : 0
  }

  has(codePoint: number): boolean {
    if (codePoint < 128) return this.ascii[codePoint] === 1
    if (codePoint > 0xffff) return this.#test(codePoint)
    this.#known ??= new Uint8Array(0x10000)
    const known = this.#known[codePoint]!
    if (known !== 0) return known === 2
    const found = this.#test(codePoint)
    this.#known[codePoint] = found ? 2 : 1
    return found
  }
}

/** Any of some ranges [first, last, first, last, …]. */
export function ranges(...pairs: readonly number[]): CharTest {
  return c => {
    for (let i = 0; i < pairs.length; i += 2) if (c >= pairs[i]! && c <= pairs[i + 1]!) return true
    return false
  }
}

export const not =
  (test: CharTest): CharTest =>
  c =>
    !test(c)
export const either = (tests: readonly CharTest[]): CharTest =>
  tests.length === 1 ? nth(tests, 0) : c => tests.some(t => t(c))
export const both =
  (a: CharTest, b: CharTest): CharTest =>
  c =>
    a(c) && b(c)

/** A test by a JavaScript class such as `\p{L}\p{N}_`, the inside of its brackets. */
function byClass(inside: string): CharTest {
  const regex = new RegExp(`^[${inside}]$`, 'u')
  return c => regex.test(String.fromCodePoint(c))
}

export const space: CharTest = byClass('\\p{White_Space}')
export const digit: CharTest = byClass('\\p{Nd}')
/** `[\w]`: letters, marks, decimal digits, connectors. */
export const word: CharTest = byClass('\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}')
/** `\w` outside of brackets, and of `\b`, where Oniguruma takes Latin-1's superior digits and fractions too. */
export const loneWord: CharTest = either([word, ranges(0xb2, 0xb3, 0xb9, 0xb9, 0xbc, 0xbe)])
export const hexDigit: CharTest = ranges(48, 57, 65, 70, 97, 102)
export const lineFeed: CharTest = c => c === 10
export const anything: CharTest = () => true

const named: Readonly<Record<string, CharTest>> = {
  alnum: byClass('\\p{Alphabetic}\\p{Nd}'),
  alpha: byClass('\\p{Alphabetic}'),
  ascii: ranges(0, 127),
  blank: byClass('\\p{Zs}\\t'),
  cntrl: byClass('\\p{Cc}'),
  digit,
  graph: byClass('\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}'),
  lower: byClass('\\p{Lowercase}'),
  print: byClass('\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}\\p{Zs}'),
  punct: byClass('\\p{P}\\p{S}'),
  space,
  upper: byClass('\\p{Uppercase}'),
  word,
  xdigit: hexDigit,
  any: anything,
}

/** What `\p{name}` or `[:name:]` stands for. @throws {@link RegexError} for a name nobody knows. */
export function property(name: string): CharTest {
  if (name.startsWith('^')) return not(property(name.slice(1)))
  const plain = name.toLowerCase().replace(/[\s_-]/g, '')
  const posix = Object.hasOwn(named, plain) ? named[plain] : undefined
  if (posix) return posix
  if (/^[A-Za-z0-9_=]{1,60}$/.test(name))
    for (const spelling of [name, capitalised(name), `Script=${capitalised(name)}`])
      try {
        return byClass(`\\p{${spelling}}`)
      } catch {}
  throw new RegexError(`has no known class \\p{${name.slice(0, 60)}}`)
}

const capitalised = (name: string) =>
  name.replace(/[A-Za-z]+/g, part => part.charAt(0).toUpperCase() + part.slice(1).toLowerCase())

/** The set with every character whose upper- or lower-case form belongs to it. */
export function ignoringCase(test: CharTest): CharTest {
  return c => test(c) || otherCases(c).some(test)
}

function otherCases(codePoint: number): number[] {
  const char = String.fromCodePoint(codePoint)
  const lower = char.toLowerCase()
  const upper = char.toUpperCase()
  const forms = new Set([lower, upper, upper.toLowerCase(), lower.toUpperCase()])
  // The long s and the Kelvin sign fold to s and k, which have no way back to them.
  if (lower === 's') forms.add('ſ')
  if (lower === 'k') forms.add('\u212a')
  return [...forms].filter(form => [...form].length === 1).map(form => codePointIn(form, 0))
}
