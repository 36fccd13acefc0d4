// Pre-tokenizers of tokenizer.json: how a text is cut into the words that the model then takes one by one.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { toByteChars } from './bytes.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { prepended, replaced } from './normalizers.ts'
import { readPattern } from './pattern.ts'
import type { Piece } from './piece.ts'
import { charPattern, readBehavior, regexPattern, split } from './split.ts'
import { isNumeric, isPunctuation, isWhiteSpace } from './unicode.ts'

/** Cuts one piece into several, changing their text where the pre-tokenizer says so. */
type PreTokenizer = (piece: Piece) => readonly Piece[]

/** The pre-tokenizer that a `pre_tokenizer` entry describes. @throws ERR_UNSUPPORTED, ERR_CONFIG */
export function readPreTokenizer(value: unknown): PreTokenizer {
  const config = asObject(value)
  if (!config) return piece => [piece]
  const type = String(config.type)
  const read = Object.hasOwn(known, type) ? known[type] : undefined
  check(read, 'ERR_UNSUPPORTED', () => `tokenizer: the pre_tokenizer ${shown(type)} is not known`)
  return read(config)
}

const space = '\\p{White_Space}'
const gpt2 = regexPattern(
  new RegExp(
    `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+|${space}+(?!\\P{White_Space})|${space}+`,
    'gu',
  ),
)
const wordClass = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}'
const whitespace = regexPattern(new RegExp(`[${wordClass}]+|[^${wordClass}${space}]+`, 'gu'))
const spaces = charPattern(isWhiteSpace)
const punctuation = charPattern(isPunctuation)
const numerals = charPattern(isNumeric)

const known: Readonly<Record<string, (config: Fields) => PreTokenizer>> = {
  Sequence: config => {
    const steps = asArray(config.pretokenizers).map(readPreTokenizer)
    return piece => steps.reduce<readonly Piece[]>((pieces, step) => pieces.flatMap(step), [piece])
  },
  BertPreTokenizer: () => piece =>
    split(piece, spaces, 'Removed').flatMap(part => split(part, punctuation, 'Isolated')),
  Whitespace: () => piece => split(piece, whitespace, 'Removed', true),
  WhitespaceSplit: () => piece => split(piece, spaces, 'Removed'),
  Punctuation: config => {
    const behavior = config.behavior === undefined ? 'Isolated' : readBehavior(config.behavior, 'Punctuation')
    return piece => split(piece, punctuation, behavior)
  },
  Digits: config => {
    const behavior = config.individual_digits === true ? 'Isolated' : 'Contiguous'
    return piece => split(piece, numerals, behavior)
  },
  CharDelimiterSplit: config => {
    const delimiter = String(config.delimiter)
    return piece =>
      split(
        piece,
        charPattern(char => char === delimiter),
        'Removed',
      )
  },
  FixedLength: config => {
    const length = Number(config.length ?? 5)
    check(Number.isInteger(length) && length > 0, 'ERR_CONFIG', () => {
      return `tokenizer: FixedLength has the length ${shown(config.length)}`
    })
    return piece => split(piece, chunks(length), 'Isolated')
  },
  Split: config => {
    const pattern = readPattern(config.pattern, 'pre_tokenizer Split')
    const behavior = readBehavior(config.behavior, 'Split')
    return piece => split(piece, pattern, behavior, config.invert === true)
  },
  ByteLevel: byteLevel,
  Metaspace: metaspace,
}

const chunks = (length: number) => (text: string) => {
  const found: number[] = []
  let at = 0
  let from = 0
  let count = 0
  for (const char of text) {
    at += char.length
    if (++count % length === 0) {
      found.push(from, at)
      from = at
    }
  }
  return found
}

function byteLevel(config: Fields): PreTokenizer {
  const prefix = config.add_prefix_space !== false
  const cut = config.use_regex !== false
  return piece => {
    const spaced = prefix && !piece.text.startsWith(' ') ? prepended(piece, ' ') : piece
    return (cut ? split(spaced, gpt2, 'Isolated') : [spaced]).map(toByteChars)
  }
}

function metaspace(config: Fields): PreTokenizer {
  const mark = typeof config.replacement === 'string' ? config.replacement : '▁'
  // Older files say add_prefix_space in place of a scheme.
  const scheme = config.prepend_scheme ?? (config.add_prefix_space === false ? 'never' : 'always')
  check(['always', 'never', 'first'].includes(String(scheme)), 'ERR_UNSUPPORTED', () => {
    return `tokenizer: Metaspace has the unknown prepend_scheme ${shown(scheme)}`
  })
  const blank = readPattern(' ', 'Metaspace')
  const marks = readPattern(mark, 'Metaspace')
  return piece => {
    const marked = replaced(piece, blank, mark)
    const first = marked.text !== '' && marked.start(0) === 0
    const prefix = (scheme === 'always' || (scheme === 'first' && first)) && !marked.text.startsWith(mark)
    const whole = prefix ? prepended(marked, mark) : marked
    return config.split === false ? [whole] : split(whole, marks, 'MergedWithNext')
  }
}
