// Rows of a file as text in Records: a tenth of what objects take, and a file of any size in little memory.

import { turns } from '../io/turn.ts'
import { isRecord } from '../options.ts'
import { Dataset, type List } from './list.ts'
import { Records } from './records.ts'
import type { Row } from './row.ts'

/** All rows of a file, read once and kept where they take no memory to speak of. `most` bytes of them stay there. */
export async function storeRows(path: string, rows: AsyncIterable<Row>, most?: number): Promise<List<Row>> {
  const stored = new StoredRows(path, most)
  const due = turns()
  for await (const row of rows) {
    stored.push(row)
    // Rows of one chunk of the file come without a turn in between.
    const now = due()
    if (now) await now
  }
  return stored
}

class StoredRows extends Dataset<Row> {
  /** Files of the rows, and the first row of each. */
  readonly #files: { readonly file: string; readonly from: number }[] = []
  readonly #records: Records
  /** Of the first row, in whose order the values of rows with the same columns are kept without them. */
  #names: readonly string[] | undefined
  /** Rows that JSON would change: with dates, big integers, −0. */
  readonly #others = new Map<number, Row>()

  constructor(file: string, most?: number) {
    super()
    this.#files.push({ file, from: 0 })
    this.#records = new Records(most)
  }

  get length(): number {
    return this.#records.length
  }

  push(row: Row): void {
    if (row.file !== this.#files.at(-1)?.file) this.#files.push({ file: row.file, from: this.length })
    if (!isJson(row.values)) {
      this.#others.set(this.length, row)
      this.#records.add(0)
      return
    }
    const names = Object.keys(row.values)
    // Assigned, this name would be the object's prototype.
    this.#names ??= names.includes('__proto__') ? [] : names
    const same =
      names.length > 0 && names.length === this.#names.length && names.every((n, i) => n === this.#names?.[i])
    const text = JSON.stringify(same ? Object.values(row.values) : row.values)
    const length = 4 + Buffer.byteLength(text)
    const record = this.#records.add((length + 3) & ~3)
    record.writeUInt32LE(row.line)
    record.write(text, 4)
    // White space behind JSON means nothing.
    record.fill(' ', length)
  }

  protected get(i: number): Row {
    const other = this.#others.get(i)
    if (other) return other
    const record = this.#records.read(i)
    const value: unknown = JSON.parse(record.toString('utf8', 4))
    const file = this.#files.findLast(({ from }) => from <= i)?.file ?? ''
    return { values: isRecord(value) ? value : this.#named(value), file, line: record.readUInt32LE() }
  }

  #named(list: unknown): Record<string, unknown> {
    const values: Record<string, unknown> = {}
    if (!Array.isArray(list) || !this.#names) return values
    for (let i = 0; i < list.length; i++) values[this.#names[i] ?? ''] = list[i]
    return values
  }
}

/** Whether a value is the same after it was written as JSON and read again. */
function isJson(value: unknown): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  if (Array.isArray(value)) return value.every(isJson)
  if (typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype || 'toJSON' in value) return false
  return Object.values(value).every(isJson)
}
