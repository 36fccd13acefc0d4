import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { checkOptions } from '../options.ts'
import { nth } from '../tuple.ts'
import { CONLL_OPTIONS, type ConllOptions, findLayout, type Layout, type Word } from './conllLayout.ts'
import { readLines } from './lines.ts'
import type { Row } from './row.ts'
import { detectScheme, type TagScheme, toIob2 } from './tags.ts'

/**
 * Sentences of a column file (CoNLL-2003 and its kin) as rows `{ tokens, tags }`: one word a line, columns parted by
 * tabs or else blanks, sentences by blank lines. `-DOCSTART-` lines and comments are skipped; a line that begins with #
 * is a word where it is as wide as the others. Known layouts are read by their columns: CoNLL-U (UPOS as tags),
 * CoNLL-U Plus (its header names them), CoNLL-2009 (POS), CoNLL-2012 of OntoNotes (names), GermEval 2014 (outer names),
 * a first line that names columns, and tags of entities that stand first or between.
 * IOB1, BIOES and BILOU tags become IOB2.
 * @throws ERR_DATA naming the line for rows of another width, a missing column, an empty word, a file without words.
 */
export async function* readConll(path: string, options: ConllOptions = {}): AsyncGenerator<Row> {
  checkOptions('readConll', options, CONLL_OPTIONS)
  for (const name of ['tokenColumn', 'tagColumn'] as const)
    check(options[name] === undefined || Number.isInteger(options[name]), 'ERR_OPTION', () => {
      return `${name}: ${shown(options[name])} is no whole number; columns count from 0`
    })
  let converted: TagScheme = 'none'
  let rows = 0
  for await (const { words, layout } of laidOut(path, options)) {
    const tokens = words.map(word => pick(path, word, layout.token))
    const raw = layout.tagsOf(words.map(word => pick(path, word, layout.tag)))
    const scheme = detectScheme([raw])
    const changes = !options.keepTags && (scheme === 'IOB1' || scheme === 'BIOES')
    if (changes && converted !== 'BIOES') converted = scheme
    rows++
    yield { values: { tokens, tags: changes ? toIob2(raw) : raw }, file: path, line: nth(words, 0).line }
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one sentence`)
  if (converted !== 'none') options.notice?.(`${path}: tags converted from ${converted} to IOB2`)
}

/** Sentences and which of their columns count; the first sentences wait until one of two words tells. */
async function* laidOut(
  path: string,
  options: ConllOptions,
): AsyncGenerator<{ words: readonly Word[]; layout: Layout }> {
  const file: File = { path, encoding: options.encoding, comments: [] }
  let waiting: Word[][] = []
  let layout: Layout | undefined
  const placed = function* (sentences: readonly Word[][], found: Layout) {
    for (const sentence of sentences) {
      const words = sentence.filter(found.isWord)
      if (words.length > 0) yield { words, layout: found }
    }
  }
  for await (const words of readSentences(file)) {
    if (layout) {
      yield* placed([words], layout)
      continue
    }
    waiting.push(words)
    if (words.length < 2) continue
    layout = findLayout(path, waiting, file.comments, options)
    yield* placed(waiting, layout)
    waiting = []
  }
  if (waiting.length > 0) yield* placed(waiting, findLayout(path, waiting, file.comments, options))
}

interface File {
  readonly path: string
  readonly encoding: string | undefined
  /** Comments before the first word. */
  readonly comments: string[]
  /** Columns of a line, and whether tabs part them: known from the first line that cannot be a comment. */
  width?: number
  tabs?: boolean
}

async function* readSentences(file: File): AsyncGenerator<Word[]> {
  let words: Word[] = []
  // Lines that begin with # before it is known how wide lines are.
  let unsure: { text: string; number: number }[] = []
  for await (const { text, number } of readLines(file.path, file)) {
    const line = withoutEnd(text)
    const blank = line.trim() === ''
    if (file.width === undefined && (blank || line.startsWith('#'))) {
      unsure.push({ text: line, number })
      continue
    }
    measure(file, line, number)
    for (const each of [...unsure, { text: line, number }])
      if (each.text.trim() === '' || each.text.startsWith('-DOCSTART-')) {
        if (words.length > 0) yield words
        words = []
      } else take(file, words, each.text, each.number)
    unsure = []
  }
  if (words.length > 0) yield words
}

/** The line without blanks at its end; a regular expression would take the square of them. */
function withoutEnd(line: string): string {
  let end = line.length
  while (end > 0 && ' \t\r'.includes(line.charAt(end - 1))) end--
  return line.slice(0, end)
}

function measure(file: File, line: string, number: number): void {
  if (file.width !== undefined || line.startsWith('-DOCSTART-') || line.trim() === '') return
  file.tabs = line.includes('\t')
  file.width = fieldsOf(file, line).length
  check(file.width > 1, 'ERR_DATA', () => `data: ${file.path}:${number}: one column; word and tag need two`)
}

function fieldsOf({ tabs }: File, line: string): string[] {
  return tabs ? line.split('\t') : line.split(/[ \t]+/)
}

function take(file: File, words: Word[], line: string, number: number): void {
  const fields = fieldsOf(file, line)
  const { path, width } = file
  // In a file parted by spaces a comment may happen to be as wide as a word's line.
  const comment = line.startsWith('#') && (fields.length !== width || (!file.tabs && /^# \S+ = /.test(line)))
  if (words.length === 0 && comment) {
    file.comments.push(line)
    return
  }
  check(fields.length === width, 'ERR_DATA', () => {
    const parted = file.tabs && !line.includes('\t') && line.includes(' ')
    const cause = parted ? ', which tabs part and here blanks; part all columns by tabs' : ''
    return `data: ${path}:${number}: ${fields.length} columns, the lines before have ${width}${cause}`
  })
  words.push({ fields, line: number })
}

function pick(path: string, { fields, line }: Word, column: number): string {
  const value = fields.at(column)
  check(value !== undefined, 'ERR_DATA', () => {
    return `data: ${path}:${line}: no column ${column}, the line has ${fields.length} (counted from 0)`
  })
  check(value !== '', 'ERR_DATA', () => `data: ${path}:${line}: column ${column} is empty`)
  return value
}
