import type { ColumnNames, Columns } from '../data/columns.ts'
import { conversationText } from '../data/conversation.ts'
import { repeatedTexts } from '../data/duplicates.ts'
import { countLabels, likeNames } from '../data/labels.ts'
import { changed, type List } from '../data/list.ts'
import { checkRows, listOf, type Row, textOf, typeOf } from '../data/row.ts'
import { type LengthStatistics, lengthStatistics } from '../data/statistics.ts'
import { detectScheme, sentencesWithPlaceFirst, type TagScheme } from '../data/tags.ts'
import { LowrankError } from '../errors.ts'
import { checkOptions } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { nth } from '../tuple.ts'
import { taskOf } from './index.ts'
import { adopted, columnsIn, inferTask, type TaskChoice } from './infer.ts'
import { listReader } from './listCells.ts'

/** One column of a data set. */
export interface ColumnInfo {
  readonly name: string
  /** How many rows hold a value of each JSON type. */
  readonly types: Readonly<Record<string, number>>
  /** Rows without the column. */
  readonly missing: number
  /** The first value, as JSON, at most 120 characters. */
  readonly example: string
}

/** What is in a data set, as plain data. */
export interface DataInspection {
  readonly rows: number
  readonly columns: readonly ColumnInfo[]
  /** The part each column plays. */
  readonly roles: Columns
  /** Undefined where no task fits; `problem` says why. */
  readonly choice: TaskChoice | undefined
  readonly problem?: string
  /** How rows of another form were read. */
  readonly notices?: readonly string[]
  /** Counts of labels or tags, most frequent first; empty where there are none. */
  readonly labels: readonly { readonly label: string; readonly count: number; readonly share: number }[]
  /** Of labels that may be one, written in several ways. */
  readonly like?: string
  /** Only for tagged words. */
  readonly scheme?: TagScheme
  readonly lengths: LengthStatistics & { readonly unit: 'tokens' | 'words' | 'characters' }
  /** Rows whose text repeats an earlier one. */
  readonly duplicates: number
}

/** Describes rows. Lengths are in tokens (special tokens included) with a tokenizer, else in words or characters. */
export function inspectData(
  written: List<Row>,
  options: {
    readonly tokenizer?: Tokenizer | undefined
    readonly columnNames?: ColumnNames | undefined
    readonly task?: string | undefined
  } = {},
): DataInspection {
  checkOptions('inspectData', options, { tokenizer: true, columnNames: true, task: true })
  checkRows('inspectData: what is given', written)
  const notices: string[] = []
  const taken = adopted({ train: written }, options.columnNames, options.task, text => void notices.push(text))
  const known = taken.splits.train ?? written
  const roles = columnsIn(known, taken.given, options.task)
  const asLists = listReader(known, roles)
  const rows = asLists ? changed(known, asLists) : known
  const { choice, problem } = choose(rows, roles, options.task)
  const { tags } = roles
  const sentences = tags === undefined ? undefined : sentencesWithPlaceFirst(changed(rows, row => listOf(row, tags)))
  const scheme = sentences ? { scheme: detectScheme(sentences) } : {}
  const labels = choice ? describeLabels(rows, roles, choice) : []
  const like = likeNames(labels.map(({ label }) => label))
  return {
    rows: rows.length,
    columns: describeColumns(known),
    roles,
    choice,
    ...(problem === undefined ? {} : { problem }),
    ...(notices.length === 0 ? {} : { notices }),
    labels,
    ...(like === undefined ? {} : { like }),
    ...scheme,
    lengths: describeLengths(rows, roles, options.tokenizer),
    duplicates: repeatedTexts(rows, roles),
  }
}

function describeColumns(rows: List<Row>): ColumnInfo[] {
  const found = new Map<string, { types: Record<string, number>; count: number; example: string }>()
  for (const row of rows)
    for (const [name, value] of Object.entries(row.values)) {
      const column = found.get(name) ?? { types: {}, count: 0, example: JSON.stringify(value).slice(0, 120) }
      const type = typeOf(value)
      column.types[type] = (column.types[type] ?? 0) + 1
      column.count++
      found.set(name, column)
    }
  return [...found].map(([name, { types, count, example }]) => ({ name, types, missing: rows.length - count, example }))
}

function choose(rows: List<Row>, roles: Columns, task?: string): { choice?: TaskChoice; problem?: string } {
  try {
    return { choice: inferTask(rows, roles, { task }) }
  } catch (error) {
    if (!(error instanceof LowrankError) || task !== undefined) throw error
    return { problem: error.message }
  }
}

function describeLabels(rows: List<Row>, roles: Columns, choice: TaskChoice): DataInspection['labels'] {
  const task = taskOf(choice)
  const column = roles.tags ?? roles.label
  if (column === undefined || !task.labels) return []
  const labels = task.labels(rows, roles)
  const counts = countLabels(rows, column, labels)
  const total = counts.reduce((sum, count) => sum + count, 0)
  return labels.names
    .map((label, id) => ({ label, count: nth(counts, id), share: nth(counts, id) / total }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
}

function describeLengths(rows: List<Row>, roles: Columns, tokenizer?: Tokenizer): DataInspection['lengths'] {
  const { tokens, text, text2 } = roles
  if (tokens !== undefined) {
    const words = changed(rows, row => listOf(row, tokens))
    const lengths = words.map(list => (tokenizer ? tokenizer.encodeWords(list).ids.length : list.length))
    return { unit: tokenizer ? 'tokens' : 'words', ...lengthStatistics(lengths) }
  }
  const lengths = rows.map(row => {
    const first = text === undefined ? conversationText(row, roles) : textOf(row, text)
    const pair = text2 === undefined ? undefined : textOf(row, text2)
    return tokenizer ? tokenizer.encode(first, { pair }).ids.length : first.length + (pair?.length ?? 0)
  })
  return { unit: tokenizer ? 'tokens' : 'characters', ...lengthStatistics(lengths) }
}
