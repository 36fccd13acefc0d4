// Which columns of a column file hold words and tags.

import type { OptionsOf } from '../options.ts'
import { lastOf, nth } from '../tuple.ts'
import type { EncodingOptions } from './lines.ts'
import { isEntityTag } from './tags.ts'

/** How a column file is read. Columns count from 0, negative ones from the end. */
export interface ConllOptions extends EncodingOptions {
  /** Column of the words: by default the first, or the one after a number that counts them. */
  readonly tokenColumn?: number | undefined
  /** Column of the tags: by default the last, or what the layout says. */
  readonly tagColumn?: number | undefined
  /** Keep the tags as written instead of turning them into IOB2. */
  readonly keepTags?: boolean | undefined
  /** Told which columns were taken, where that is not plain, and when tags were converted. */
  readonly notice?: ((message: string) => void) | undefined
}

/** Their names. */
export const CONLL_OPTIONS: OptionsOf<ConllOptions> = {
  ...{ tokenColumn: true, tagColumn: true, keepTags: true, notice: true, encoding: true },
}

/** A line of a column file. */
export interface Word {
  readonly fields: readonly string[]
  readonly line: number
}

/** The columns that count (negative ones from the end), and what becomes of them. */
export interface Layout {
  readonly token: number
  readonly tag: number
  /** Whether a line is a word: CoNLL-U has lines for contractions and for words that are not written. */
  isWord(word: Word): boolean
  tagsOf(raw: readonly string[]): string[]
}

const plain = { token: 0, tag: -1, isWord: () => true, tagsOf: (raw: readonly string[]) => [...raw] }

/** The layout of a file by its first sentences and the comments before them; what `options` give comes first. */
export function findLayout(
  path: string,
  sentences: readonly (readonly Word[])[],
  comments: readonly string[],
  options: ConllOptions,
): Layout {
  const [name, found] = known(sentences, comments)
  const token = options.tokenColumn ?? found.token
  const tag = options.tagColumn ?? found.tag
  const chosen = options.tokenColumn !== undefined && options.tagColumn !== undefined
  if (name !== '' && !chosen)
    options.notice?.(`${path}: ${name}; words from column ${token}, tags from column ${tag} (counted from 0)`)
  return { ...found, token, tag, tagsOf: tag === found.tag ? found.tagsOf : plain.tagsOf }
}

function known(sentences: readonly (readonly Word[])[], comments: readonly string[]): [name: string, layout: Layout] {
  const first = nth(nth(sentences, 0), 0)
  const width = first.fields.length
  const header = headed(first)
  if (header) return ['the first line names the columns', header]
  const named = comments.map(line => /^# global\.columns = (.*)/.exec(line)?.[1]).find(line => line !== undefined)
  if (named) return ['CoNLL-U Plus', plus(named.trim().split(/\s+/))]
  if (width >= 11 && sentences.every(words => counts(words, 2, 0)))
    return ['CoNLL-2012', { ...plain, token: 3, tag: 10, tagsOf: fromSpans }]
  if (width < 3 || !sentences.every(words => counts(words.filter(isWritten), 0))) return byTags(sentences, width)
  if (width === 10) return ['CoNLL-U', { ...plain, token: 1, tag: 3, isWord: isWritten }]
  if (width >= 12) return ['CoNLL-2009', { ...plain, token: 1, tag: 4 }]
  const nested = width === 4 && sentences.flat().every(({ fields }) => fields.slice(2).every(isEntityTag))
  if (nested) return ['GermEval 2014', { ...plain, token: 1, tag: 2 }]
  return ['the first column counts the words', { ...plain, token: 1, isWord: isWritten }]
}

/** Whether a column counts the words of a sentence, from what its first word has where nothing is said. */
function counts(words: readonly Word[], column: number, from = Number(words[0]?.fields[column])): boolean {
  return words.every(({ fields }, i) => fields[column] === String(from + i))
}

// Names of columns: of words, of tags of entities, of other tags, and of what is neither.
const WORDS = 'word words token tokens form text'.split(' ')
const ENTITIES = 'tag tags ner ne ner_tag ner_tags label labels entity entities iob bio'.split(' ')
const OTHER_TAGS = 'pos pos_tag pos_tags upos xpos chunk chunk_tag chunk_tags'.split(' ')
const REST = ['id', 'index', 'lemma']

/** The layout that a first line of column names tells; undefined for a line that is a word. */
function headed(line: Word): Layout | undefined {
  const names = line.fields.map(field => field.toLowerCase())
  const find = (known: readonly string[]) => names.findIndex(name => known.includes(name))
  const token = find(WORDS)
  const tag = [ENTITIES, OTHER_TAGS].map(find).find(column => column >= 0)
  const areNames = names.every(name => [...WORDS, ...ENTITIES, ...OTHER_TAGS, ...REST].includes(name))
  return areNames && token >= 0 && tag !== undefined
    ? { ...plain, token, tag, isWord: word => word !== line }
    : undefined
}

// A type begins with a letter: I-95 and B-52 are words.
const tagged = /^(?:O|[BIESLUMW][-_]\p{L}.*)$/su

/** Words first and tags last, unless tags of entities stand in another column alone. */
function byTags(sentences: readonly (readonly Word[])[], width: number): [name: string, layout: Layout] {
  const holdsTags = (column: number) => sentences.flat().every(({ fields }) => tagged.test(fields[column] ?? ''))
  const tag = Array.from({ length: width }, (_, column) => column).find(holdsTags)
  if (tag === undefined || holdsTags(width - 1)) return ['', plain]
  return [`tags of entities stand in column ${tag}`, { ...plain, token: tag === 0 ? 1 : 0, tag }]
}

/** Numbers such as 1-2 (a contraction) and 8.1 (a word that is not written) mark lines that are no words. */
function isWritten({ fields }: Word): boolean {
  return !/^\d+[-.]\d+$/.test(nth(fields, 0))
}

/** The columns that a header names: FORM, and names if it has them, else parts of speech. */
function plus(columns: readonly string[]): Layout {
  const find = (...names: string[]) =>
    columns.findIndex(column => names.includes(lastOf(column.toUpperCase().split(':'))))
  const entities = find('NER', 'NE', 'ENTITY', 'ENTITIES', 'TAG')
  const token = find('FORM')
  const tag = entities < 0 ? find('UPOS', 'XPOS') : entities
  return {
    ...plain,
    token: token < 0 ? 0 : token,
    tag: tag < 0 ? -1 : tag,
    isWord: find('ID') === 0 ? isWritten : plain.isWord,
  }
}

/** Names in brackets, `(ORG*`, `*`, `*)` and `(GPE)`, as IOB2. */
function fromSpans(raw: readonly string[]): string[] {
  let type = ''
  return raw.map(field => {
    const opened = /^\(([^*()]+)/.exec(field)?.[1]
    if (opened) type = opened
    const tag = type === '' ? 'O' : `${opened ? 'B' : 'I'}-${type}`
    if (field.endsWith(')')) type = ''
    return tag
  })
}
