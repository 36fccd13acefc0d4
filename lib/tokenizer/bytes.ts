// GPT-2's alphabet: each byte of UTF-8 as one visible character.

import { Piece } from './piece.ts'

const charOfByte: string[] = []
const byteOfChar = new Map<string, number>()
for (let byte = 0, spare = 0x100; byte < 256; byte++) {
  const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  charOfByte[byte] = String.fromCharCode(visible ? byte : spare++)
  byteOfChar.set(charOfByte[byte]!, byte)
}

/** The byte that a character of the alphabet stands for. */
export const byteOf = (char: string): number | undefined => byteOfChar.get(char)

/** A text with every byte of its UTF-8 as one character. */
export function toByteChars(piece: Piece): Piece {
  const { text } = piece
  let result = ''
  let wide = false
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 127) {
      wide = true
      break
    }
    result += charOfByte[unit]
  }
  if (!wide) return piece.withText(result)
  return wideBytes(piece)
}

function wideBytes(piece: Piece): Piece {
  const { text } = piece
  const bytes = Buffer.byteLength(text)
  const starts = new Int32Array(bytes)
  const ends = new Int32Array(bytes)
  let result = ''
  let at = 0
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i)!
    const width = codePoint > 0xffff ? 2 : 1
    const before = at
    for (const byte of utf8(codePoint)) {
      result += charOfByte[byte]
      at++
    }
    starts.fill(piece.start(i), before, at)
    ends.fill(piece.end(i + width), before, at)
    i += width
  }
  return new Piece(result, 0, starts, ends)
}

/** The UTF-8 bytes of a code point. */
export function utf8(c: number): number[] {
  if (c < 0x80) return [c]
  if (c < 0x800) return [0xc0 | (c >> 6), 0x80 | (c & 63)]
  if (c < 0x10000) return [0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63)]
  return [0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63)]
}
