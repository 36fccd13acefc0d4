// What PEFT and transformers call our tasks.

import { architectures } from '../io/config.ts'
import type { TaskType } from './config.ts'
import type { Host } from './method.ts'

const taskTypes: Readonly<Record<string, TaskType>> = {
  'sequence-classification': 'SEQ_CLS',
  'token-classification': 'TOKEN_CLS',
  'causal-lm': 'CAUSAL_LM',
}

/** PEFT's name of a task; undefined where it has none, as for masked LM. */
export function taskTypeOf(task: string): TaskType | undefined {
  return taskTypes[task]
}

/** Our name of PEFT's task; undefined where no head of ours does it. */
export function taskOf(taskType: TaskType): string | undefined {
  return Object.keys(taskTypes).find(task => taskTypes[task] === taskType)
}

const classPrefixes: Readonly<Record<string, string>> = {
  bert: 'Bert',
  roberta: 'Roberta',
  distilbert: 'DistilBert',
  electra: 'Electra',
  'xlm-roberta': 'XLMRoberta',
}
const classSuffixes: Readonly<Record<string, string>> = {
  'sequence-classification': 'ForSequenceClassification',
  'token-classification': 'ForTokenClassification',
  'masked-lm': 'ForMaskedLM',
  'causal-lm': 'ForCausalLM',
}

/** The class of transformers for a model with its task's head, e.g. BertForTokenClassification. */
export function transformersClass({ config, task }: Host): string {
  const named = /^(.+?)(?:For[A-Z]\w*|Model|PreTrainedModel)$/.exec(architectures(config)[0] ?? '')?.[1]
  const { modelType } = config
  const prefix = classPrefixes[modelType] ?? named ?? modelType.charAt(0).toUpperCase() + modelType.slice(1)
  return prefix + (classSuffixes[task] ?? 'Model')
}

/** The Python module of {@link transformersClass}. */
export function transformersModule({ config }: Host): string {
  const name = config.modelType.replaceAll('-', '_')
  return `transformers.models.${name}.modeling_${name}`
}
