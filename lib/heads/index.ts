// The heads there are, by the names of their tasks: a new one is a file and a line here.

import { fail, nearest } from '../errors.ts'
import type { HeadKind } from './head.ts'
import { causalLmHead, maskedLmHead, seq2seqLmHead } from './languageModel.ts'
import { sequenceHead } from './sequenceClassification.ts'
import { tokenHead } from './tokenClassification.ts'

export const HEADS = [sequenceHead, tokenHead, maskedLmHead, causalLmHead, seq2seqLmHead] as const

/** What a model can be loaded for, by name. */
export type TaskName = (typeof HEADS)[number]['task']

/** The names of all tasks. */
export const headTasks: readonly TaskName[] = HEADS.map(({ task }) => task)

/** The head of a task. @throws ERR_OPTION for an unknown one */
export function headOf(task: string): HeadKind {
  const found = HEADS.find(head => head.task === task)
  return (
    found ?? fail('ERR_OPTION', `task: "${task}" is unknown${nearest(task, headTasks)}; use ${headTasks.join(', ')}`)
  )
}
