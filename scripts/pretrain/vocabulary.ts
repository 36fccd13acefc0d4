// Chooses the pieces of the bundled encoder among those of its teacher: frequent words and word ends in BERT's order,
// and cased forms of the words that are often written with a capital.
import { readCorpus } from './corpus.ts'
import { bertWords } from './pretokenize.ts'
import { type PARTS, synsets } from './wordnet.ts'
import { SPECIALS, VOCABULARY } from './wordpiece.ts'

/** Where BERT's words begin, in order of frequency. */
const FIRST_WORD = 1996
/** Cased forms: of words that are also written small, of names, and all in capitals. */
const TITLES = 600
const NAMES = 450
const CAPITALS = 50
/** A word is a name when it is written small more rarely than this, and no dictionary has it in small letters. */
const SMALL_SHARE = 0.3
/** The rank of words that describe and act, which say most, counts as this share of it; that of unseen words twice. */
const TELLING = 0.6
const UNSEEN = 2

type Counts = { small: number; title: number }

/** How often each word stands in the corpus, by its lower-case form. */
function countForms(): Map<string, Counts> {
  const counts = new Map<string, Counts>()
  for (const { text } of readCorpus())
    for (const word of bertWords(text)) {
      const small = word.toLowerCase()
      const at = counts.get(small) ?? { small: 0, title: 0 }
      if (word === small) at.small++
      else if (word === titled(small)) at.title++
      counts.set(small, at)
    }
  return counts
}

/** `london` → `London`. */
export function titled(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1)
}

/** Pieces of one printable ASCII character, at the start of a word and inside it. */
function characters(): string[] {
  const all = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
  return [...all, ...all.filter(c => /[A-Za-z0-9]/.test(c)).map(c => `##${c}`)]
}

/** The pieces by id, the special tokens first, from the teacher's in its own order. */
export function chooseVocabulary(teacher: readonly string[]): string[] {
  const counts = countForms()
  const share = ({ small, title }: Counts) => small / Math.max(1, small + title)
  const ranked = teacher.slice(FIRST_WORD).map((piece, rank) => ({ piece, rank, seen: counts.get(piece) }))
  const isPiece = (piece: string) => /^(?:##)?[a-z0-9]{2,}$/.test(piece)
  const lemmasOf = (part: (typeof PARTS)[number]) => synsets(part).flatMap(({ lemmas }) => lemmas)
  const telling = new Set((['verb', 'adj', 'adv'] as const).flatMap(lemmasOf))
  const nouns = new Set(lemmasOf('noun'))
  const isName = ({ piece, seen }: { piece: string; seen: Counts | undefined }) =>
    seen !== undefined && share(seen) < SMALL_SHARE && !telling.has(piece) && !nouns.has(piece)
  const usable = ranked.filter(({ piece }) => isPiece(piece))
  const names = usable.filter(isName).slice(0, NAMES)
  const cost = ({ piece, rank, seen }: (typeof ranked)[number]) => {
    const unseen = piece.startsWith('##') || seen ? 1 : UNSEEN
    return rank * unseen * (telling.has(piece) ? TELLING : 1)
  }
  const plain = usable.filter(word => !isName(word)).sort((a, b) => cost(a) - cost(b))
  const titles = plain.filter(({ seen }) => seen).sort((a, b) => b.seen!.title - a.seen!.title)
  const pieces = new Set<string>([
    ...SPECIALS,
    ...characters(),
    ...titles.slice(0, TITLES).map(({ piece }) => titled(piece)),
    ...names.map(({ piece }) => titled(piece)),
    ...plain.slice(0, CAPITALS).map(({ piece }) => piece.replace('##', '').toUpperCase()),
  ])
  for (const { piece } of plain) if (pieces.size < VOCABULARY) pieces.add(piece)
  return [...pieces]
}
