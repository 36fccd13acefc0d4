// The tasks there are: a new one is a file and a line here.

import { fail } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { type TaskName, unknownTask } from '../heads/index.ts'
import type { Model } from '../model.ts'
import { causalLm } from './causalLm.ts'
import { maskedLm } from './maskedLm.ts'
import { preference } from './preference.ts'
import { questionAnswering } from './questionAnswering.ts'
import { regression } from './regression.ts'
import { reward } from './reward.ts'
import { seq2seqLm } from './seq2seqLm.ts'
import { multi, single } from './sequence.ts'
import type { Task } from './task.ts'
import { tokens } from './tokens.ts'

/**
 * In the order in which data are offered to them. The predictions of a task are its own: whoever holds tasks of all
 * kinds hands them back what they gave.
 */
export const TASKS: readonly Task[] = [
  preference,
  reward,
  questionAnswering,
  tokens,
  multi,
  regression,
  single,
  causalLm,
  seq2seqLm,
  maskedLm,
]

/** Their names. */
export const taskNames: readonly TaskName[] = [...new Set(TASKS.map(({ name }) => name))]

/** The task of a name, and of a problem where it has several. @throws ERR_OPTION for an unknown name */
export function taskOf({ task: name, problem }: { task: string; problem?: Problem | undefined }): Task {
  const named = TASKS.filter(task => task.name === name)
  const found = named.find(task => task.problem === undefined || task.problem === (problem ?? 'single'))
  return found ?? fail('ERR_OPTION', unknownTask(String(name), taskNames))
}

/** The task of a model's head. */
export function taskOfModel({ head }: Pick<Model, 'head'>): Task {
  return taskOf(head)
}
