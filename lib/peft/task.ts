// What PEFT and transformers call our tasks.

import type { HeadKind } from '../heads/head.ts'
import { HEADS } from '../heads/index.ts'
import { isOneOf } from '../tuple.ts'
import type { Host } from './method.ts'
import { type TaskType, taskTypes } from './taskType.ts'

const kinds: readonly HeadKind[] = HEADS

/** PEFT's name of a task; undefined where it has none, as for masked LM. */
export function taskTypeOf(task: string): TaskType | undefined {
  const name = kinds.find(head => head.task === task)?.peftType
  return isOneOf(taskTypes, name) ? name : undefined
}

/** Our name of PEFT's task; undefined where no head of ours does it. */
export function taskOfPeftType(taskType: string): string | undefined {
  return kinds.find(head => head.peftType === taskType)?.task
}

/** What transformers calls the module of a family: `xlm_roberta` of `xlm-roberta`, `gemma3` of `gemma3_text`. */
export function moduleName(modelType: string): string {
  return modelType.replaceAll('-', '_').replace(/_text$/, '')
}

/** The Python module of transformers with the class of a model. */
export function transformersModule({ config }: Host): string {
  const name = moduleName(config.modelType)
  return `transformers.models.${name}.modeling_${name}`
}
