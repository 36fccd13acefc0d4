// A sentence as words for taggers: split at white space, punctuation at the rims of a word standing alone.

import { lastOf, nth } from '../tuple.ts'

const opening = /^[([{<"'“‘«„¿¡]/u
const closing = /[)\]}>"'”’»,;:!?…]$|\.$/u

/** Words of a text as annotated corpora have them: `(Paris, 2024).` is `(`, `Paris`, `,`, `2024`, `)`, `.` */
export function splitWords(text: string): string[] {
  return text.split(/\s+/u).filter(Boolean).flatMap(splitRims)
}

function splitRims(word: string): string[] {
  const before: string[] = []
  const after: string[] = []
  let core = word
  while (core.length > 1 && opening.test(core)) {
    before.push(nth(core, 0))
    core = core.slice(1)
  }
  // Dots inside or after single letters belong to abbreviations: U.S. and e.g. stay whole.
  while (core.length > 1 && closing.test(core) && !/^(?:\p{L}\.)+$/u.test(core)) {
    after.unshift(lastOf(core))
    core = core.slice(0, -1)
  }
  return [...before, core, ...after]
}
