// Lists as people and tables write them: JSON, what Python and NumPy print, numbers side by side, names with 0 or 1.

import type { Columns } from '../data/columns.ts'
import type { List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { isRecord } from '../options.ts'
import { nth } from '../tuple.ts'

/** A list, and whether only its commas tell that its cell is one: `[plot, music]`. */
interface Cell {
  readonly items: readonly unknown[]
  readonly bare: 'no' | 'names' | 'numbers'
}

/** What reads the columns of labels, words or tags that hold lists in another form; undefined where none does. */
export function listReader(rows: List<Row>, { label, tokens, tags }: Columns): ((row: Row) => Row) | undefined {
  const named = [label, tokens, tags].filter(column => column !== undefined)
  const readers = named.flatMap(column => readerOf(rows, column, column === label) ?? [])
  return readers.length === 0 ? undefined : row => readers.reduce((read, reader) => reader(read), row)
}

function readerOf(rows: List<Row>, column: string, isLabel: boolean): ((row: Row) => Row) | undefined {
  const cellOf = (row: Row) => cellIn(row.values[column], isLabel)
  const width = cellOf(rows.at(0) ?? EMPTY)?.items.length ?? 0
  let [written, commas, even, numbers] = [false, false, width > 1, isLabel]
  let [numbered, named, truths] = [false, false, false]
  for (const row of rows) {
    const cell = cellOf(row)
    if (!cell) return undefined
    written ||= !Array.isArray(row.values[column])
    even &&= cell.items.length === width
    numbered ||= cell.bare === 'numbers'
    named ||= cell.bare === 'names'
    commas ||= cell.bare === 'names' && cell.items.length > 1
    truths ||= cell.items.some(item => typeof item === 'boolean')
    numbers &&= cell.items.every(item => typeof item === 'boolean' || (even && isNumeral(item)))
  }
  if ((numbered && !even) || (named && !commas)) return undefined
  // Truth values are 1 and 0, and a vector stays one where its numbers came as texts.
  const asNumbers = numbers && (even || truths)
  if (!written && !asNumbers) return undefined
  return row => {
    const items = cellOf(row)?.items ?? []
    return { ...row, values: { ...row.values, [column]: asNumbers ? items.map(Number) : items } }
  }
}

const EMPTY: Row = { values: {}, file: '', line: 0 }
const NUMBER = '[-+]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+]?\\d+)?'
const numeral = new RegExp(`^${NUMBER}$`)
const sideBySide = new RegExp(`^${NUMBER}(?: ?[ ;|] ?${NUMBER})+$`)
const isNumeral = (item: unknown) => typeof item === 'number' || (typeof item === 'string' && numeral.test(item))

function cellIn(value: unknown, isLabel: boolean): Cell | undefined {
  if (Array.isArray(value)) return { items: value, bare: 'no' }
  if (isLabel && isRecord(value)) return switched(value)
  if (typeof value !== 'string') return undefined
  const text = value.trim()
  if (isLabel && (sideBySide.test(text) || /^[01](?: ?, ?[01])+$/.test(text)))
    return { items: text.split(/[ ,;|]+/).map(Number), bare: 'numbers' }
  const [open, close] = [text[0], text.at(-1)]
  if (text.length < 2 || !['[]', '()', '{}'].includes(`${open}${close}`)) return undefined
  return parsed(text.slice(1, -1), open === '[')
}

/** Names that have 1 or true, of an object that has nothing else but 0 and false. */
function switched(value: Readonly<Record<string, unknown>>): Cell | undefined {
  const entries = Object.entries(value)
  const isSwitch = (item: unknown) => item === 0 || item === 1 || typeof item === 'boolean'
  if (entries.length === 0 || !entries.every(([, item]) => isSwitch(item))) return undefined
  return { items: entries.filter(([, item]) => item === 1 || item === true).map(([name]) => name), bare: 'no' }
}

const item = /\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,'"]+))\s*(,?)/suy

/**
 * What stands between brackets: quoted texts, numbers and truth values, parted by commas or, as NumPy does, blanks; in
 * square ones also names without quotes, by commas.
 */
function parsed(inside: string, isSquare: boolean): Cell | undefined {
  const items: unknown[] = []
  let plain = true
  item.lastIndex = 0
  while (item.lastIndex < inside.trimEnd().length) {
    const match = item.exec(inside)
    if (!match) return undefined
    const [, single, double, bare] = match
    const known = bare === undefined ? unescaped(single ?? double ?? '') : literal(bare)
    plain &&= known !== undefined
    items.push(known)
  }
  if (plain) return { items, bare: 'no' }
  const names = inside.split(',').map(name => name.trim())
  const isList = isSquare && !/['"[\]{}]/.test(inside) && names.every(name => name !== '')
  return isList ? { items: names, bare: 'names' } : undefined
}

function literal(text: string): unknown {
  if (numeral.test(text)) return Number(text)
  return /^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' }

function unescaped(text: string): string {
  return text.replace(/\\(?:u([\da-fA-F]{4})|(.))/gs, (_, code: string | undefined, sign: string) => {
    return code === undefined ? (ESCAPES[sign] ?? sign) : String.fromCharCode(Number.parseInt(code, 16))
  })
}

/** Texts that look like several labels in one: an example and what parts them. */
export function joinedLabels(texts: Iterable<string>): { readonly text: string; readonly sign: string } | undefined {
  const all = [...new Set(texts)]
  const alone = new Set(all)
  for (const sign of ['|', ';', ',', '/', '+', '&', ' ']) {
    const parted = all.map(text => text.split(sign).map(part => part.trim()))
    const uses = new Map<string, number>()
    for (const parts of parted) for (const part of new Set(parts)) uses.set(part, (uses.get(part) ?? 0) + 1)
    const several = parted.filter(parts => parts.length > 1)
    // A name that holds the sign by chance has no parts that stand elsewhere: by themselves, for signs of plain names.
    const isLabel = (part: string) => ('|;,'.includes(sign) ? (uses.get(part) ?? 0) > 1 : alone.has(part))
    if (several.length > 1 && several.flat().every(part => part !== '' && isLabel(part)))
      return { text: nth(all, parted.indexOf(nth(several, 0))), sign }
  }
  return undefined
}
