// IA3 (Liu et al. 2022): outputs of keys and values, and inputs of the second feed-forward layer, times a vector.

import { normal } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { add } from '../ops/add.ts'
import { multiply, scaleColumns } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import { reshape, scaleRows } from '../ops/scaleRows.ts'
import { isTexts } from '../tuple.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions, type TargetOptions, targetFields } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { nameMatcher } from './targets.ts'
import { targetLinears, trainedWhole } from './wholeModules.ts'

/** Options of {@link ia3}. */
export interface Ia3Options extends TargetOptions, SaveWholeOptions {
  /** Of the targets, those whose input is scaled in place of the output. Default: the family's. */
  feedforwardModules?: string | readonly string[] | undefined
  /** true: vectors of ones; false: normal numbers. Default true. */
  initIa3Weights?: boolean
}

type Targets = readonly [targets: readonly string[], feedforward: readonly string[]]

const queryValueDown: Targets = [['q_proj', 'v_proj', 'down_proj'], ['down_proj']]
const keyValueDown: Targets = [['k_proj', 'v_proj', 'down_proj'], ['down_proj']]
const queryValueFc2: Targets = [['q_proj', 'v_proj', 'fc2'], ['fc2']]
const neox: Targets = [['query_key_value', 'dense_4h_to_h'], ['dense_4h_to_h']]
const bert: Targets = [['key', 'value', 'output.dense'], ['output.dense']]

// PEFT 0.21's table; distilbert is ours, PEFT asks for target_modules there.
const targetsByModel: Readonly<Record<string, Targets>> = {
  bart: queryValueFc2,
  bert,
  bloom: [['query_key_value', 'mlp.dense_4h_to_h'], ['mlp.dense_4h_to_h']],
  deberta: [['in_proj', 'output.dense'], ['output.dense']],
  'deberta-v2': [['key_proj', 'value_proj', 'output.dense'], ['output.dense']],
  distilbert: [['k_lin', 'v_lin', 'lin2'], ['lin2']],
  falcon: neox,
  gemma: queryValueDown,
  gemma2: queryValueDown,
  gemma3_text: queryValueDown,
  gpt2: [['c_attn', 'mlp.c_proj'], ['mlp.c_proj']],
  gpt_bigcode: [['c_attn', 'mlp.c_proj'], ['mlp.c_proj']],
  gpt_neo: [['q_proj', 'v_proj', 'c_proj'], ['c_proj']],
  gpt_neox: neox,
  gptj: [['q_proj', 'v_proj', 'fc_out'], ['fc_out']],
  llama: keyValueDown,
  llama4: queryValueDown,
  mistral: keyValueDown,
  mixtral: [['k_proj', 'v_proj', 'w2'], ['w2']],
  mt5: [['k', 'v', 'wi_1'], []],
  opt: [['q_proj', 'k_proj', 'fc2'], ['fc2']],
  phi: queryValueFc2,
  qwen2: queryValueDown,
  qwen3: queryValueDown,
  RefinedWeb: neox,
  RefinedWebModel: neox,
  roberta: bert,
  t5: [['k', 'v', 'wo'], ['wo']],
}

const known = (modelType: string) => (Object.hasOwn(targetsByModel, modelType) ? targetsByModel[modelType] : undefined)
const defaults = (modelType: string) => known(modelType)?.[0]

const fields: readonly Field<keyof Ia3Options>[] = [
  ...targetFields(defaults),
  {
    name: 'feedforwardModules',
    peft: 'feedforward_modules',
    kind: 'pattern',
    help: 'Of the targets, those whose input is scaled',
    found: "the family's",
    encode: (value, { modelType }) =>
      typeof value === 'string' || isTexts(value) ? value : (known(modelType)?.[1] ?? []),
  },
  SAVE_FIELD,
  {
    name: 'initIa3Weights',
    peft: 'init_ia3_weights',
    kind: 'boolean',
    default: true,
    help: 'Start with vectors of ones',
  },
]

export const IA3: MethodKind<Ia3Options> = {
  type: 'ia3',
  peftType: 'IA3',
  title: 'IA3',
  help: 'vectors that scale keys, values and feed-forward inputs',
  lr: 5e-3,
  fields,
  keys: { fan_in_fan_out: false },
  place,
}

/** IA3; the vectors begin as ones, so that nothing changes. docs/methods.md has the formulas. */
export function ia3(options: Ia3Options = {}): Method {
  return methodOfKind(IA3, options)
}

function place(host: Host, options: Required<Ia3Options>, context: PlaceContext): Placement {
  const targets = targetLinears(host, options, context, defaults)
  const inner = options.feedforwardModules ?? known(host.config.modelType)?.[1] ?? []
  const isFeedforward = nameMatcher(inner, 'feedforwardModules')
  const linear = new Map(
    targets.map(each => [each.path, vectorOn(each, isFeedforward(each.path), options.initIa3Weights, context)]),
  )
  return {
    linear,
    whole: trainedWhole(host, options, context, targets),
    matched: targets.map(({ path }) => ({
      path,
      text: isFeedforward(path) ? 'scales its input' : 'scales its output',
    })),
  }
}

function vectorOn(linear: Linear, isInput: boolean, isOnes: boolean, context: PlaceContext): LinearAdapter {
  const { path, inFeatures, outFeatures } = linear
  const size = isInput ? inFeatures : outFeatures
  const l = context.parameter(`${path}.ia3_l`, isInput ? [1, size] : [size, 1], (seed, name) => {
    return isOnes ? new Float32Array(size).fill(1) : normal(size, 1, seed, name)
  })
  const vector = () => reshape(l.tensor, [size])
  const base = { name: context.name, params: [l], active: true }
  if (isInput)
    return {
      ...base,
      input: x => scaleColumns(x, vector()),
      delta: weight => ({ weight: add(scaleColumns(weight, vector()), scale(weight, -1)) }),
    }
  return {
    ...base,
    output: y => scaleColumns(y, vector()),
    delta: (weight, bias) => ({
      weight: add(scaleRows(weight, vector()), scale(weight, -1)),
      bias: bias && add(multiply(bias, vector()), scale(bias, -1)),
    }),
  }
}
