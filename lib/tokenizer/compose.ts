// Unicode's normal forms with the places of their characters.

import { nth } from '../tuple.ts'
import { type Piece, Rewriter } from './piece.ts'
import { isNotDecomposed } from './unicode.ts'

export type Form = 'NFC' | 'NFD' | 'NFKC' | 'NFKD'

// A character that never combines with the one before it begins a segment that can be normalised by itself. What may
// combine: marks, Hangul vowels and final consonants, and half-width forms of those.
const segments = /[\s\S][\p{M}\u1160-\u11FF\uD7B0-\uD7FF\uFF9E-\uFFDC]*/gu

/** The piece in a normal form of Unicode. */
export function normalForm(piece: Piece, form: Form): Piece {
  if (piece.text.normalize(form) === piece.text) return piece
  const out = new Rewriter(piece)
  for (const [found] of piece.text.matchAll(segments)) {
    const [first = ''] = found
    const kept = isNotDecomposed(first) ? first.length : 0
    out.keep(kept)
    const segment = found.slice(kept)
    if (segment.normalize(form) === segment) {
      out.keep(segment.length)
      continue
    }
    for (const [char, change] of form === 'NFD' || form === 'NFKD'
      ? decomposed(segment, form)
      : composed(segment, form))
      if (change > 0) out.add(char)
      else out.put(char, -change)
  }
  return out.piece
}

type Changed = [char: string, change: number]

/** Characters with 0 for the first one out of each old character and 1 for those it adds, in canonical order. */
function decomposed(segment: string, form: 'NFD' | 'NFKD'): Changed[] {
  const loose: Changed[] = []
  for (const old of segment) {
    const start = loose.length
    for (const char of old.normalize(form)) loose.push([char, loose.length === start ? 0 : 1])
  }
  // Marks may change places; each takes its count with it.
  return [...segment.normalize(form)].map(char => {
    const at = loose.findIndex(entry => entry[0] === char)
    return nth(loose.splice(at, 1), 0)
  })
}

function composed(segment: string, form: 'NFC' | 'NFKC'): Changed[] {
  const parts = decomposed(segment, form === 'NFC' ? 'NFD' : 'NFKD')
  const result: Changed[] = [...segment.normalize(form)].map(char => [char, 0])
  // Each result takes its own decomposition out of the parts; a part gone is a character less.
  for (const entry of result)
    [...entry[0].normalize(form === 'NFC' ? 'NFD' : 'NFKD')].forEach((char, i) => {
      const at = parts.findIndex(part => part[0] === char)
      if (at < 0) return
      entry[1] += nth(parts.splice(at, 1), 0)[1] - (i === 0 ? 0 : 1)
    })
  return result
}
