// SentencePiece's own normalizer: a trie of byte strings (a double array) that leads to their replacements.

import { check } from '../errors.ts'
import { type Piece, Rewriter } from './piece.ts'

const longest = 10_000

/** The normalizer of a `precompiled_charsmap`, in base64. @throws ERR_CONFIG for one that is cut short. */
export function readPrecompiled(charsmap: unknown): (piece: Piece) => Piece {
  const bytes = Buffer.from(typeof charsmap === 'string' ? charsmap : '', 'base64')
  const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0
  check(bytes.length >= 4 && size % 4 === 0 && size <= bytes.length - 4, 'ERR_CONFIG', () => {
    return `tokenizer: precompiled_charsmap claims a trie of ${size} bytes and holds ${bytes.length}`
  })
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i))
  const texts = bytes.subarray(4 + size)
  const known = new Map<string, string | undefined>()
  const replacement = (part: string): string | undefined => {
    if (known.has(part)) return known.get(part)
    const at = search(units, Buffer.from(part))
    const end = at === undefined ? -1 : texts.indexOf(0, at)
    const found = at === undefined ? undefined : texts.toString('utf8', at, end < 0 ? texts.length : end)
    if (known.size < longest) known.set(part, found)
    return found
  }
  return piece => rewritten(piece, replacement)
}

/** Where the replacement of the shortest known beginning of a byte string lies. */
function search(units: Uint32Array, key: Uint8Array): number | undefined {
  let node = offsetOf(units[0] ?? 0)
  for (const byte of key) {
    if (byte === 0) return undefined
    node = (node ^ byte) >>> 0
    const unit = units[node]
    if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined
    node = (node ^ offsetOf(unit)) >>> 0
    if ((unit >>> 8) & 1) return (units[node] ?? 0) & 0x7fffffff
  }
  return undefined
}

const offsetOf = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6)

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })
const simple = /^[\x20-\x7E]*$/

function rewritten(piece: Piece, replacement: (part: string) => string | undefined): Piece {
  const { text } = piece
  if (simple.test(text) && [...new Set(text)].every(char => replacement(char) === undefined)) return piece
  const out = new Rewriter(piece)
  let changed = false
  const tryPart = (part: string): boolean => {
    const found = replacement(part)
    if (found === undefined) return false
    changed = true
    put(out, part, found)
    return true
  }
  for (const { segment } of graphemes.segment(text)) {
    if (Buffer.byteLength(segment) < 6 && tryPart(segment)) continue
    for (const char of segment) if (!tryPart(char)) out.put(char)
  }
  return changed ? out.piece : piece
}

/** Writes `text` for the old characters of `part`: what is too much is added, what is left over is dropped. */
function put(out: Rewriter, part: string, text: string): void {
  const chars = [...text]
  const old = [...part].length
  // With nothing to write the Rust library counts the drop on the character before.
  if (chars.length === 0) out.drop(old)
  const places = Math.min(old, chars.length)
  chars.forEach((char, i) => {
    if (i >= places) out.add(char)
    else out.put(char, i === chars.length - 1 ? old - chars.length : 0)
  })
}
