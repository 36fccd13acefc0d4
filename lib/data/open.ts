import { statSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { check, fail, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import { checkIdle, checkOptions, type OptionsOf, type ValueOf } from '../options.ts'
import { keysOf } from '../tuple.ts'
import { absent } from './absent.ts'
import { readConll } from './conll.ts'
import { CONLL_OPTIONS, type ConllOptions } from './conllLayout.ts'
import { DELIMITED_OPTIONS, type DelimitedOptions, readCsv, readTsv } from './delimited.ts'
import { readJsonl } from './jsonl.ts'
import { DATA_OPTIONS } from './options.ts'
import { readParquet } from './parquet.ts'
import type { Row } from './row.ts'
import { readPlainText } from './text.ts'

/** Layouts that can be read. */
export type DataFormat = ValueOf<typeof DATA_OPTIONS.format>

/** The parts of a data set. */
export type SplitName = 'train' | 'validation' | 'test'

/** One file of rows, or the first of its shards; `rows()` starts a new pass each time. */
export interface DataFile {
  readonly path: string
  readonly format: DataFormat
  rows(): AsyncIterable<Row>
}

/** What was found at a path: one file (as `train`), or the files of a folder. */
export type DataSource = { readonly [name in SplitName]?: DataFile }

/** How to read: a format where the extension does not tell, and the options of its reader. */
export interface OpenOptions extends DelimitedOptions, ConllOptions {
  readonly format?: DataFormat | undefined
}

/** Their names. */
export const OPEN_OPTIONS: OptionsOf<OpenOptions> = { format: true, ...DELIMITED_OPTIONS, ...CONLL_OPTIONS }

const formats: Readonly<Record<string, DataFormat>> = {
  '.jsonl': 'jsonl',
  '.json': 'jsonl',
  '.ndjson': 'jsonl',
  '.parquet': 'parquet',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.conll': 'conll',
  '.conllu': 'conll',
  '.conllup': 'conll',
  '.conll03': 'conll',
  '.conll2003': 'conll',
  '.iob': 'conll',
  '.iob2': 'conll',
  '.bio': 'conll',
}
const names: Readonly<Record<SplitName, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev', 'testa'],
  test: ['test', 'testb'],
}
const cure = 'name a .jsonl, .csv, .tsv, .parquet or .conll file, or give the format'
const sheetCure = 'save it as CSV from the spreadsheet'
const arrowCure = 'files of save_to_disk are not read; write them by to_parquet or to_json of datasets'
const textCure = 'say what it holds: format text for one text a line, conll for words and tags in columns'

/**
 * Finds the data at a path: a file, or a folder with a train file and maybe validation (valid, val, dev) and test
 * files of known extensions, each whole or in numbered parts (train-00000-of-00002.parquet); or in its `data`.
 * @throws ERR_DATA when nothing is there, two files claim one split, or the format is unknown.
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<DataSource> {
  checkOptions('openDataset', options, OPEN_OPTIONS)
  check(typeof path === 'string', 'ERR_OPTION', () => `openDataset: ${shown(path)} is no path of a file or folder`)
  const found = await stat(path).catch(missing)
  check(found, 'ERR_DATA', () => absent(path))
  return found.isDirectory() ? openFolder(path, options) : { train: openFile(path, options) }
}

/** Undefined for a path where nothing is. */
function missing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
}

/**
 * One file to read.
 * @throws ERR_DATA for an unknown extension and for a pipe; ERR_OPTION for an unknown format, or a delimiter where
 * there is none
 */
export function openFile(path: string, options: OpenOptions = {}): DataFile {
  checkOptions('openFile', options, OPEN_OPTIONS)
  check(typeof path === 'string', 'ERR_OPTION', () => `openFile: ${shown(path)} is no path of a file`)
  // A pipe gives its bytes once: the next look at it would find an empty file.
  check(isThereForGood(path), 'ERR_DATA', () => {
    return `data: ${path} is no file but a pipe or a device, and data are read more than once; write them to a file`
  })
  const extension = extensionOf(path)
  const format = options.format ?? formats[extension]
  check(format, 'ERR_DATA', () => {
    const compressed = extension === '.zip' || extension === '.zst' || extension === '.bz2'
    const sheet = ['.xlsx', '.xls', '.xlsm', '.ods', '.numbers'].includes(extension)
    const others = sheet ? sheetCure : extension === '.arrow' ? arrowCure : cure
    const advice = extension === '.txt' ? textCure : compressed ? 'unpack it first' : others
    return `data: ${path}: unknown extension "${extension}"; ${advice}`
  })
  const { delimiter } = options
  check(delimiter === undefined || format === 'csv' || format === 'tsv', 'ERR_OPTION', () => {
    const what = `has no effect on ${path}, which is read as ${format}`
    return `delimiter: "${delimiter}" ${what}; leave it out, or give format csv`
  })
  if (format === 'parquet') checkIdle('encoding', options.encoding, () => `on ${path}, since Parquet has one`)
  return { path, format, rows: () => reader(path, format, options) }
}

function isThereForGood(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  return !found || found.isFile() || found.isDirectory()
}

/** Whether the extension of a file says how its rows are read. */
export function holdsRows(path: string): boolean {
  return Object.hasOwn(formats, extensionOf(path))
}

/** The extension that tells the format: that before .gz where a file is packed. */
function extensionOf(path: string): string {
  return extname(withoutGzip(path)).toLowerCase()
}

const withoutGzip = (path: string) => path.replace(/\.gz$/i, '')
const withoutExtension = (path: string) => withoutGzip(path).slice(0, -extensionOf(path).length)
/** How parts of one file are numbered. */
const SHARD = /-\d{5}-of-(\d{5})$/

function reader(path: string, format: DataFormat, options: OpenOptions): AsyncIterable<Row> {
  const { delimiter, columns, notice, encoding, tokenColumn, tagColumn, keepTags } = options
  switch (format) {
    case 'jsonl':
      return readJsonl(path, { encoding })
    case 'parquet':
      return readParquet(path)
    case 'csv':
      return readCsv(path, { delimiter, columns, notice, encoding })
    case 'tsv':
      return readTsv(path, { delimiter, columns, notice, encoding })
    case 'conll':
      return readConll(path, { tokenColumn, tagColumn, keepTags, notice, encoding })
    case 'text':
      return readPlainText(path, options)
    default: {
      const known = DATA_OPTIONS.format.choices
      fail('ERR_OPTION', `format: "${String(format)}" is none of ${known.join(', ')}${nearest(String(format), known)}`)
    }
  }
}

async function openFolder(folder: string, options: OpenOptions): Promise<DataSource> {
  const files = (await readdir(folder)).sort()
  const found = new Map<SplitName, string[]>()
  const others: string[] = []
  for (const file of files) {
    const extension = extensionOf(file)
    if (!formats[extension] && !(options.format && extension === '.txt')) continue
    const stem = withoutGzip(file).slice(0, -extension.length).toLowerCase().replace(SHARD, '')
    const split = keysOf(names).find(name => names[name].includes(stem))
    if (split) found.set(split, [...(found.get(split) ?? []), file])
    // A .json file beside rows more likely describes them.
    else if (extension !== '.json') others.push(file)
  }
  if (found.size === 0 && files.includes('data') && (await stat(join(folder, 'data'))).isDirectory())
    return openFolder(join(folder, 'data'), options)
  check(found.size > 0, 'ERR_DATA', () => {
    const seen = files.slice(0, 8).join(', ') || 'nothing'
    const arrow = files.some(file => file.endsWith('.arrow') || file === 'dataset_dict.json')
    return `data: ${folder} has no train, validation or test file (found: ${seen}); ${arrow ? arrowCure : cure}`
  })
  if (others.length > 0) options.notice?.(leftOutText(folder, others))
  const source: { [name in SplitName]?: DataFile } = {}
  for (const [split, parts] of found) source[split] = openShards(folder, split, parts, options)
  return source
}

function leftOutText(folder: string, files: readonly string[]): string {
  const shown = files.slice(0, 4).join(', ')
  const more = files.length > 4 ? ` and ${files.length - 4} more` : ''
  const are = files.length === 1 ? 'is left out: its name tells' : 'are left out: their names tell'
  return `${folder}: ${shown}${more} ${are} no split; append to the file of a split what is to be read`
}

/** One file, or the numbered parts of one, as `datasets` writes them. */
function openShards(folder: string, split: SplitName, files: readonly string[], options: OpenOptions): DataFile {
  const [first, ...others] = files.map(file => openFile(join(folder, file), options))
  check(first, 'ERR_DATA', () => `data: ${folder} has no file of the ${split} split`)
  const [other] = others
  if (!other) return first
  const counts = new Set(files.map(file => SHARD.exec(withoutExtension(file))?.[1]))
  const [count] = counts
  check(counts.size === 1 && count !== undefined, 'ERR_DATA', () => {
    return `data: ${first.path} and ${other.path} are both the ${split} split; name the one that is meant`
  })
  check(Number(count) === files.length, 'ERR_DATA', () => {
    return `data: ${folder} has ${files.length} of ${Number(count)} parts of its ${split} split; fetch the others too`
  })
  return { ...first, rows: () => rowsOfAll([first, ...others]) }
}

async function* rowsOfAll(parts: readonly DataFile[]): AsyncGenerator<Row> {
  for (const part of parts) yield* part.rows()
}

/** All rows of a file. */
export async function collectRows(rows: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = []
  for await (const row of rows) all.push(row)
  return all
}
