import { pipeline, Readable } from 'node:stream'
import { CsvError, parse } from 'csv-parse'
import { check, fail, LowrankError } from '../errors.ts'
import { shown } from '../io/json.ts'
import { checkOptions, type OptionsOf } from '../options.ts'
import { type EncodingOptions, readLines, textPieces } from './lines.ts'
import type { Row } from './row.ts'

/** How a delimited file is laid out. */
export interface DelimitedOptions extends EncodingOptions {
  /**
   * One character between fields. Default: a tab for {@link readTsv}, else what a first line `sep=;` says or the header
   * shows, which is ',' unless it holds none and one other of ; | and tab.
   */
  readonly delimiter?: string | undefined
  /** Column names of a file without a header line. */
  readonly columns?: readonly string[] | undefined
  /** Told what was found out. */
  readonly notice?: ((message: string) => void) | undefined
}

/** Their names. */
export const DELIMITED_OPTIONS: OptionsOf<DelimitedOptions> = {
  ...{ delimiter: true, columns: true, notice: true, encoding: true },
}

/**
 * Rows of a CSV file (RFC 4180: quoted fields may hold delimiters, line ends and doubled quotes) as strings, streaming.
 * @throws ERR_DATA naming the line for ragged rows, unclosed quotes, invalid UTF-8, doubled column names, no rows.
 */
export async function* readCsv(path: string, options: DelimitedOptions = {}): AsyncGenerator<Row> {
  checkOptions('readCsv', options, DELIMITED_OPTIONS)
  const { delimiter: given } = options
  check(given === undefined || given.length === 1, 'ERR_OPTION', () => `delimiter: "${given}" is not one character`)
  const { delimiter, skip } = await foundDelimiter(path, options)
  yield* nameFields(path, csvRecords(path, delimiter, skip, options), options.columns, delimiter)
}

/** The delimiter, and how many lines stand before the header: Excel may write `sep=;` there. */
async function foundDelimiter(path: string, options: DelimitedOptions): Promise<{ delimiter: string; skip: number }> {
  const { delimiter: given, columns, notice } = options
  // Before the parser sees it: with another delimiter it stumbles over quotes, which says nothing.
  for await (const { text } of readLines(path, options)) {
    const told = /^sep=(.)$/.exec(text)?.[1]
    if (told !== undefined) return { delimiter: given ?? told, skip: 1 }
    if (columns) break
    const bare = text.replace(/"(?:[^"]|"")*"/g, '')
    const others = [';', '\t', '|'].filter(sign => bare.includes(sign))
    const [other] = others
    if (given === undefined && !bare.includes(',') && others.length === 1 && other !== undefined) {
      notice?.(`${path}: read with ${shown(other)} between fields, as its first line has it`)
      return { delimiter: other, skip: 0 }
    }
    checkDelimiter(path, text, given ?? ',')
    break
  }
  return { delimiter: given ?? ',', skip: 0 }
}

/**
 * Rows of a TSV file. One line is one row: quotes mean nothing, except around a whole field written as CSV writes it,
 * so a stray quote never swallows lines. A file with line ends inside quotes is read by {@link readCsv} with a tab.
 * @throws ERR_DATA as readCsv
 */
export async function* readTsv(path: string, options: DelimitedOptions = {}): AsyncGenerator<Row> {
  checkOptions('readTsv', options, DELIMITED_OPTIONS)
  yield* nameFields(path, tsvRecords(path, options.delimiter ?? '\t', options), options.columns, '\t')
}

interface FieldRecord {
  readonly fields: readonly string[]
  readonly line: number
}

async function* csvRecords(
  path: string,
  delimiter: string,
  skip: number,
  options: EncodingOptions,
): AsyncGenerator<FieldRecord> {
  const layout = { delimiter, info: true, relax_column_count: true, skip_empty_lines: true } as const
  const parser = parse({ ...layout, from_line: skip + 1 })
  let failure: unknown
  pipeline(Readable.from(textPieces(path, options)), parser, error => {
    failure ??= error
  })
  try {
    for await (const item of parser) {
      const { record, info }: { record: string[]; info: { lines: number } } = item
      const breaks = record.reduce((sum, field) => sum + field.split('\n').length - 1, 0)
      yield { fields: record, line: info.lines - breaks }
    }
  } catch (error) {
    if (failure instanceof CsvError) failCsv(path, failure)
    throw failure instanceof LowrankError ? failure : error
  }
}

function failCsv(path: string, error: CsvError): never {
  const { lines, records } = { lines: 0, records: 0, ...error }
  if (error.code === 'CSV_QUOTE_NOT_CLOSED') {
    const what = `the quote opened in record ${records + 1} (the header counts) is never closed`
    fail('ERR_DATA', `data: ${path}: ${what}; double the quotes inside a quoted field`, error)
  }
  const isQuote = error.code === 'CSV_INVALID_CLOSING_QUOTE' || error.code === 'INVALID_OPENING_QUOTE'
  const what = isQuote ? 'a quote stands within a field, or is not closed in a line above' : error.message
  fail('ERR_DATA', `data: ${path}:${lines}: ${what}; quote fields that hold quotes and double those`, error)
}

async function* tsvRecords(path: string, delimiter: string, options: EncodingOptions): AsyncGenerator<FieldRecord> {
  for await (const { text, number } of readLines(path, options)) {
    if (text.trim() === '') continue
    yield { fields: text.split(delimiter).map(unquote), line: number }
  }
}

function unquote(field: string): string {
  const quoted = /^"((?:[^"]|"")*)"$/.exec(field)
  return quoted ? quoted[1]!.replaceAll('""', '"') : field
}

async function* nameFields(
  path: string,
  records: AsyncIterable<FieldRecord>,
  given: readonly string[] | undefined,
  delimiter: string,
): AsyncGenerator<Row> {
  let names = given
  let valuesOf: ((fields: readonly string[]) => Record<string, string>) | undefined
  let rows = 0
  for await (const { fields, line } of records) {
    if (!names) {
      names = headerNames(path, fields, delimiter)
      continue
    }
    const wanted = names.length
    check(fields.length === wanted, 'ERR_DATA', () => {
      const broken = 'a line break inside a field? A word and its tags a line are format conll'
      const cure = delimiter === '\t' ? broken : `quote fields that hold "${delimiter}"`
      return `data: ${path}:${line}: ${fields.length} fields, the header has ${wanted}; ${cure}`
    })
    check(wanted < 2 || !names.every((name, i) => name === fields[i]?.trim()), 'ERR_DATA', () => {
      return `data: ${path}:${line}: the header again, as in files that were joined; take this line out`
    })
    rows++
    valuesOf ??= valuesUnder(names)
    yield { values: valuesOf(fields), file: path, line }
  }
  check(rows > 0, 'ERR_DATA', () => {
    return names ? `data: ${path} has a header and no rows` : `data: ${path} is empty; it needs at least one row`
  })
}

/** Texts of a column from which on it is taken to repeat none. */
const MANY = 1000

/**
 * Fields by name, in objects that are as small as they can be: a constructor's have no room to grow, and the texts of a
 * column of labels are there once.
 */
function valuesUnder(names: readonly string[]): (fields: readonly string[]) => Record<string, string> {
  const known = names.map(() => new Map<string, string>())
  const once = (column: number, text: string): string => {
    const texts = known[column]!
    if (texts.size === MANY) return text
    const found = texts.get(text)
    if (found === undefined) texts.set(text, text)
    return found ?? text
  }
  // Assigned, this name would be the object's prototype.
  if (names.includes('__proto__')) return fields => Object.fromEntries(names.map((name, i) => [name, fields[i]!]))
  function Values(this: Record<string, string>, fields: readonly string[]): void {
    for (let i = 0; i < names.length; i++) this[names[i]!] = once(i, fields[i]!)
  }
  Values.prototype = Object.prototype
  return fields => new (Values as unknown as new (fields: readonly string[]) => Record<string, string>)(fields)
}

/** Column names; an unnamed one (an index column written by pandas) is called by its number. */
function headerNames(path: string, fields: readonly string[], delimiter: string): string[] {
  const names = fields.map((name, i) => name.trim() || `column ${i + 1}`)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  check(twice === undefined, 'ERR_DATA', () => `data: ${path}:1: two columns are called "${twice}"; rename one`)
  if (names.length === 1) checkDelimiter(path, fields[0] ?? '', delimiter)
  return names
}

/** A header without the delimiter and with another one. */
function checkDelimiter(path: string, header: string, delimiter: string): void {
  const other = [',', ';', '\t', '|'].find(sign => sign !== delimiter && header.includes(sign))
  const quoted = /^"[^"]*"$/.test(header)
  check(header.includes(delimiter) || quoted || other === undefined, 'ERR_DATA', () => {
    return `data: ${path}:1: one column with ${shown(other)} in its name; if that is the delimiter, name it with delimiter`
  })
}
