import { check } from '../errors.ts'
import { readLines } from './lines.ts'
import type { Row } from './row.ts'
import { detectScheme, type TagScheme, toIob2 } from './tags.ts'

/** How a column file is read. Columns count from 0, negative ones from the end. */
export interface ConllOptions {
  /** Column of the words: the first by default. */
  readonly tokenColumn?: number | undefined
  /** Column of the tags: the last by default. */
  readonly tagColumn?: number | undefined
  /** Keep the tags as written instead of turning them into IOB2. */
  readonly keepTags?: boolean | undefined
  /** Told once, at the end of the file, when tags were converted. */
  readonly notice?: ((message: string) => void) | undefined
}

interface Word {
  readonly fields: readonly string[]
  readonly line: number
}

const entityTag = /^(?:O|[BIESLU]-.+)$/

/**
 * Sentences of a column file (CoNLL-2003 and its kin) as rows `{ tokens, tags }`: one word a line, columns parted by
 * tabs or else spaces, sentences by blank lines. `-DOCSTART-` lines and comments (`# …` before a sentence) are skipped.
 * IOB1, BIOES and BILOU tags become IOB2.
 * @throws ERR_DATA naming the line for rows of another width, a missing column, an empty word, a file without words.
 */
export async function* readConll(path: string, options: ConllOptions = {}): AsyncGenerator<Row> {
  let converted: TagScheme = 'none'
  let rows = 0
  for await (const words of readSentences(path)) {
    const tokens = words.map(word => pick(path, word, options.tokenColumn ?? 0))
    const raw = words.map(word => pick(path, word, options.tagColumn ?? -1))
    const scheme = detectScheme([raw])
    const changes = !options.keepTags && (scheme === 'IOB1' || scheme === 'BIOES')
    if (changes && converted !== 'BIOES') converted = scheme
    rows++
    yield { values: { tokens, tags: changes ? toIob2(raw) : raw }, file: path, line: words[0]!.line }
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one sentence`)
  if (converted !== 'none') options.notice?.(`${path}: tags converted from ${converted} to IOB2`)
}

async function* readSentences(path: string): AsyncGenerator<Word[]> {
  let words: Word[] = []
  let width: number | undefined
  for await (const { text, number } of readLines(path)) {
    const line = text.replace(/[ \t\r]+$/, '')
    const fields = line.includes('\t') ? line.split('\t') : line.split(/ +/)
    if (line.trim() === '' || fields[0] === '-DOCSTART-') {
      if (words.length > 0) yield words
      words = []
      continue
    }
    if (words.length === 0 && isComment(line, fields, width)) continue
    width ??= fields.length
    check(fields.length === width, 'ERR_DATA', () => {
      return `data: ${path}:${number}: ${fields.length} columns, the lines before have ${width}`
    })
    check(width > 1, 'ERR_DATA', () => `data: ${path}:${number}: one column; word and tag need two`)
    words.push({ fields, line: number })
  }
  if (words.length > 0) yield words
}

/** A line that starts with # is a word only when it is as wide as the others and ends in a tag. */
function isComment(line: string, fields: readonly string[], width: number | undefined): boolean {
  if (!line.startsWith('#')) return false
  return (width !== undefined && fields.length !== width) || !entityTag.test(fields.at(-1) ?? '')
}

function pick(path: string, { fields, line }: Word, column: number): string {
  const value = fields.at(column)
  check(value !== undefined, 'ERR_DATA', () => {
    return `data: ${path}:${line}: no column ${column}, the line has ${fields.length} (counted from 0)`
  })
  check(value !== '', 'ERR_DATA', () => `data: ${path}:${line}: column ${column} is empty`)
  return value
}
