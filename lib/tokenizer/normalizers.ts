// Normalizers of tokenizer.json: what happens to a text before it is split.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { ranges } from '../regex/sets.ts'
import { toByteChars } from './bytes.ts'
import { type Form, normalForm } from './compose.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { type Pattern, readPattern } from './pattern.ts'
import { type Piece, Rewriter } from './piece.ts'
import { readPrecompiled } from './precompiled.ts'
import { isAscii, isCombiningMark, isControl, isIdeograph, isNonspacingMark, isWhiteSpace } from './unicode.ts'

/** Changes a text, keeping its places. */
export type Normalizer = (piece: Piece) => Piece

/** The normalizer that a `normalizer` entry describes. @throws ERR_UNSUPPORTED, ERR_CONFIG */
export function readNormalizer(value: unknown): Normalizer {
  const config = asObject(value)
  if (!config) return piece => piece
  switch (config.type) {
    case 'Sequence': {
      const steps = asArray(config.normalizers).map(readNormalizer)
      return piece => steps.reduce((now, step) => step(now), piece)
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return inForm(config.type)
    case 'Lowercase':
      return lowercased
    case 'Strip':
      return piece => stripped(piece, config.strip_left !== false, config.strip_right !== false)
    case 'StripAccents':
      return piece => kept(piece, char => !isCombiningMark(char))
    case 'Nmt':
      return nmt
    case 'Replace': {
      const pattern = readPattern(config.pattern, 'normalizer Replace')
      const content = String(config.content ?? '')
      return piece => replaced(piece, pattern, content)
    }
    case 'Prepend': {
      const text = String(config.prepend ?? '')
      return piece => prepended(piece, text)
    }
    case 'BertNormalizer':
      return bertNormalizer(config)
    case 'Precompiled':
      return readPrecompiled(config.precompiled_charsmap)
    case 'ByteLevel':
      return toByteChars
    default:
      check(false, 'ERR_UNSUPPORTED', () => `tokenizer: the normalizer ${shown(config.type)} is not known`)
  }
}

const inForm = (form: Form) => (piece: Piece) => normalForm(piece, form)

/** Keeps the characters that a test likes. */
function kept(piece: Piece, keep: (char: string) => boolean): Piece {
  let all = true
  for (const char of piece.text) if (!keep(char)) all = false
  if (all) return piece
  const out = new Rewriter(piece)
  for (const char of piece.text)
    if (keep(char)) out.put(char)
    else out.drop(1)
  return out.piece
}

/** Puts a text before the piece; an empty piece stays empty. */
export function prepended(piece: Piece, text: string): Piece {
  const first = piece.text.codePointAt(0)
  if (first === undefined || text === '') return piece
  const out = new Rewriter(piece)
  const [head, ...rest] = [...text, String.fromCodePoint(first)]
  out.put(head!)
  for (const char of rest) out.add(char)
  out.keep(piece.text.length - String.fromCodePoint(first).length)
  return out.piece
}

/** Puts `content` for every match of a pattern, at the place of the match's last character. */
export function replaced(piece: Piece, pattern: Pattern, content: string): Piece {
  const found = pattern(piece.text)
  if (found.length === 0) return piece
  if (content.length === 1 && found.every((at, i) => i % 2 === 0 || at === found[i - 1]! + 1)) {
    const units = piece.text.split('')
    for (let i = 0; i < found.length; i += 2) units[found[i]!] = content
    return piece.withText(units.join(''))
  }
  const out = new Rewriter(piece)
  let at = 0
  for (let i = 0; i < found.length; i += 2) {
    out.keep(found[i]! - at)
    at = found[i + 1]!
    out.drop([...piece.text.slice(found[i], at)].length)
    for (const char of content) out.add(char)
  }
  out.keep(piece.text.length - at)
  return out.piece
}

/** Each character in its lower case, whatever stands beside it. */
function lowercased(piece: Piece): Piece {
  const { text } = piece
  if (isAscii(text)) return piece.withText(text.toLowerCase())
  const out = new Rewriter(piece)
  for (const char of text) {
    const [first, ...rest] = char.toLowerCase()
    out.put(first!)
    for (const added of rest) out.add(added)
  }
  return out.piece
}

function stripped(piece: Piece, left: boolean, right: boolean): Piece {
  const from = left ? (/^\p{White_Space}+/u.exec(piece.text)?.[0].length ?? 0) : 0
  let to = piece.text.length
  while (right && to > from && isWhiteSpace(piece.text.charAt(to - 1))) to--
  return piece.slice(from, to)
}

// Characters by their code points: control characters that are dropped, and unusual kinds of space.
const dropped = ranges(0x01, 0x08, 0x0b, 0x0b, 0x0e, 0x1f, 0x7f, 0x7f, 0x8f, 0x8f, 0x9f, 0x9f)
const blanks = ranges(
  ...[0x09, 0x0a, 0x0c, 0x0d, 0x1680, 0x1680, 0x200b, 0x200f, 0x2028, 0x2029],
  ...[0x2581, 0x2581, 0xfeff, 0xfeff, 0xfffd, 0xfffd],
)

/** Drops control characters and turns the unusual kinds of space into spaces. */
function nmt(piece: Piece): Piece {
  const clean = kept(piece, char => !dropped(char.codePointAt(0)!))
  const units = clean.text.split('')
  return clean.withText(units.map(unit => (blanks(unit.charCodeAt(0)) ? ' ' : unit)).join(''))
}

function bertNormalizer(config: Fields): Normalizer {
  const lower = config.lowercase !== false
  const strip = typeof config.strip_accents === 'boolean' ? config.strip_accents : lower
  const clean = config.clean_text !== false
  const spaceIdeographs = config.handle_chinese_chars !== false
  const plain = /^[\x20-\x7E]*$/
  return piece => {
    if (plain.test(piece.text)) return lower ? piece.withText(piece.text.toLowerCase()) : piece
    let now = piece
    if (clean) now = cleaned(now)
    if (spaceIdeographs) now = ideographsSpaced(now)
    if (strip) now = kept(normalForm(now, 'NFD'), char => !isNonspacingMark(char))
    return lower ? lowercased(now) : now
  }
}

function cleaned(piece: Piece): Piece {
  const usual = (char: string) => char === '\t' || char === '\n' || char === '\r'
  const clean = kept(piece, char => char !== '\0' && char !== '\uFFFD' && (usual(char) || !isControl(char)))
  return clean.withText(clean.text.replace(/\p{White_Space}/gu, ' '))
}

function ideographsSpaced(piece: Piece): Piece {
  if (!/[\u3400-\u9FFF\uD800-\uDFFF\uF900-\uFAFF]/.test(piece.text)) return piece
  const out = new Rewriter(piece)
  for (const char of piece.text)
    if (isIdeograph(char)) {
      out.put(' ')
      out.add(char)
      out.add(' ')
    } else out.put(char)
  return out.piece
}
