// Apache Parquet (https://parquet.apache.org/docs/file-format), as `datasets` writes it: a group of rows at a time.

import { type FileHandle, open } from 'node:fs/promises'
import type { AsyncBuffer, Compressors, FileMetaData, SchemaTree } from 'hyparquet'
import { check, fail, LowrankError, messageOf } from '../errors.ts'
import { objectIn, shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import type { Row } from './row.ts'

/** What a page may unpack to, and a group's values of a column: a file of a few bytes can claim any number. */
const MOST_BYTES = 2 ** 28
const MOST_VALUES = 2 ** 26

/** What the numbers of a column mean: names of classes, as `datasets` writes them beside the columns. */
type ClassNames = ReadonlyMap<string, readonly string[]>

/**
 * Rows of a Parquet file; a row's line is its 1-based number. Integers are numbers (text past 2^53), times are ISO 8601
 * text, and numbers of classes that `datasets` gave names are those names; its −1, no class, is null.
 * @throws ERR_DATA for a file that is none, is cut, or holds what cannot be read; for a file without rows
 */
export async function* readParquet(path: string): AsyncGenerator<Row> {
  const file = await open(path)
  try {
    const buffer = await bufferOf(file)
    const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet')
    const metadata = await told(path, 'footer', () => parquetMetadataAsync(buffer))
    checkClaims(path, metadata, buffer.byteLength)
    const leaves = await told(path, 'schema', async () => new Set(leavesOf(parquetSchema(metadata))))
    checkColumns(path, metadata, leaves)
    const names = classNames(metadata)
    const compressors = await boundedCompressors()
    let line = 0
    for (const [i, group] of metadata.row_groups.entries()) {
      const rowEnd = line + Number(group.num_rows)
      const options = { file: buffer, metadata, compressors, rowStart: line, rowEnd }
      const rows = await told(path, `group ${i + 1} of rows`, () => parquetReadObjects(options))
      check(rows.length === rowEnd - line, 'ERR_DATA', () => {
        return `data: ${path}: group ${i + 1} of rows has ${rows.length} of ${rowEnd - line} rows; copy the file again`
      })
      for (const values of rows) yield { values: plainRow(values, names), file: path, line: ++line }
    }
    check(line > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one row`)
  } finally {
    await file.close()
  }
}

async function bufferOf(file: FileHandle): Promise<AsyncBuffer> {
  const { size } = await file.stat()
  return {
    byteLength: size,
    async slice(start, end = size) {
      check(start >= 0 && start <= end && end <= size, 'ERR_DATA', () => {
        return `bytes ${start} to ${end} are asked for, of ${size}`
      })
      const bytes = new Uint8Array(end - start)
      for (let at = 0; at < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at)
        check(bytesRead > 0, 'ERR_DATA', () => `the file ends at byte ${start + at}`)
        at += bytesRead
      }
      return bytes.buffer
    },
  }
}

/** What the library says of a part of a file, with the file and a cure. */
async function told<T>(path: string, part: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    const reason = (error instanceof LowrankError ? error.message : messageOf(error)).slice(0, 200)
    const cure = 'copy the file again, or write it as jsonl (datasets: to_json)'
    fail('ERR_DATA', `data: ${path}: the ${part} cannot be read as Parquet: ${reason}; ${cure}`, error)
  }
}

/** Claims of the footer are held against the file before anything is made by them. */
function checkClaims(path: string, { row_groups: groups }: FileMetaData, size: number): void {
  for (const [i, { num_rows: rows, columns }] of groups.entries()) {
    check(rows >= 0 && rows <= MOST_VALUES, 'ERR_DATA', () => {
      return `data: ${path}: group ${i + 1} claims ${rows} rows, of at most ${MOST_VALUES}; write smaller groups`
    })
    for (const { meta_data: column } of columns) {
      check(column, 'ERR_DATA', () => `data: ${path}: group ${i + 1} has a column in another file, which is not read`)
      const { num_values: values, total_compressed_size: bytes, path_in_schema: name } = column
      check(values >= 0 && values <= MOST_VALUES && bytes >= 0 && bytes <= size, 'ERR_DATA', () => {
        const claim = `${values} values in ${bytes} bytes`
        return `data: ${path}: column ${name.join('.')} claims ${claim}, the file has ${size} bytes; copy it again`
      })
    }
  }
}

/** Paths of the columns that hold values. */
function leavesOf({ children, path }: SchemaTree): string[] {
  return children.length > 0 ? children.flatMap(leavesOf) : [JSON.stringify(path)]
}

/** A column that the schema lacks, or a second copy of one, would end the process: no reader awaits it. */
function checkColumns(path: string, { row_groups: groups }: FileMetaData, leaves: ReadonlySet<string>): void {
  for (const [i, { columns }] of groups.entries()) {
    const left = new Set(leaves)
    for (const { meta_data: column } of columns) {
      const name = column?.path_in_schema ?? []
      check(left.delete(JSON.stringify(name)), 'ERR_DATA', () => {
        const what = leaves.has(JSON.stringify(name)) ? 'twice' : 'which the schema lacks'
        return `data: ${path}: group ${i + 1} has the column ${shown(name.join('.'))} ${what}; copy the file again`
      })
    }
  }
}

/** The library's decompressors, each asked for no more than a page may have. */
async function boundedCompressors(): Promise<Compressors> {
  const { compressors } = await import('hyparquet-compressors')
  return Object.fromEntries(
    Object.entries(compressors).map(([name, unpack]) => [
      name,
      (input: Uint8Array, length: number) => {
        check(length >= 0 && length <= MOST_BYTES, 'ERR_DATA', () => {
          return `a page claims ${length} bytes, of at most ${MOST_BYTES}`
        })
        // Of nothing, the library's LZ4 wants more than nothing.
        return length === 0 ? new Uint8Array(0) : unpack(input, length)
      },
    ]),
  )
}

/** Names of classes by column, from the features that `datasets` keeps in a file. */
function classNames({ key_value_metadata: pairs }: FileMetaData): ClassNames {
  const text = pairs?.find(({ key }) => key === 'huggingface')?.value
  const names = new Map<string, readonly string[]>()
  if (text === undefined) return names
  const kept = objectIn(text)
  const info = isRecord(kept?.info) ? kept.info : {}
  for (const [column, feature] of Object.entries(isRecord(info.features) ? info.features : {})) {
    const found = namesIn(feature)
    if (found) names.set(column, found)
  }
  return names
}

/** Names of a class label, or of a list of them. */
function namesIn(feature: unknown): readonly string[] | undefined {
  if (Array.isArray(feature)) return namesIn(feature[0])
  if (!isRecord(feature)) return undefined
  const { names, feature: inner } = feature
  if (inner !== undefined) return namesIn(inner)
  return Array.isArray(names) && names.every(name => typeof name === 'string') ? names : undefined
}

function plainRow(values: Record<string, unknown>, names: ClassNames): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([column, value]) => [column, named(plain(value), names.get(column))]),
  )
}

function named(value: unknown, names: readonly string[] | undefined): unknown {
  if (!names) return value
  if (Array.isArray(value)) return value.map(item => named(item, names))
  if (value === -1) return null
  return typeof value === 'number' ? (names[value] ?? value) : value
}

/** A value as JSON has it. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : String(value)
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (Array.isArray(value)) return value.map(plain)
  if (isRecord(value) && !ArrayBuffer.isView(value))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
  return value
}
