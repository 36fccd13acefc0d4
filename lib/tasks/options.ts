// The options of tasks: those of all of them, and what one task has for itself.

import { check } from '../errors.ts'
import { taskHere } from '../heads/index.ts'
import { shown } from '../io/json.ts'
import type { OptionRow } from '../options.ts'
import { TASKS, taskNames } from './index.ts'
import type { Task, TaskValues } from './task.ts'

export const TASK_OPTIONS = {
  task: {
    kind: 'choice',
    help: 'What is learned',
    choices: taskNames,
    here: taskHere,
    found: 'by the columns and labels',
  },
  labels: { kind: 'names', help: 'Label names in the order of their ids', found: 'those of the data, sorted' },
  maxLength: {
    kind: 'integer',
    help: 'Most tokens of a sequence, special tokens included',
    min: 3,
    found: "the model's limit, at most 512",
    search: { values: [64, 128, 256, 512] },
  },
  truncationSide: {
    kind: 'choice',
    help: 'The end that texts too long lose',
    choices: ['right', 'left'],
    found: 'as the tokenizer says, mostly right',
  },
} as const satisfies Readonly<Record<string, OptionRow>>

/** The options that tasks have for themselves: what is not given is as a model was trained with, else their default. */
export function ownOptions(): [name: string, row: OptionRow][] {
  const owners = new Map<string, { row: OptionRow; tasks: string[] }>()
  for (const task of TASKS)
    for (const [name, row] of Object.entries(task.options ?? {}))
      owners.set(name, { row, tasks: [...(owners.get(name)?.tasks ?? []), task.name] })
  return [...owners].map(([name, { row, tasks }]) => {
    const { default: value, ...rest } = row
    return [
      name,
      { ...rest, help: `${row.help} [${tasks.join(', ')}]`, found: `${rest.found ?? value}, or as trained` },
    ]
  })
}

/** The own options of a task among some settings. @throws ERR_OPTION for one that only other tasks have */
export function taskValues({ options = {}, title }: Task, settings: object): TaskValues {
  const own = new Set(TASKS.flatMap(task => Object.keys(task.options ?? {})))
  const given = Object.entries(settings).filter(([name, value]) => own.has(name) && value !== undefined)
  for (const [name, value] of given)
    check(Object.hasOwn(options, name), 'ERR_OPTION', () => {
      return `${name}: ${shown(value)} has no effect, since a ${title} has no such option; leave it out`
    })
  return Object.fromEntries(given)
}
