// Which task the columns of a data set ask for.

import { type ColumnNames, type Columns, columnNames, findColumns } from '../data/columns.ts'
import type { List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { check, fail } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { type TaskName, unknownTask } from '../heads/index.ts'
import { isOneOf, must, nth } from '../tuple.ts'
import { TASKS, taskNames, taskOf } from './index.ts'
import type { Asked, Task } from './task.ts'

/** Which column plays which part: as given, by the usual names of a task, else by those of all; see findColumns. */
export function columnsIn(rows: Iterable<Row>, given?: ColumnNames, task?: string): Columns {
  const tasks = TASKS.filter(({ name, usual }) => usual && (task === undefined || task === name))
  const names = tasks.flatMap(each => must(each.usual, 'usual'))
  return findColumns(columnNames(rows), given, { names, mayLackLabel: task !== undefined })
}

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
  if (wanted === undefined) fail('ERR_DATA', `task: none fits, ${has}${can}; name columns and task`)
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
