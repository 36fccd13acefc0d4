import { check, fail } from '../errors.ts'
import type { Columns } from './columns.ts'
import { placeOf, type Row, typeOf } from './row.ts'

/** What can be trained, by the name of the head. */
export type Task = 'sequence-classification' | 'token-classification' | 'masked-lm'

/** How the labels of a sequence classifier are read, by the names that config.json uses. */
export type ProblemType = 'single_label_classification' | 'multi_label_classification' | 'regression'

/** A task and why it was chosen. */
export interface TaskChoice {
  readonly task: Task
  /** Only for sequence classification. */
  readonly problemType?: ProblemType
  /** One sentence for the user. */
  readonly reason: string
}

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
const manyClasses = 100

/**
 * The task that the columns and labels of a data set ask for, or a check of the task that the user asked for.
 * @param rows rows to look at (all, or a sample)
 * @throws ERR_DATA when the labels fit no task or not the wanted one, always with advice.
 */
export function inferTask(rows: readonly Row[], columns: Columns, wanted?: Task): TaskChoice {
  const { text, tokens, tags, label } = columns
  const asked = wanted !== undefined
  if (tokens !== undefined) {
    check(wanted !== 'sequence-classification', 'ERR_DATA', () => {
      return `task: "${tokens}" holds tagged words, not texts with a label; take token-classification`
    })
    check(wanted !== 'masked-lm', 'ERR_DATA', () => `task: masked-lm needs a text column, the data have words`)
    check(tags !== undefined, 'ERR_DATA', () => `task: words in "${tokens}" but no tags; name them with columns.tags`)
    return { task: 'token-classification', reason: `"${tokens}" holds words and "${tags}" one tag a word` }
  }
  check(wanted !== 'token-classification', 'ERR_DATA', () => {
    return `task: token-classification needs words and tags, the data have text; name columns.tokens and columns.tags`
  })
  if (wanted === 'masked-lm') return { task: wanted, reason: `asked for; text in "${text}"` }
  if (label === undefined) {
    check(!asked, 'ERR_DATA', () => 'task: sequence-classification needs a label column; name it with columns.label')
    return { task: 'masked-lm', reason: `"${text}" is text and there is no label column` }
  }
  return { task: 'sequence-classification', ...inferProblem(rows, label, wanted !== undefined) }
}

/**
 * How the labels of a column are to be read.
 * @param asked whether the user asked for classification, so that any number of classes is right
 * @throws ERR_DATA for labels that no classifier can take
 */
export function inferProblem(
  rows: readonly Row[],
  label: string,
  asked = false,
): { problemType: ProblemType; reason: string } {
  const seen = new Map<string, number>()
  for (const row of rows) {
    const type = labelType(row, label)
    seen.set(type, (seen.get(type) ?? 0) + 1)
  }
  if (seen.has('list')) {
    check(seen.size === 1, 'ERR_DATA', () => `labels: "${label}" is a list in some rows and not in others`)
    return { problemType: 'multi_label_classification', reason: `"${label}" holds a list of labels` }
  }
  const numeric = [...seen.keys()].every(type => type === 'integer' || type === 'decimal')
  if (numeric && seen.has('decimal'))
    return { problemType: 'regression', reason: `"${label}" holds numbers with decimals` }
  const classes = new Set(rows.map(row => String(row.values[label]))).size
  check(asked || classes <= manyClasses || classes <= rows.length / 2, 'ERR_DATA', () => {
    const cure = numeric ? 'write decimals for regression' : 'name another column with columns.label'
    return `labels: "${label}" has ${classes} different values in ${rows.length} rows, too many for classes; ${cure}`
  })
  const reason = `"${label}" holds one of ${classes} labels a row`
  return { problemType: 'single_label_classification', reason }
}

/** The number in a regression label. @throws ERR_DATA for anything that is no finite number. */
export function numberOf(row: Row, column: string): number {
  const value = row.values[column]
  const number = typeof value === 'string' && decimal.test(value.trim()) ? Number(value) : value
  if (typeof number === 'number' && Number.isFinite(number)) return number
  fail('ERR_DATA', `labels: ${placeOf(row)}: "${column}" is ${JSON.stringify(value)}, not a number`)
}

function labelType(row: Row, column: string): 'list' | 'integer' | 'decimal' | 'name' {
  const value = row.values[column]
  if (Array.isArray(value)) return 'list'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'decimal'
  if (typeof value === 'boolean') return 'name'
  if (typeof value === 'string' && value.trim() !== '') {
    if (/^[+-]?\d+$/.test(value.trim())) return 'integer'
    return decimal.test(value.trim()) ? 'decimal' : 'name'
  }
  fail('ERR_DATA', `labels: ${placeOf(row)}: "${column}" is ${value === '' ? 'empty' : typeOf(value)}, not a label`)
}
