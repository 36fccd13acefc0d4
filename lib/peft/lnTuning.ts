// Norm tuning (Zhao et al. 2023): weights and biases of the norms train whole.

import { check, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import type { Parameter } from '../nn/module.ts'
import { lastOf, must } from '../tuple.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions, type TargetOptions, targetFields } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { nameMatcher } from './targets.ts'
import { moduleOf, trainedWhole } from './wholeModules.ts'

/** Options of {@link normTuning}. */
export interface NormOptions extends TargetOptions, SaveWholeOptions {}

const llama = ['input_layernorm', 'post_attention_layernorm', 'norm']
const gemma2 = [...llama, 'pre_feedforward_layernorm', 'post_feedforward_layernorm']
const t5 = ['layer_norm', 'final_layer_norm']
const bert = ['LayerNorm']

// PEFT 0.21's table; the encoders are ours, PEFT asks for target_modules there.
const targetsByModel: Readonly<Record<string, readonly string[]>> = {
  bert,
  distilbert: ['LayerNorm', 'sa_layer_norm', 'output_layer_norm'],
  electra: bert,
  gemma: llama,
  gemma2,
  gemma3_text: gemma2,
  gpt2: ['ln_1', 'ln_2', 'ln_f'],
  llama,
  mistral: llama,
  mt5: t5,
  qwen2: ['post_attention_layernorm'],
  qwen3: ['post_attention_layernorm'],
  roberta: bert,
  t5,
}

const defaults = (modelType: string) =>
  Object.hasOwn(targetsByModel, modelType) ? targetsByModel[modelType] : undefined

const fields: readonly Field<keyof NormOptions>[] = [...targetFields(defaults), SAVE_FIELD]

export const LN_TUNING: MethodKind<NormOptions> = {
  type: 'norm',
  peftType: 'LN_TUNING',
  title: 'norm tuning',
  help: 'weights and biases of the norms',
  lr: 1e-3,
  fields,
  place,
}

/** Trains the norms whole; docs/methods.md. */
export function normTuning(options: NormOptions = {}): Method {
  return methodOfKind(LN_TUNING, options)
}

function place(host: Host, options: Required<NormOptions>, context: PlaceContext): Placement {
  const heads = trainedWhole(host, options, context, [])
  const norms = [...normsOf(host)].filter(([, parameters]) => !parameters.some(each => heads.includes(each)))
  const paths = chosen(
    host,
    options,
    norms.map(([path]) => path),
  )
  const inNorms = norms.flatMap(([path, parameters]) => (paths.includes(path) ? parameters : []))
  const tuned = new Set(inNorms)
  return {
    linear: new Map(),
    whole: [...heads, ...inNorms],
    matched: paths.map(path => ({ path, text: 'trained whole' })),
    keyOf: parameter => {
      const isTuned = tuned.has(must(parameter.base, 'base'))
      return isTuned ? `base_model.model.${parameter.name.replace(/\.(\w+)$/, '.ln_tuning_layers.$1')}` : undefined
    },
  }
}

/** Modules of vectors alone that are no linear layer: norms. */
function normsOf(host: Host): Map<string, Parameter[]> {
  const modules = new Map<string, Parameter[]>()
  for (const parameter of host.parameters.values()) {
    const path = moduleOf(parameter.name)
    modules.set(path, [...(modules.get(path) ?? []), parameter])
  }
  return new Map([...modules].filter(([path, all]) => !host.linears.has(path) && all.every(p => p.shape.length === 1)))
}

function chosen(host: Host, options: Required<NormOptions>, paths: readonly string[]): string[] {
  const { modelType } = host.config
  const targets = options.targetModules ?? defaults(modelType)
  const ends = () => [...new Set(paths.map(path => lastOf(path.split('.'))))]
  check(targets, 'ERR_OPTION', () => {
    return `targetModules: there is no default for "${modelType}"; name some of ${ends().join(', ')}`
  })
  const [isNamed, isExcluded] = [
    nameMatcher(targets, 'targetModules'),
    nameMatcher(options.excludeModules ?? [], 'excludeModules'),
  ]
  // Beside linear layers, "all" of them are all norms here.
  const isAll = targets === 'all-linear'
  const found = paths.filter(path => (isAll || isNamed(path)) && !isExcluded(path))
  check(found.length > 0, 'ERR_OPTION', () => {
    const near = typeof targets === 'string' ? '' : nearest(targets[0] ?? '', ends())
    return `targetModules: ${shown(targets)} matches no norm${near}; name some of ${ends().join(', ')}`
  })
  return found
}
