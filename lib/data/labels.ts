import { brief, check, fail, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import { listOf, placeOf, type Row, typeOf } from './row.ts'

/** Label names, their index being the class id. */
export interface LabelMap {
  readonly names: readonly string[]
  readonly ids: ReadonlyMap<string, number>
}

/** 'sorted': whole numbers by value, else by code unit; 'seen': by first appearance. */
export type LabelOrder = 'sorted' | 'seen'

/** A label map of names in order. @throws ERR_CONFIG for no names or one twice, ERR_OPTION for what are no names. */
export function labelMap(names: readonly string[]): LabelMap {
  const areNames = Array.isArray(names) && names.every(name => typeof name === 'string')
  check(
    areNames,
    'ERR_OPTION',
    () => `labels: ${shown(names)} is no list of names; give ["no", "yes"], in order of ids`,
  )
  check(names.length > 0, 'ERR_CONFIG', () => 'labels: no label; a classifier needs at least one')
  const ids = new Map(names.map((name, id) => [name, id]))
  const twice = names.find((name, id) => ids.get(name) !== id)
  check(twice === undefined, 'ERR_CONFIG', () => `labels: "${twice}" stands twice; names must differ`)
  return { names: [...names], ids }
}

/**
 * The label map of a column of labels, or of lists of labels.
 * @throws ERR_DATA when no row has a label
 */
export function labelsOf(rows: Iterable<Row>, column: string, order: LabelOrder = 'sorted'): LabelMap {
  const names = new Set<string>()
  for (const row of rows) {
    const value = row.values[column]
    for (const name of Array.isArray(value) ? listOf(row, column) : [nameOf(row, column)]) names.add(name)
  }
  check(names.size > 0, 'ERR_DATA', () => `labels: no row has a label in "${column}"`)
  return labelMap(order === 'seen' ? [...names] : sortNames([...names]))
}

/**
 * The label map of a column of tags: O first, then by entity type the B- before the I- (every type gets both, for a
 * small sample may lack one), then all other tags; 'seen' keeps the order of appearance.
 */
export function tagLabelsOf(rows: Iterable<Row>, column: string, order: LabelOrder = 'sorted'): LabelMap {
  const names = new Set<string>()
  for (const row of rows) for (const tag of listOf(row, column)) names.add(tag)
  check(names.size > 0, 'ERR_DATA', () => `labels: no row has a tag in "${column}"`)
  if (order === 'seen') return labelMap([...names])
  const types = new Set<string>()
  for (const name of names) if (/^[BI]-./s.test(name)) types.add(name.slice(2))
  const entities = sortNames([...types]).flatMap(type => [`B-${type}`, `I-${type}`])
  const rest = sortNames([...names].filter(name => name !== 'O' && !entities.includes(name)))
  return labelMap([...(names.has('O') ? ['O'] : []), ...entities, ...rest])
}

/**
 * Class id of a label. Where no name of the map is a number, a number in the data (or LABEL_3) is the id itself.
 * @throws ERR_DATA naming the row, the label and the nearest name
 */
export function labelId(labels: LabelMap, row: Row, value: unknown): number {
  const id = labels.ids.get(String(value))
  if (id !== undefined) return id
  const text = String(value)
  // A table has its numbers as texts.
  const number = /^(?:LABEL_)?\d{1,9}$/.test(text) ? Number(text.replace('LABEL_', '')) : -1
  const inside = number >= 0 && number < labels.names.length
  if (inside && !labels.names.some(name => /^(?:LABEL_)?-?\d+$/.test(name))) return number
  const known = labels.names.length <= 12 ? `; known: ${labels.names.map(brief).join(', ')}` : ''
  fail(
    'ERR_DATA',
    `labels: ${placeOf(row)}: ${shown(value)} is not a known label${nearest(text, labels.names)}${known}`,
  )
}

/**
 * What to tell of names that may be one label written in several ways: they differ by case or by blanks around them
 * alone, look the same, are the same number or truth value, have blanks around them, or may say that there is none.
 * Undefined where there is nothing to tell.
 */
export function likeNames(names: readonly string[]): string | undefined {
  const said = (list: readonly string[]) => list.slice(0, 4).map(shown).join(', ')
  const [group] = groups(names, plainKey)
  if (group) return `labels ${said(group)} differ by case or blanks alone; write them alike if they are one`
  const [same] = groups(names, looseKey)
  if (same) return `labels ${said(same)} may be one, written in several ways; write them alike if they are one`
  const blank = names.filter(name => name !== name.trim())
  if (blank.length > 0) return `labels have blanks around them: ${said(blank)}; leave these out of the data`
  const empty = names.filter(name => /^(?:none|na)$/i.test(name))
  return empty.length > 0
    ? `${said(empty)} is read as the name of a label; drop these rows if it says that there is none`
    : undefined
}

const plainKey = (name: string) => name.trim().toLowerCase()

/** Equal for names that a reader takes for one: 1 and 1.0, true and 1, é in one sign or two, signs that none sees. */
function looseKey(name: string): string {
  const key = plainKey(name.normalize('NFKC').replace(/\p{Cf}/gu, ''))
  if (key === 'true' || key === 'false') return key === 'true' ? '1' : '0'
  return /^[-+]?\d+(?:\.\d*)?$/.test(key) ? String(Number(key)) : key
}

/** Names that have a key in common with others. */
function groups(names: readonly string[], keyOf: (name: string) => string): string[][] {
  const alike = new Map<string, string[]>()
  for (const name of names) alike.set(keyOf(name), [...(alike.get(keyOf(name)) ?? []), name])
  return [...alike.values()].filter(list => list.length > 1)
}

/** How many rows carry each label: all ids of the map, those without rows included. */
export function countLabels(rows: Iterable<Row>, column: string, labels: LabelMap): Int32Array {
  const counts = new Int32Array(labels.names.length)
  for (const row of rows) {
    const value = row.values[column]
    for (const one of Array.isArray(value) ? value : [value]) counts[labelId(labels, row, one)]!++
  }
  return counts
}

function nameOf(row: Row, column: string): string {
  const value = row.values[column]
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'boolean' || typeof value === 'number') return String(value)
  fail('ERR_DATA', `labels: ${placeOf(row)}: "${column}" is ${value === '' ? 'empty' : typeOf(value)}, not a label`)
}

function sortNames(names: string[]): string[] {
  const whole = names.every(name => /^-?\d{1,15}$/.test(name))
  return names.sort(whole ? (a, b) => Number(a) - Number(b) : (a, b) => (a < b ? -1 : a > b ? 1 : 0))
}
