import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { check, fail } from '../errors.ts'
import { nth } from '../tuple.ts'
import { parseLine } from './jsonl.ts'
import { decodeLine, isGzip, readLines } from './lines.ts'
import { type Row, toRow } from './row.ts'

/**
 * A data set by index: what `__len__` and `__getitem__` are in Python. Items are plain objects whose keys are columns.
 */
export interface Dataset<T = Readonly<Record<string, unknown>>> {
  /** Number of items. */
  readonly length: number
  /** Item i, 0 ≤ i < length. */
  get(i: number): T | Promise<T>
}

/** Anything that rows can be taken from: a data set, objects in memory, or a stream of objects. */
export type RowSource =
  | Dataset
  | Dataset<Row>
  | Iterable<Readonly<Record<string, unknown>>>
  | AsyncIterable<Readonly<Record<string, unknown>>>

/** A data set over items in memory; the list is not copied. */
export function arrayDataset<T>(items: readonly T[]): Dataset<T> & { get(i: number): T } {
  return {
    get length() {
      return items.length
    },
    get(i) {
      checkIndex(i, items.length)
      return nth(items, i)
    },
  }
}

/** A data set over the lines of a JSON-lines file, read when asked for; only their places are kept in memory. */
export interface JsonlDataset extends Dataset<Row> {
  get(i: number): Row
  /** Closes the file; later calls of get fail. */
  close(): void
}

/**
 * Opens a JSON-lines file for access by index: one pass over the file, 16 bytes a row.
 * @throws ERR_DATA for a missing or empty file and invalid UTF-8; broken JSON is found by get
 */
export async function jsonlDataset(path: string): Promise<JsonlDataset> {
  check(!isGzipFile(path), 'ERR_DATA', () => `data: ${path} is in gzip, which has no access by index; unpack it first`)
  const starts: number[] = []
  const numbers: number[] = []
  let end = 0
  for await (const { text, number, offset } of readLines(path, { encoding: 'utf-8' })) {
    end = offset + Buffer.byteLength(text)
    if (text.trim() === '') continue
    starts.push(offset)
    numbers.push(number)
  }
  const length = starts.length
  check(length > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one row`)
  let file: number | undefined = openSync(path, 'r')
  return {
    length,
    get(i) {
      checkIndex(i, length)
      check(file !== undefined, 'ERR_DISPOSED', () => `data: ${path} is closed`)
      const [offset, number] = [nth(starts, i), nth(numbers, i)]
      // The next row starts after this line's end; blank lines between are white space to JSON.
      const bytes = Buffer.alloc((starts[i + 1] ?? end + 4) - offset)
      const size = readSync(file, bytes, 0, bytes.length, offset)
      const line = decodeLine(path, bytes.subarray(0, size), number, offset)
      return { values: parseLine(path, line), file: path, line: number }
    },
    close() {
      if (file !== undefined) closeSync(file)
      file = undefined
    },
  }
}

function isGzipFile(path: string): boolean {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return false
  const file = openSync(path, 'r')
  const bytes = Buffer.alloc(2)
  readSync(file, bytes, 0, 2, 0)
  closeSync(file)
  return isGzip(bytes)
}

/** All rows of a source. @throws ERR_DATA for an empty one and for items that are no objects. */
export async function rowsOf(source: RowSource): Promise<Row[]> {
  const rows: Row[] = []
  const push = (item: unknown): void => {
    rows.push(isRow(item) ? item : toRow(item, rows.length + 1))
  }
  if (Symbol.asyncIterator in source || Symbol.iterator in source) for await (const item of source) push(item)
  else if (isDataset(source)) for (let i = 0; i < source.length; i++) push(await source.get(i))
  else fail('ERR_DATA', 'data: neither a data set (length, get), nor iterable')
  check(rows.length > 0, 'ERR_DATA', () => 'data: the data set is empty; it needs at least one row')
  return rows
}

function isDataset(source: object): source is Dataset {
  return 'get' in source && typeof source.get === 'function' && 'length' in source
}

function isRow(item: unknown): item is Row {
  return item !== null && typeof item === 'object' && 'values' in item && 'file' in item && 'line' in item
}

function checkIndex(i: number, length: number): void {
  check(Number.isInteger(i) && i >= 0 && i < length, 'ERR_OPTION', () => `data: index ${i} is not in [0, ${length})`)
}
