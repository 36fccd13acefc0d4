// Entities as places in a text, as tools of annotation write them: read as words with a tag each.

import { check, fail } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import { codePointIn } from '../tuple.ts'
import { type ColumnNames, usualText } from './columns.ts'
import { mapRows, type Splits } from './duplicates.ts'
import { joinedLists, type List } from './list.ts'
import { placeOf, type Row } from './row.ts'
import { splitWords } from './words.ts'

/** An entity: where it stands in a text, in code points, end excluded. */
interface Place {
  readonly start: number
  readonly end: number
  readonly type: string
  /** What stands there, where the data say so. */
  readonly text: unknown
}

/** Columns that words and tags are put into. */
const WORDS = { tokens: 'tokens', tags: 'tags' } as const

/** The UTF-16 unit of each code point, since Python counts by these; undefined where they are the same. */
export function unitsOf(text: string): number[] | undefined {
  if (!/[\ud800-\udbff]/.test(text)) return undefined
  const units: number[] = []
  for (let at = 0; at < text.length; at += codePointIn(text, at) > 0xffff ? 2 : 1) units.push(at)
  return units
}

/**
 * `[start, end, type]` as spaCy and doccano have it, or an object that says the same by the names that these, Prodigy
 * and pipelines of transformers use.
 */
function placeIn(value: unknown): Place | undefined {
  const [start, end, type] = Array.isArray(value)
    ? value
    : isRecord(value)
      ? [value.start ?? value.start_offset, value.end ?? value.end_offset, typeIn(value)]
      : []
  if (!Number.isInteger(start) || !Number.isInteger(end) || typeof type !== 'string') return undefined
  return { start, end, type, text: isRecord(value) ? value.text : undefined }
}

/** The type of an entity, by the names that tools have for it; Label Studio has a list of one. */
function typeIn({ label, type, entity_group: group, entity, labels }: Readonly<Record<string, unknown>>): unknown {
  const only: unknown = Array.isArray(labels) && labels.length === 1 ? labels[0] : undefined
  return label ?? type ?? group ?? entity ?? only
}

const arePlaces = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(placeIn)

/**
 * Rows of texts with entities as places in them (`{"text": "Anna slept", "entities": [[0, 4, "PER"]]}`) as rows of
 * words with tags in IOB2; undefined where the rows hold no places. Words are split as those of a text to predict are,
 * and at the ends of entities. Rows that lack the column get no tags.
 * @throws ERR_DATA, when it is read, for a row whose places lie outside its text, or overlap
 */
export function taggedWords(splits: Partial<Splits>, given: ColumnNames = {}, notice: (text: string) => void) {
  const rows = joinedLists(Object.values(splits))
  const column = placesColumn(rows, given)
  if (column === undefined) return undefined
  const text = given.text ?? usualText(Object.keys(rows.at(0)?.values ?? {}))
  if (text === undefined) return undefined
  const cut = rows.filter(row => cutsWords(row, text, column)).length
  notice(`"${column}" holds places of entities in "${text}", which is read word by word, with tags in IOB2`)
  if (cut > 0)
    notice(`in ${cut} of ${rows.length} rows entities begin or end inside a word, which is parted there for training`)
  const convert = (row: Row): Row => ({ ...row, values: { ...row.values, ...wordsOf(row, text, column) } })
  return { splits: mapRows(splits, convert), given: WORDS }
}

/** Rows that are looked at for the first entity. */
const LOOKED_AT = 10_000

/** The column that holds places, of which the first list that is not empty tells: of columns that are named, these. */
function placesColumn(rows: List<Row>, { label, tags }: ColumnNames): string | undefined {
  let left = LOOKED_AT
  for (const { values } of rows) {
    const named = [label, tags].filter(name => name !== undefined && values[name] !== undefined)
    const held = Object.keys(values).find(
      name => (named.length === 0 || named.includes(name)) && arePlaces(values[name]),
    )
    if (held !== undefined) return held
    if (--left === 0) return undefined
  }
  return undefined
}

/** Entities of a row in order, each once. @throws ERR_DATA for what is no place, lies outside the text or overlaps */
function placesOf(row: Row, text: string, column: string): (Place & { readonly from: number; readonly to: number })[] {
  const value = row.values[column] ?? []
  const wrong = (what: string): never => fail('ERR_DATA', `entities: ${placeOf(row)}: "${column}" ${what}`)
  if (!Array.isArray(value)) return wrong(`is ${shown(value)}; expected [[start, end, "type"], …]`)
  const units = unitsOf(text)
  const length = units?.length ?? text.length
  const unit = (at: number) => (at === length ? text.length : (units?.[at] ?? at))
  const places = value.map(item => {
    const place = placeIn(item) ?? wrong(`has ${shown(item)}; expected [start, end, "type"]`)
    const { start, end, text: said } = place
    if (start < 0 || start >= end || end > length)
      wrong(`has an entity at ${start} to ${end} in a text of ${length} characters; expected 0 ≤ start < end`)
    const [from, to] = [unit(start), unit(end)]
    const found = text.slice(from, to)
    if (typeof said === 'string' && said !== found)
      wrong(`says ${shown(said)} stands at ${start} to ${end}, where the text has ${shown(found)}`)
    return { ...place, from, to }
  })
  const sorted = places.sort((a, b) => a.start - b.start || a.end - b.end)
  const kept = sorted.filter(({ start, end, type }, i) => {
    const before = sorted[i - 1]
    return !before || before.start !== start || before.end !== end || before.type !== type
  })
  for (const [i, { start, end, type }] of kept.entries()) {
    const next = kept[i + 1]
    check(!next || next.start >= end, 'ERR_DATA', () => {
      const both = `${type} at ${start} to ${end} and ${next?.type} at ${next?.start} to ${next?.end}`
      return `entities: ${placeOf(row)}: "${column}" has ${both}; a word has one tag: keep one of them`
    })
  }
  return kept
}

/** Words and tags of a row; no tags where it lacks the column. */
function wordsOf(row: Row, textColumn: string, column: string): { tokens: string[]; tags?: string[] } {
  const text = textIn(row, textColumn)
  if (row.values[column] === undefined) return { tokens: splitWords(text) }
  const [tokens, tags]: [string[], string[]] = [[], []]
  const put = (words: readonly string[], type?: string): void => {
    tokens.push(...words)
    tags.push(...words.map((_, i) => (type === undefined ? 'O' : `${i === 0 ? 'B' : 'I'}-${type}`)))
  }
  let at = 0
  for (const { from, to, type } of placesOf(row, text, column)) {
    put(splitWords(text.slice(at, from)))
    put(splitWords(text.slice(from, to)), type)
    at = to
  }
  put(splitWords(text.slice(at)))
  return { tokens, tags }
}

function cutsWords(row: Row, text: string, column: string): boolean {
  return wordsOf(row, text, column).tokens.length !== splitWords(textIn(row, text)).length
}

function textIn(row: Row, column: string): string {
  const text = row.values[column]
  check(typeof text === 'string', 'ERR_DATA', () => {
    return `entities: ${placeOf(row)}: "${column}" is ${shown(text)}; expected the text that they stand in`
  })
  return text
}
