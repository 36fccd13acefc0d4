// How a column of labels is to be read: names, lists of names, vectors, or numbers.

import type { Columns } from '../data/columns.ts'
import { changed, type List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { itemsIn, placeOf, typeOf } from '../data/row.ts'
import { check, fail } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { shown } from '../io/json.ts'
import { must } from '../tuple.ts'
import { joinedLabels } from './listCells.ts'
import type { Asked } from './task.ts'

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
const integer = /^[+-]?\d+$/
const manyClasses = 100
/** What tables write for a value that is not there. */
const missing = new Set(['nan', 'n/a', '#n/a', '<na>', 'null', '\\n', '-', '--', '?'])
/** The same, where all other cells are numbers. */
const missingNumber = new Set([...missing, 'na', 'none', '.'])
/** What Excel writes where a formula failed. */
const failedFormula = /^#(?:value!|ref!|div\/0!|name\?|null!|num!)$/i
/** A number as people read it: 12 %, $0.5, 1,000.5. */
const dressed = /^[-+]?[$€£¥]? ?[-+]?(?:\d{1,3}(?:[,.'’ ]\d{3})+|\d+)(?:[.,]\d+)? ?[%$€£¥]?$/

type Kind = 'list' | 'integer' | 'decimal' | 'name' | 'missing'

/** The reason why rows are this problem's, or undefined. @throws ERR_DATA for labels that no classifier can take */
export function inferSequence(problem: Problem, rows: List<Row>, columns: Columns, asked: Asked): string | undefined {
  const { text, label } = columns
  if (text === undefined || label === undefined) return undefined
  const found = problemOf(rows, label, asked)
  if (asked.problem !== undefined) return problem === asked.problem ? checked(asked.problem, found, label) : undefined
  return found.problem === problem ? found.reason : undefined
}

/**
 * A problem that is settled, where the labels can be read so: whole numbers may be values as well as classes.
 * @throws ERR_DATA where they cannot
 */
function checked(wanted: Problem, found: { problem: Problem; numeric: boolean }, label: string): string {
  const same = wanted === found.problem || (found.numeric && wanted !== 'multi')
  check(same, 'ERR_DATA', () => {
    const cure = wanted === 'multi' ? 'write those of a row as a list, or ' : ''
    return `data: "${label}" holds labels of ${found.problem}, the adapter does ${wanted}; ${cure}name the right column with columns.label`
  })
  return `"${label}" is read as the adapter does`
}

/** How the labels of a column are to be read. @throws ERR_DATA for mixed or missing labels, or too many classes */
function problemOf(
  rows: List<Row>,
  label: string,
  { task, labels, problem }: Asked = {},
): { problem: Problem; numeric: boolean; reason: string } {
  const kinds = kindsOf(rows, label)
  if (kinds.has('list')) {
    check(kinds.size === 1, 'ERR_DATA', () => `labels: "${label}" is a list in some rows and not in others`)
    const found = problemOfLists(rows, label)
    check(!labels || problem !== undefined || found.problem !== 'regression', 'ERR_OPTION', () => {
      return `labels: "${label}" holds numbers, one for each output, which have no names; leave labels out, or write 0 and 1`
    })
    return { ...found, numeric: false }
  }
  const given = labels && `"${label}" is read as one of the ${labels.names.length} labels given`
  checkMissing(rows, label, kinds, labels?.ids)
  const numeric = !kinds.has('name')
  if (!labels) checkNames(rows, label, kinds)
  if (given) return { problem: 'single', numeric, reason: given }
  if (numeric && kinds.has('decimal') && !isBinary(rows, label))
    return { problem: 'regression', numeric, reason: `"${label}" holds numbers with decimals${wholeHint(rows, label)}` }
  const classes = new Set(changed(rows, row => String(row.values[label]))).size
  check(task !== undefined || classes <= manyClasses || classes <= rows.length / 2, 'ERR_DATA', () => {
    const cure = numeric ? 'write decimals for regression' : 'name another column with columns.label'
    return `labels: "${label}" has ${classes} different values in ${rows.length} rows, too many for classes; ${cure}`
  })
  return { problem: 'single', numeric, reason: `"${label}" holds one of ${classes} labels a row` }
}

/** Whether a column holds 0.0 and 1.0 alone: classes, as a table writes them that had a gap once. */
function isBinary(rows: List<Row>, label: string): boolean {
  return rows.every(({ values }) => /^[01](?:\.0*)?$/.test(String(values[label]).trim()))
}

/** Classes that a table wrote as 1.0 and 2.0 are not told from values. */
function wholeHint(rows: List<Row>, label: string): string {
  const whole = rows.every(({ values }) => Number.isInteger(Number(values[label])))
  return whole ? ', all of them whole: write 1 for 1.0 if they are classes' : ''
}

/** @throws ERR_DATA for names that stand for something else: numbers as people read them, or several labels in one */
function checkNames(rows: List<Row>, label: string, kinds: ReadonlyMap<Kind, Row>): void {
  const text = ({ values }: Row) => String(values[label]).trim()
  const wrong = (row: Row, what: string): never =>
    fail('ERR_DATA', `labels: ${placeOf(row)}: "${label}" is ${shown(text(row))}${what}`)
  const bits = rows.find(row => /^0[01]+$/.test(text(row)))
  if (bits && rows.every(row => /^[01]+$/.test(text(row)) && text(row).length === text(bits).length))
    wrong(
      bits,
      ', which looks like 0 or 1 for each label; write [0, 1, …], or name the labels as they are written with labels',
    )
  const name = kinds.get('name')
  if (!name) return
  const object = rows.find(row => /^\{.*:.*\}$|\barray\(/s.test(text(row)))
  if (object)
    wrong(object, ', an object that is not read; write one name, number or list, or name the labels with labels')
  if (rows.every(row => dressed.test(text(row)))) {
    const cure = /,/.test(text(name)) ? ', several labels as a list, [3, 10]' : ''
    wrong(name, `; write decimals with a point and numbers without other signs${cure}`)
  }
  if (kinds.has('decimal'))
    wrong(name, ', others are numbers with decimals; write numbers alone, or name the labels with labels')
  const joined = joinedLabels(changed(rows, text))
  if (!joined) return
  const list = JSON.stringify(joined.text.split(joined.sign).map(part => part.trim()))
  const row = rows.find(each => text(each) === joined.text) ?? name
  wrong(
    row,
    `, which looks like several labels in one; write ${list}, or name the labels as they are written with labels`,
  )
}

function kindsOf(rows: List<Row>, label: string): Map<Kind, Row> {
  const kinds = new Map<Kind, Row>()
  for (const row of rows) {
    const kind = kindOf(row, label)
    if (!kinds.has(kind)) kinds.set(kind, row)
  }
  return kinds
}

function kindOf(row: Row, column: string): Kind {
  const value = row.values[column]
  if (Array.isArray(value)) return 'list'
  if (typeof value === 'number') return kindOfNumber(row, column, value)
  if (typeof value === 'boolean') return 'name'
  if (typeof value === 'string') return saysNone(value) ? 'missing' : kindOfText(value.trim())
  if (value === undefined || value === null) return 'missing'
  fail(
    'ERR_DATA',
    `labels: ${placeOf(row)}: "${column}" is ${typeOf(value)}, not a label; write an object a row, its label a name, a number or a list of these`,
  )
}

function kindOfNumber(row: Row, column: string, value: number): Kind {
  if (!Number.isInteger(value)) return 'decimal'
  check(Number.isSafeInteger(value), 'ERR_DATA', () => {
    return `labels: ${placeOf(row)}: "${column}" is ${value}, beyond which JSON's numbers are not told apart; write it as text`
  })
  return 'integer'
}

/** Whether a cell is empty or says that there is no label. */
export function saysNone(cell: string): boolean {
  const text = cell.trim()
  return text === '' || kindOfText(text) === 'missing'
}

function kindOfText(text: string): Kind {
  if (integer.test(text)) return 'integer'
  if (decimal.test(text)) return 'decimal'
  return missing.has(text.toLowerCase()) || failedFormula.test(text) ? 'missing' : 'name'
}

/** @throws ERR_DATA where a cell says that there is no label, unless it was named as one */
function checkMissing(
  rows: List<Row>,
  label: string,
  kinds: ReadonlyMap<Kind, Row>,
  named: ReadonlyMap<string, number> | undefined,
): void {
  const numbers = kinds.has('integer') || kinds.has('decimal')
  const isMissing = ({ values }: Row): boolean => {
    const value = values[label]
    if (value === undefined || value === null) return true
    if (typeof value !== 'string' || named?.has(value)) return false
    return saysNone(value)
  }
  const others = numbers && kinds.has('name') ? rows.filter(row => kindOf(row, label) === 'name') : []
  const onlyMissing = others.every(({ values }) => missingNumber.has(String(values[label]).trim().toLowerCase()))
  const without =
    others.length > 0 && onlyMissing && !named ? others : kinds.has('missing') ? rows.filter(isMissing) : []
  const first = without.at(0)
  if (!first) return
  const found = first.values[label]
  const value = found === undefined ? 'not there' : String(found).trim() === '' ? 'empty' : shown(found)
  fail(
    'ERR_DATA',
    `labels: ${placeOf(first)}: "${label}" is ${value}, as in ${without.length} of ${rows.length} rows: no label; ` +
      'drop these rows, or name it among the labels if it is one',
  )
}

/** Lists: of names, of 0 and 1 for each label, or of numbers. */
function problemOfLists(rows: List<Row>, label: string): { problem: Problem; reason: string } {
  if (!vectorWidth(rows, label)) return { problem: 'multi', reason: `"${label}" holds a list of labels` }
  const width = must(vectorWidth(rows, label), 'vector')
  const binary = rows.every(row => itemsIn(row, label).every(value => value === 0 || value === 1))
  if (binary) return { problem: 'multi', reason: `"${label}" holds 0 or 1 for each of ${width} labels` }
  return { problem: 'regression', reason: `"${label}" holds ${width} numbers a row${sharesHint(rows, label)}` }
}

/** Shares of labels are learned as any numbers. */
function sharesHint(rows: List<Row>, label: string): string {
  const areShares = rows.every(row => {
    const shares = itemsIn(row, label).map(Number)
    return shares.every(share => share >= 0) && Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-3
  })
  return areShares ? ', which sum to 1: their squared error is learned, not the probability of a label' : ''
}

const isNumbers = (list: readonly unknown[]): boolean => list.every(value => typeof value === 'number')

/**
 * How many numbers each row has, where a column holds vectors: lists of equally many numbers that are no set of ids.
 * @throws ERR_DATA for numbers with decimals in lists of different lengths
 */
export function vectorWidth(rows: List<Row>, label: string): number | undefined {
  const lists = changed(rows, row => itemsIn(row, label))
  if (!lists.every(isNumbers)) return undefined
  const width = lists.at(0)?.length ?? 0
  const uneven = rows.find(row => itemsIn(row, label).length !== width)
  if (uneven) {
    const fractions = lists.some(list => list.some(value => !Number.isInteger(value)))
    check(!fractions, 'ERR_DATA', () => {
      const length = itemsIn(uneven, label).length
      return `labels: ${placeOf(uneven)}: "${label}" has ${length} numbers, the first row ${width}; write one for each output`
    })
    return undefined
  }
  const binary = lists.every(list => list.every(value => value === 0 || value === 1))
  const isSet = (list: readonly unknown[]) => list.every(Number.isInteger) && new Set(list).size === list.length
  return width > 0 && (binary || !lists.every(isSet)) ? width : undefined
}

/** The number of a regression. @throws ERR_DATA for anything that is no finite number */
export function numberOf(row: Row, column: string, value: unknown = row.values[column]): number {
  const number = typeof value === 'string' && decimal.test(value.trim()) ? Number(value) : value
  if (typeof number === 'number' && Number.isFinite(number)) return number
  fail('ERR_DATA', `labels: ${placeOf(row)}: "${column}" is ${shown(value)}, not a number`)
}
