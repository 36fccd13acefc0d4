import { createHash } from 'node:crypto'
import type { ValueOf } from '../options.ts'
import type { Columns } from './columns.ts'
import { conversationText } from './conversation.ts'
import type { DATA_OPTIONS } from './options.ts'
import { listOf, type Row, textOf } from './row.ts'

/** Rows of a data set by split. */
export interface Splits {
  readonly train: readonly Row[]
  readonly validation: readonly Row[]
  readonly test: readonly Row[]
}

/**
 * What to do with a text that stands in more than one split. 'report': nothing. 'drop': the copy in the split trained
 * or chosen on goes (train before validation before test), so that test sets stay as given. 'move': all copies go to
 * the first of these splits that has one.
 */
export type DuplicateRule = ValueOf<typeof DATA_OPTIONS.duplicates>

/** Texts that stand in two splits, the number of rows within one split that repeat an earlier one, and examples. */
export interface DuplicateReport {
  readonly trainValidation: number
  readonly trainTest: number
  readonly validationTest: number
  /** Rows that repeat an earlier row of their own split. */
  readonly within: number
  /** Up to five texts that stand in more than one split. */
  readonly examples: readonly string[]
}

/** A text that is equal for rows a reader would call equal: case, width of characters and spaces don't count. */
export function normalizedText(row: Row, columns: Columns): string {
  const { tokens, text, text2, messages, prompt } = columns
  const parts = tokens !== undefined ? [listOf(row, tokens).join(' ')] : []
  if (messages !== undefined || prompt !== undefined) parts.push(conversationText(row, columns))
  for (const column of [text, text2]) if (column !== undefined) parts.push(textOf(row, column))
  return parts.map(text => text.normalize('NFKC').toLowerCase().replace(/\s+/gu, ' ').trim()).join('\n')
}

/** Finds texts that stand in more than one split and deals with them by the rule. */
export function resolveDuplicates(
  splits: Splits,
  columns: Columns,
  rule: DuplicateRule = 'report',
): { splits: Splits; report: DuplicateReport } {
  const keyed = {
    train: keyRows(splits.train, columns),
    validation: keyRows(splits.validation, columns),
    test: keyRows(splits.test, columns),
  }
  const sets = {
    train: new Set(keyed.train.map(([key]) => key)),
    validation: new Set(keyed.validation.map(([key]) => key)),
    test: new Set(keyed.test.map(([key]) => key)),
  }
  const report = describe(splits, columns, sets)
  if (rule === 'report') return { splits, report }
  const rows = (list: readonly Keyed[]): Row[] => list.map(([, row]) => row)
  if (rule === 'drop') {
    const train = keyed.train.filter(([key]) => !sets.validation.has(key) && !sets.test.has(key))
    const validation = keyed.validation.filter(([key]) => !sets.test.has(key))
    return { splits: { train: rows(train), validation: rows(validation), test: splits.test }, report }
  }
  const toTrain = [...keyed.validation, ...keyed.test].filter(([key]) => sets.train.has(key))
  const stays = [...keyed.validation, ...keyed.test.filter(([key]) => sets.validation.has(key))]
  return {
    splits: {
      train: rows([...keyed.train, ...toTrain]),
      validation: rows(stays.filter(([key]) => !sets.train.has(key))),
      test: rows(keyed.test.filter(([key]) => !sets.train.has(key) && !sets.validation.has(key))),
    },
    report,
  }
}

/** Fingerprint of a division: 16 hex digits of SHA-256 over the values of each split's rows in order. */
export function splitHash(splits: Splits): string {
  const hash = createHash('sha256')
  for (const part of ['train', 'validation', 'test'] as const) {
    hash.update(`${part}\n`)
    for (const row of splits[part]) hash.update(`${JSON.stringify(row.values)}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}

type Keyed = readonly [key: string, row: Row]

function keyRows(rows: readonly Row[], columns: Columns): Keyed[] {
  return rows.map(row => [createHash('sha256').update(normalizedText(row, columns)).digest('base64').slice(0, 22), row])
}

function describe(splits: Splits, columns: Columns, sets: Record<keyof Splits, Set<string>>): DuplicateReport {
  const shared = (a: Set<string>, b: Set<string>): string[] => [...a].filter(key => b.has(key))
  const trainValidation = shared(sets.train, sets.validation)
  const trainTest = shared(sets.train, sets.test)
  const validationTest = shared(sets.validation, sets.test)
  const wanted = new Set([...trainTest, ...trainValidation, ...validationTest].slice(0, 5))
  const examples: string[] = []
  for (const [key, row] of keyRows([...splits.test, ...splits.validation], columns))
    if (wanted.delete(key)) examples.push(normalizedText(row, columns).slice(0, 200))
  const distinct = sets.train.size + sets.validation.size + sets.test.size
  return {
    trainValidation: trainValidation.length,
    trainTest: trainTest.length,
    validationTest: validationTest.length,
    within: splits.train.length + splits.validation.length + splits.test.length - distinct,
    examples,
  }
}
