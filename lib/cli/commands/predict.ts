// `lowrank predict`: what a trained adapter says about texts.

import { type ColumnNames, columnNames, usualText } from '../../data/columns.ts'
import { readLines } from '../../data/lines.ts'
import { holdsRows, openFile } from '../../data/open.ts'
import type { Row } from '../../data/row.ts'
import { check } from '../../errors.ts'
import { answerRows } from '../../open/ask.ts'
import { useThreads } from '../../open/base.ts'
import type { Trained } from '../../open/trained.ts'
import { checkIdle } from '../../options.ts'
import { unknownTextsText } from '../../tasks/encode.ts'
import { taskOfModel } from '../../tasks/index.ts'
import type { PredictionRecord } from '../../tasks/task.ts'
import { predictRows } from '../../train/predict.ts'
import { nth } from '../../tuple.ts'
import { openOptions, optionsFor } from '../data.ts'
import { cacheOf, generationOf } from '../options/generation.ts'
import type { Settings } from '../options/options.ts'
import type { ResolvedSettings } from '../options/settings.ts'
import type { Console } from '../terminal/console.ts'
import { plural } from '../terminal/format.ts'
import { typedLines } from '../terminal/lines.ts'
import { predictionLine } from '../terminal/results.ts'
import { typedTexts } from '../texts.ts'
import { openTold } from '../trained.ts'

const chunk = 256

/** Prints predictions for the texts given, the rows of a file, or the lines of the standard input, as they are done. */
export async function predictCommand(
  given: Settings,
  console: Console,
  { origins }: ResolvedSettings,
): Promise<number> {
  const settings = withoutTable({ ...given, texts: typedTexts(given, 'give it with input') }, origins.typed)
  useThreads(settings)
  const started = performance.now()
  const trained = await openTold(settings, console)
  const task = taskOfModel(trained.model)
  let [count, cut, unread, empty] = [0, 0, 0, 0]
  try {
    for await (const rows of chunks(
      rowsOf(settings, trained.columnNames.text2 !== undefined, console),
      groupSize(settings),
    )) {
      for await (const record of recordsOf(trained, rows, settings)) {
        if (record.truncated) cut++
        if (record.unknown !== undefined) unread++
        if (!task.says && record.text.trim() === '') empty++
        count++
        console.line(predictionLine(task, record, console.color))
        console.event({ type: 'prediction', ...record })
      }
      if (console.closed) break
    }
    check(count > 0, 'ERR_DATA', () => 'predict: there is no text; give texts, --input or lines on the standard input')
    for (const text of warnings({ cut, unread, empty }, trained)) console.warn(text)
    console.event({
      type: 'summary',
      predictions: count,
      truncated: cut,
      unknown: unread,
      seconds: (performance.now() - started) / 1000,
    })
    return 0
  } finally {
    trained.model.dispose()
  }
}

/** What to tell of texts that were cut, that the vocabulary lacks, and that say nothing. */
function* warnings(counts: { cut: number; unread: number; empty: number }, { maxLength, tokenizer }: Trained) {
  const { cut, unread, empty } = counts
  if (cut > 0) yield `${plural(cut, 'pair')} cut to ${maxLength} tokens, their ends unread`
  if (empty > 0) yield `${plural(empty, 'text')} without a word: what is predicted there says nothing`
  if (unread > 0) yield unknownTextsText(unread, tokenizer)
}

/** What is said of rows, or of a language model to them. */
function recordsOf(trained: Trained, rows: readonly Row[], settings: Settings): AsyncGenerator<PredictionRecord> {
  const task = taskOfModel(trained.model)
  const { evalBatchSize: batchSize, top, columns } = settings
  if (!task.says) return predictRows(trained, rows, { columns: columnsFor(rows, trained, settings), batchSize, top })
  checkIdle('top', top, () => `on a ${task.title}, which answers in words`)
  const asked = { ...trained, taskOptions: optionsFor(task, settings, trained.taskOptions) }
  return answerRows(asked, rows, { ...generationOf(settings), ...cacheOf(settings), batchSize, columns })
}

/**
 * Columns to read: as asked for; else those trained with, unless the rows are plain texts, or a tagger's that are not
 * split into words.
 * @throws ERR_DATA where a data file lacks them
 */
function columnsFor(
  rows: readonly Row[],
  { columnNames: trained }: Trained,
  { columns, input }: Settings,
): ColumnNames {
  if (columns) return columns
  const { text, text2, tokens } = trained
  const seen = columnNames(rows)
  const wanted = [text, text2, tokens].filter(name => name !== undefined)
  const isPlain = seen.join() === (text2 === undefined ? 'text' : 'text,text2')
  const isKnown = wanted.length > 0 && wanted.every(name => seen.includes(name))
  if (isKnown) return { text, text2, tokens }
  // A tagger reads texts too, word by word.
  const unsplit = tokens === undefined ? undefined : usualText(seen)
  if (unsplit !== undefined) return { text: unsplit }
  check(wanted.length === 0 || isPlain, 'ERR_DATA', () => {
    const [was, has] = [wanted, seen].map(names => names.map(name => `"${name}"`).join(', '))
    return `columns: the adapter was trained on ${was}, ${input ?? 'the input'} has ${has}; name the columns with --columns`
  })
  return {}
}

/** Rows of the texts, the file or the lines given; of pairs, where the adapter was trained on them. */
async function* rowsOf(settings: Settings, pairs: boolean, console: Console): AsyncGenerator<Row> {
  const { texts, input } = settings
  check(
    texts === undefined || input === undefined,
    'ERR_OPTION',
    () => 'predict: texts and input are both given; keep one',
  )
  const row = pairs ? pairRow : textRow
  if (texts) {
    yield* pairs ? pairsOf(texts) : texts.map((text, i) => textRow(text, i + 1))
    return
  }
  if (input !== undefined && input !== '-') {
    if (readsTable(settings)) {
      yield* openFile(input, openOptions(settings, console.note)).rows()
      return
    }
    for await (const { text, number } of readLines(input, settings))
      if (text.trim() !== '') yield row(text, number, input)
    return
  }
  const what = pairs ? 'pairs from the terminal, one a line with a tab between' : 'texts from the terminal, one a line'
  if (process.stdin.isTTY) console.note(`reading ${what}; Ctrl-D ends`)
  for await (const { text, number } of typedLines(settings)) yield row(text, number)
}

/** Whether the input has rows with columns; what is typed, piped or in a plain file is one text a line. */
const readsTable = ({ texts, input, format }: Settings) =>
  !texts && input !== undefined && input !== '-' && (format !== undefined || holdsRows(input))

/**
 * Settings without what is said of tables, where there is none. @throws ERR_OPTION where the command line says it; a
 * config file says it of the data that it was written for
 */
function withoutTable(settings: Settings, typed: ReadonlySet<string>): Settings {
  if (readsTable(settings)) return settings
  const { texts, input = '-', format, encoding } = settings
  const lines = input === '-' ? 'the standard input' : input
  const what = texts ? 'texts that are given' : `${lines}, which is one text a line`
  const useless = ['format', 'delimiter', 'columns', ...(texts ? ['encoding'] : [])]
  for (const name of useless)
    check(!typed.has(name) || (name === 'format' && format === 'text' && !texts), 'ERR_OPTION', () => {
      return `${name}: has no effect on ${what}; leave it out, or give a data file with input`
    })
  const own = typed.has('encoding') || input !== '-' ? encoding : undefined
  return { ...settings, format: undefined, delimiter: undefined, columns: undefined, encoding: own }
}

const textRow = (text: string, line: number, file = ''): Row => ({ values: { text }, file, line })

/** A line of two texts. @throws ERR_DATA for another number of them */
function pairRow(line: string, number: number, file = ''): Row {
  const [text, text2, ...more] = line.split('\t')
  check(text2 !== undefined && more.length === 0, 'ERR_DATA', () => {
    return `predict: line ${number} holds ${more.length + (text2 === undefined ? 1 : 2)} texts, the adapter reads pairs; part two texts by one tab`
  })
  return { values: { text, text2 }, file, line: number }
}

/** Texts two by two. @throws ERR_OPTION for one that is left over */
function pairsOf(texts: readonly string[]): Row[] {
  check(texts.length % 2 === 0, 'ERR_OPTION', () => {
    return `predict: ${texts.length} texts, but the adapter reads pairs; give two texts for each`
  })
  return Array.from({ length: texts.length / 2 }, (_, i) => ({
    values: { text: nth(texts, 2 * i), text2: nth(texts, 2 * i + 1) },
    file: '',
    line: i + 1,
  }))
}

/** Rows to read before predicting: one where somebody types them. */
function groupSize({ texts, input, evalBatchSize }: Settings): number {
  const typed = !texts && (input === undefined || input === '-') && process.stdin.isTTY
  return typed ? 1 : (evalBatchSize ?? chunk)
}

/** Rows in groups of at most `size`. */
async function* chunks(rows: AsyncIterable<Row>, size: number): AsyncGenerator<Row[]> {
  let group: Row[] = []
  for await (const row of rows) {
    group.push(row)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
