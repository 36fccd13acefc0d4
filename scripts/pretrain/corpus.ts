// Builds .cache/pretrain/corpus.txt: one document a line, `source<TAB>text`, without the held-out rows of the sample.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { Contained, NearDuplicates } from './duplicates.ts'
import { readSample } from './sample.ts'
import { CACHE, openSource, SOURCES, type Source, textOf } from './sources.ts'
import { cleanLine, normalised, pieces, words } from './text.ts'
import { PARTS, synsets } from './wordnet.ts'

/** One document of the corpus: a definition, an entry, a paragraph or a few verses. */
export interface Document {
  readonly source: Source['id']
  readonly text: string
}

export const CORPUS = join(CACHE, 'corpus.txt')

/** Shortest and longest document in words; the longest stays under 256 word pieces with rare exceptions. */
const SHORTEST = 4
const LONGEST = 160

/** The corpus as built. */
export function readCorpus(): Document[] {
  const lines = readFileSync(CORPUS, 'utf8').trimEnd().split('\n')
  return lines.map(line => {
    const tab = line.indexOf('\t')
    return { source: line.slice(0, tab) as Source['id'], text: line.slice(tab + 1) }
  })
}

/** Decides what must stay out of pretraining: the held-out rows, by word-for-word containment and near equality. */
export class HeldOut {
  readonly #contained: Contained
  readonly #near: NearDuplicates

  constructor(texts: readonly string[]) {
    this.#contained = new Contained(texts)
    this.#near = new NearDuplicates(texts)
    for (const text of texts) this.#near.add(text)
  }

  /** Whether `text` holds a held-out row, or one of its `parts` (such as a definition) nearly equals one. */
  has(text: string, parts: readonly string[] = []): boolean {
    return this.#contained.in(text) || parts.some(part => this.#near.has(part))
  }
}

/** The texts of the sample's validation and test rows. */
export function heldOutTexts(): string[] {
  return [...readSample('validation'), ...readSample('test')].map(row => row.text)
}

/** A text and the parts of it that are compared as wholes with the held-out rows. */
type Candidate = { text: string; parts?: string[] }

/** Every gloss as "lemma, lemma: definition; example; example". A held-out synset goes with all its examples. */
function wordnet(): Candidate[] {
  return PARTS.flatMap(synsets).map(({ lemmas, definition, examples }) => ({
    text: cleanLine(`${lemmas.join(', ')}: ${[definition, ...examples].join('; ')}`),
    parts: [definition],
  }))
}

/** Every entry of the dictionary as "headword: text", without sense numbers and editor's marks. */
function webster(): Candidate[] {
  const entries = JSON.parse(textOf(openSource('webster'), 'dictionary.json')) as Record<string, string>
  const out: Candidate[] = []
  for (const [word, entry] of Object.entries(entries))
    for (const part of entry.split('\n\n')) {
      const text = cleanLine(part.replace(/\[(?:Obs|R|Archaic|Written also|Colloq)[^\]]*\]/g, ' '))
        .replace(/(?:^|\s)(?:\d{1,2}\.|\([a-z]\))(?=\s)/g, ' ')
        .replace(/\b(?:Note|Defn|Etym):\s*/g, '')
        .replace(/\s+/g, ' ')
        .trim()
      if (/^See\b/.test(text) && words(text).length < 8) continue
      for (const piece of pieces(text, LONGEST)) out.push({ text: `${word}: ${piece}` })
    }
  return out
}

function prose(text: string): Candidate[] {
  return pieces(cleanLine(text), LONGEST).map(piece => ({ text: piece }))
}

function mobyDick(): Candidate[] {
  const book = textOf(openSource('moby-dick'), 'data/data.txt')
  return book.split(/\r?\n\s*\r?\n/).flatMap(prose)
}

function sotu(): Candidate[] {
  const files = [...openSource('sotu')].filter(([path]) => /^data\/.*\.txt$/.test(path))
  files.sort(([a], [b]) => (a < b ? -1 : 1))
  return files.flatMap(([, bytes]) => prose(bytes.toString('utf8')))
}

/** The verses of a chapter in order, joined to paragraphs; italics marks removed. */
function kjv(): Candidate[] {
  const verses = JSON.parse(textOf(openSource('kjv'), 'json/verses-1769.json')) as Record<string, string>
  const chapters = new Map<string, string[]>()
  for (const [place, verse] of Object.entries(verses)) {
    const chapter = place.slice(0, place.lastIndexOf(':'))
    const text = verse.replace(/^#\s*/, '').replace(/[[\]]/g, '')
    chapters.set(chapter, [...(chapters.get(chapter) ?? []), text])
  }
  return [...chapters.values()].flatMap(list => prose(list.join(' ')))
}

/** All documents, deduplicated, without the held-out rows; and what was left out, by source. */
export function buildCorpus(heldOut: HeldOut): { documents: Document[]; excluded: Map<string, number> } {
  const readers = { wordnet, webster, 'moby-dick': mobyDick, sotu, kjv }
  const seen = new Set<string>()
  const documents: Document[] = []
  const excluded = new Map<string, number>()
  for (const { id } of SOURCES)
    for (const { text, parts } of readers[id]()) {
      if (words(text).length < SHORTEST) continue
      const key = normalised(text)
      if (seen.has(key)) continue
      seen.add(key)
      if (heldOut.has(text, parts)) excluded.set(id, (excluded.get(id) ?? 0) + 1)
      else documents.push({ source: id, text })
    }
  return { documents, excluded }
}

async function main(): Promise<void> {
  const { documents, excluded } = buildCorpus(new HeldOut(heldOutTexts()))
  await writeFileAtomic(CORPUS, documents.map(({ source, text }) => `${source}\t${text}\n`).join(''))
  for (const { id } of SOURCES) {
    const own = documents.filter(document => document.source === id)
    const bytes = own.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 1, 0)
    const count = own.reduce((sum, { text }) => sum + words(text).length, 0)
    console.log(`${id}: ${own.length} documents, ${count} words, ${bytes} bytes, ${excluded.get(id) ?? 0} left out`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
