import { check, fail } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import { isList } from './list.ts'

/** One record of a data set, with the place it came from. */
export interface Row {
  readonly values: Readonly<Record<string, unknown>>
  /** File it was read from; '' for rows made in memory. */
  readonly file: string
  /** 1-based line where the record starts; 1-based index for rows made in memory. */
  readonly line: number
}

/** Where a row stands, for messages: `train.jsonl:17`, or `row 17` for rows made in memory. */
export function placeOf(row: Row): string {
  return row.file === '' ? `row ${row.line}` : `${row.file}:${row.line}`
}

/** @throws ERR_OPTION for what is no list of rows: of objects as they are, say */
export function checkRows(what: string, rows: unknown): void {
  check(isList(rows), 'ERR_OPTION', () => `${what} is no list of rows but ${shown(rows)}; give toRows(objects), say`)
  const first: unknown = rows.at(0)
  check(first === undefined || (isRecord(first) && isRecord(first.values)), 'ERR_OPTION', () => {
    return `${what} holds ${shown(first)}, which is no row; make rows of plain objects by toRows(objects)`
  })
}

/** Plain objects as rows. @throws ERR_DATA for anything that is no object, ERR_OPTION for what holds none. */
export function toRows(objects: Iterable<unknown>): Row[] {
  check(typeof objects === 'object' && objects !== null && Symbol.iterator in objects, 'ERR_OPTION', () => {
    return `toRows: ${shown(objects)} is no list of objects; give [{ text, label }, …]`
  })
  const rows: Row[] = []
  for (const values of objects) rows.push(toRow(values, rows.length + 1))
  return rows
}

/** One plain object as the row of a 1-based index. @throws ERR_DATA for anything that is no object. */
export function toRow(values: unknown, line: number): Row {
  check(isRecord(values), 'ERR_DATA', () => `data: row ${line} is ${typeOf(values)}, not an object of columns`)
  return { values, file: '', line }
}

/** The list in a column; empty where there is none. */
export function itemsIn({ values }: Row, column: string): readonly unknown[] {
  const value = values[column]
  return Array.isArray(value) ? value : []
}

/** Name of the JSON type of a value: null, boolean, integer, number, string, array, object or undefined. */
export function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

/** A value as text: strings as they are, numbers and booleans written out. @throws ERR_DATA for other types. */
export function textOf(row: Row, column: string): string {
  const value = row.values[column]
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const isAbsent = value === undefined || value === null
  const cure = isAbsent ? 'drop the row, or write a text' : 'write an object a row, with one text in it'
  const what = value === undefined ? 'not there, as it is in other rows' : `${typeOf(value)}, not text`
  fail('ERR_DATA', `data: ${placeOf(row)}: column "${column}" is ${what}; ${cure}`)
}

/** A value as a list of words or tags. @throws ERR_DATA for other types. */
export function listOf(row: Row, column: string): string[] {
  const value = row.values[column]
  check(Array.isArray(value), 'ERR_DATA', () => {
    const cure = typeof value === 'string' ? '; write ["…", "…"], or words and tags as .conll' : ''
    return `data: ${placeOf(row)}: column "${column}" is ${typeOf(value)}, not a list${cure}`
  })
  return value.map((item: unknown, i) => {
    check(typeof item === 'string' || typeof item === 'number', 'ERR_DATA', () => {
      return `data: ${placeOf(row)}: "${column}"[${i}] is ${typeOf(item)}, not text; write names or numbers in the list`
    })
    return String(item)
  })
}
