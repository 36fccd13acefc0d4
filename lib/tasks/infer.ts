// Which task the columns of a data set ask for.

import { type ColumnNames, type Columns, columnNames, findColumns, usualText } from '../data/columns.ts'
import type { Splits } from '../data/duplicates.ts'
import type { List } from '../data/list.ts'
import { placeOf, type Row } from '../data/row.ts'
import { check, fail } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { type TaskName, unknownTask } from '../heads/index.ts'
import { isRecord } from '../options.ts'
import { isOneOf, must, nth } from '../tuple.ts'
import { TASKS, taskNames, taskOf } from './index.ts'
import type { Adopted, Asked, Task } from './task.ts'

/** Which column plays which part: as given, by the usual names of a task, else by those of all; see findColumns. */
export function columnsIn(rows: Iterable<Row>, given?: ColumnNames, task?: string): Columns {
  const tasks = TASKS.filter(({ name, usual }) => usual && (task === undefined || task === name))
  const names = tasks.flatMap(each => must(each.usual, 'usual'))
  const seen = columnNames(rows)
  checkWrapped(rows, given)
  return findColumns(seen, given, { names, mayLackLabel: task !== undefined })
}

/** Rows as the first task that knows their form has them, and names of their columns; else as they are. */
export function adopted(
  splits: Partial<Splits>,
  given: ColumnNames | undefined,
  wanted: string | undefined,
  notice: (text: string) => void,
): Adopted {
  for (const { name, adopt } of TASKS) {
    const taken = adopt && (wanted === undefined || wanted === name) ? adopt(splits, given, notice) : undefined
    if (taken) return taken
  }
  return { splits, given }
}

/** @throws ERR_DATA for one row that holds the rows: a list of them, or lists column by column */
function checkWrapped(rows: Iterable<Row>, given: ColumnNames | undefined): void {
  if (given !== undefined && Object.keys(given).length > 0) return
  const [row, second] = [...first(rows, 2)]
  const held = Object.entries(row?.values ?? {})
  // A text beside the list makes it a row of its own.
  if (!row || second || usualText(Object.keys(row.values)) !== undefined) return
  const inside = held.filter(([name, value]) => !/^(messages|conversations|tools)$/i.test(name) && isRows(value))
  const [name, list] = inside[0] ?? []
  check(name === undefined, 'ERR_DATA', () => {
    const names = inside.map(([each]) => `"${each}"`).join(', ')
    return `data: ${placeOf(row)}: one object, whose ${names} holds ${Array.isArray(list) ? list.length : 0} rows; write these alone, a file a split`
  })
}

function* first(rows: Iterable<Row>, count: number): Generator<Row> {
  let left = count
  for (const row of rows) {
    yield row
    if (--left === 0) return
  }
}

const isRows = (value: unknown) => Array.isArray(value) && value.length > 1 && value.every(isRecord)

/** A task and why it was chosen. */
export interface TaskChoice {
  readonly task: TaskName
  /** Where the task leaves open how labels are read. */
  readonly problem?: Problem
  /** One sentence for the user. */
  readonly reason: string
}

/**
 * The task that the columns and labels of a data set ask for, or a check of the task that the user asked for.
 * @param rows rows to look at (all, or a sample)
 * @throws ERR_DATA when the labels fit no task or not the wanted one, always with advice,
 * ERR_OPTION for an unknown task
 */
export function inferTask(
  rows: List<Row>,
  columns: Columns,
  { task: wanted, problem, labels, able }: Asked = {},
): TaskChoice {
  const known = wanted === undefined || isOneOf(taskNames, wanted)
  check(known, 'ERR_OPTION', () => unknownTask(String(wanted), taskNames))
  const tasks = TASKS.filter(({ name }) => wanted === undefined || name === wanted)
  for (const task of tasks) {
    const reason = task.infer(rows, columns, { task: wanted, problem, labels, able })
    if (reason !== undefined) return choiceOf(task, reason)
  }
  const held = Object.entries(columns).map(([part, name]) => `"${name}" as ${part}`)
  const has = held.length > 0 ? `the data have ${held.join(' and ')}` : 'no column is known'
  const can = able ? `; the model has heads for ${able.join(', ')}` : ''
  const asked = able && wanted === undefined ? TASKS.find(task => fits(task, rows, columns)) : undefined
  if (asked) fail('ERR_DATA', `task: ${has}, which ask for ${asked.name}${can}; give model one that has it`)
  if (wanted === undefined) fail('ERR_DATA', `task: none fits, ${has}${can}; give columns and task`)
  const other = TASKS.find(task => task.name !== wanted && fits(task, rows, columns))
  const cure = other ? `take ${other.name}` : 'name the columns that hold them'
  fail('ERR_DATA', `task: ${wanted} needs ${nth(tasks, 0).needs}, ${has}; ${cure}`)
}

function choiceOf({ name: task, problem }: Task, reason: string): TaskChoice {
  return { task, ...(problem === undefined ? {} : { problem }), reason }
}

function fits(task: Task, rows: List<Row>, columns: Columns): boolean {
  try {
    return task.infer(rows, columns, {}) !== undefined
  } catch {
    return false
  }
}

/** The stratum of each row, by its task; see {@link Task.strata}. */
export function strataOf(rows: List<Row>, columns: Columns, choice: Parameters<typeof taskOf>[0]): List<string> {
  return taskOf(choice).strata(rows, columns)
}
