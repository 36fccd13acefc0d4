// What PEFT and transformers call our tasks.

import type { HeadKind } from '../heads/head.ts'
import { HEADS } from '../heads/index.ts'
import { architectures } from '../io/config.ts'
import type { TaskType } from './config.ts'
import type { Host } from './method.ts'

const kinds: readonly HeadKind[] = HEADS

/** PEFT's name of a task; undefined where it has none, as for masked LM. */
export function taskTypeOf(task: string): TaskType | undefined {
  return kinds.find(head => head.task === task)?.peftType as TaskType | undefined
}

/** Our name of PEFT's task; undefined where no head of ours does it. */
export function taskOf(taskType: TaskType): string | undefined {
  return kinds.find(head => head.peftType === taskType)?.task
}

const classPrefixes: Readonly<Record<string, string>> = {
  bert: 'Bert',
  roberta: 'Roberta',
  distilbert: 'DistilBert',
  electra: 'Electra',
  modernbert: 'ModernBert',
  'xlm-roberta': 'XLMRoberta',
}

/** The class of transformers for a model with its task's head, e.g. BertForTokenClassification. */
export function transformersClass({ config, task }: Host): string {
  const named = /^(.+?)(?:For[A-Z]\w*|Model|PreTrainedModel)$/.exec(architectures(config)[0] ?? '')?.[1]
  const { modelType } = config
  const prefix = classPrefixes[modelType] ?? named ?? modelType.charAt(0).toUpperCase() + modelType.slice(1)
  return prefix + (kinds.find(head => head.task === task)?.classSuffix ?? 'Model')
}

/** The Python module of {@link transformersClass}. */
export function transformersModule({ config }: Host): string {
  const name = config.modelType.replaceAll('-', '_')
  return `transformers.models.${name}.modeling_${name}`
}
