// The heads there are, by the names of their tasks: a new one is a file and a line here.

import { fail, nearest } from '../errors.ts'
import type { HeadKind } from './head.ts'
import { causalLmHead, maskedLmHead, seq2seqLmHead } from './languageModel.ts'
import { preferenceHead } from './preference.ts'
import { questionHead } from './questionAnswering.ts'
import { rewardHead } from './reward.ts'
import { sequenceHead } from './sequenceClassification.ts'
import { tokenHead } from './tokenClassification.ts'

export const HEADS = [
  sequenceHead,
  rewardHead,
  tokenHead,
  questionHead,
  maskedLmHead,
  causalLmHead,
  preferenceHead,
  seq2seqLmHead,
] as const

/** What a model can be loaded for, by name. */
export type TaskName = (typeof HEADS)[number]['task']

/** The names of all tasks. */
export const headTasks: readonly TaskName[] = HEADS.map(({ task }) => task)

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '')

/** Our name for what transformers, PEFT or people call a task; undefined for what is none of them. */
export function taskHere(name: string): TaskName | undefined {
  const found = HEADS.find(({ aliases, classSuffix, ...head }) => {
    const peft: readonly string[] = 'peftType' in head ? [head.peftType] : []
    return [...aliases, ...peft].some(each => plain(each) === plain(name)) || name.endsWith(classSuffix)
  })
  return found?.task
}

/** The end of an error about a task that is unknown among `known`: what it is called here, and what there is. */
export function unknownTask(name: string, known: readonly string[] = headTasks): string {
  const here = taskHere(name)
  const told = here !== undefined && known.includes(here) ? ` (here it is "${here}")` : nearest(name, known)
  return `task: "${name}" is unknown${told}; use ${known.join(', ')}`
}

/** The head of a task. @throws ERR_OPTION for an unknown one */
export function headOf(task: string): HeadKind {
  return HEADS.find(head => head.task === task) ?? fail('ERR_OPTION', unknownTask(String(task)))
}
