// AdaLoRA (Zhang et al. 2023): updates B diag(E) A with near-orthogonal A and B, whose ranks a budget decides.

import { check } from '../errors.ts'
import type { PyObject } from '../io/json.ts'
import type { TensorInMemory } from '../io/safetensors.ts'
import { normal } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { scaleColumns } from '../ops/multiply.ts'
import { keepOf, site } from '../ops/random.ts'
import { scale as scaleBy } from '../ops/scale.ts'
import { reshape } from '../ops/scaleRows.ts'
import { isCount } from '../tuple.ts'
import { Budget, type RankPattern, type Triplet } from './budget.ts'
import {
  dropoutField,
  type Field,
  LAYER_FIELDS,
  type LayerOptions,
  SAVE_FIELD,
  type SaveWholeOptions,
  type TargetOptions,
  targetFields,
} from './fields.ts'
import { LORA } from './lora.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { penalty } from './regularizer.ts'
import { defaultTargets } from './targets.ts'
import { BIAS_FIELD, type Bias, targetLinears, trainedWhole } from './wholeModules.ts'

/** Options of {@link adalora}. */
export interface AdaLoraOptions extends TargetOptions, LayerOptions, SaveWholeOptions {
  /** Ranks of every layer at the start. Default 12. */
  initR?: number
  /** Ranks a layer in the mean at the end. Default 8. */
  targetR?: number
  /** Steps before the first cut. Default 0. */
  tinit?: number
  /** Steps after the last cut. Default 0. */
  tfinal?: number
  /** Steps between cuts. Default 1. */
  deltaT?: number
  /** Decay of the mean sensitivity: `beta1` of PEFT's file. Default 0.85. */
  sensitivityDecay?: number
  /** Decay of its uncertainty: `beta2` of PEFT's file. Default 0.85. */
  uncertaintyDecay?: number
  /** Weight of the penalty that keeps A and B orthogonal. Default 0.5. */
  orthRegWeight?: number
  /** The update is scaled by alpha / initR. Default 8. */
  alpha?: number
  /** Probability of dropping an input of the update. Default 0. */
  dropout?: number
  bias?: Bias
  /** f32 accuracy of the products beside bf16 activations. Default true. */
  exact?: boolean
  /** Steps of the run, as the file notes them; those of `train` count. Default: found out. */
  totalStep?: number | undefined
  /** Which ranks are left, by `<path>.lora_E`; from a file. */
  rankPattern?: Readonly<Record<string, readonly boolean[]>> | undefined
}

const queryValue = ['q_proj', 'v_proj']
const t5 = ['q', 'k', 'v', 'o', 'wi', 'wo']
// PEFT 0.21's table where it differs from LoRA's.
const targetsByModel: Readonly<Record<string, readonly string[]>> = {
  bart: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2'],
  deberta: ['in_proj'],
  'deberta-v2': ['query_proj', 'key_proj', 'value_proj', 'dense'],
  gpt_neo: queryValue,
  mt5: ['q', 'k', 'v', 'o', 'wi_0', 'wi_1', 'wo'],
  opt: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2'],
  roberta: ['query', 'key', 'value', 'dense'],
  t5,
}

const defaults = (modelType: string) =>
  Object.hasOwn(targetsByModel, modelType) ? targetsByModel[modelType] : defaultTargets(modelType)

/** A number of steps or ranks. */
const count = (name: keyof AdaLoraOptions, peft: string, standard: number, min: number, help: string) =>
  ({ name, peft, kind: 'integer', default: standard, min, help }) as const
const decay = (name: keyof AdaLoraOptions, peft: string, help: string) =>
  ({ name, peft, kind: 'number', default: 0.85, min: 0, below: 1, isFloat: true, help }) as const

export const adaLoraFields: readonly Field<keyof AdaLoraOptions>[] = [
  count('initR', 'init_r', 12, 1, 'Ranks of every layer at the start'),
  count('targetR', 'target_r', 8, 1, 'Ranks a layer in the mean at the end'),
  count('tinit', 'tinit', 0, 0, 'Steps before the first cut'),
  count('tfinal', 'tfinal', 0, 0, 'Steps after the last cut'),
  count('deltaT', 'deltaT', 1, 1, 'Steps between cuts'),
  decay('sensitivityDecay', 'beta1', 'Decay of the mean sensitivity'),
  decay('uncertaintyDecay', 'beta2', 'Decay of its uncertainty'),
  {
    name: 'orthRegWeight',
    peft: 'orth_reg_weight',
    kind: 'number',
    default: 0.5,
    min: 0,
    isFloat: true,
    help: 'Weight of the penalty that keeps A and B orthogonal',
  },
  { name: 'alpha', peft: 'lora_alpha', kind: 'number', default: 8, help: 'The update is scaled by alpha / initR' },
  dropoutField('lora_dropout', 'Dropout on the input of the update'),
  ...targetFields(defaults),
  ...LAYER_FIELDS,
  SAVE_FIELD,
  BIAS_FIELD,
  { name: 'exact', kind: 'boolean', default: true, help: 'Products at f32 accuracy beside bf16 activations' },
  {
    name: 'totalStep',
    peft: 'total_step',
    kind: 'integer',
    min: 1,
    help: 'Steps of the run',
    found: 'those of the run',
    isFound: true,
    encode: value => (isCount(value) ? value : 1),
  },
  {
    name: 'rankPattern',
    peft: 'rank_pattern',
    kind: 'masks',
    help: 'Which ranks are left',
    found: 'by the budget',
    isFound: true,
  },
]

export const ADALORA: MethodKind<AdaLoraOptions> = {
  type: 'adalora',
  peftType: 'ADALORA',
  title: 'AdaLoRA',
  help: 'singular values and vectors of the update, whose ranks a budget spreads over the layers',
  lr: 1e-3,
  fields: adaLoraFields,
  keys: { ...LORA.keys, alpha_pattern: {}, init_lora_weights: true, r: 8, use_rslora: false } satisfies PyObject,
  notBuilt: { ...LORA.notBuilt, use_dora: false },
  check: ({ dropout, alpha, targetR, initR }) => {
    keepOf(dropout)
    check(alpha > 0, 'ERR_OPTION', () => `alpha: ${alpha} would switch the adapter off; give a number above 0`)
    check(targetR <= initR, 'ERR_OPTION', () => `targetR: ${targetR} is above initR ${initR}; a budget only shrinks`)
  },
  place: placeAdaLora,
}

/** AdaLoRA; the budget runs by itself in `train`. docs/methods.md. */
export function adalora(options: AdaLoraOptions = {}): Method {
  return methodOfKind(ADALORA, options)
}

/** What is placed, and what a kind built on it needs to know. */
export function placeAdaLora(host: Host, options: Required<AdaLoraOptions>, context: PlaceContext): Placement {
  const targets = targetLinears(host, options, context, defaults)
  const layers = targets.map(linear => ({ linear, ...tripletOn(linear, options, context) }))
  const scale = options.alpha / (options.initR + 1e-5)
  const { targetR, initR, orthRegWeight: weight } = options
  const matrices = layers.flatMap(({ a, b }) => [a, b])
  const isPruned = options.rankPattern !== undefined
  const budget = targetR < initR && !isPruned ? new Budget(layers, options, context) : undefined
  const live = layers.filter(({ e }) => e.size > 0)
  return {
    linear: new Map(layers.map(each => [each.path, adapterOf(each, each.linear, scale, options, context)])),
    whole: trainedWhole(host, options, context, targets),
    matched: layers.map(({ path, e }) => ({
      path,
      r: e.size,
      scale,
      text: `r ${e.size}, scale ${+scale.toPrecision(4)}`,
    })),
    mayBeZero: ({ name }) => name.endsWith('.lora_E'),
    training: {
      ...(weight > 0 &&
        live.length > 0 && { penalty: () => penalty({ weight, kind: 'orthNorm', parameters: matrices }) }),
      singularValues: () => new Map(layers.map(({ path, e }) => [path, e.tensor])),
      ...(budget && { afterUpdate: (step, total) => budget.afterUpdate(step, total), state: () => budget.state() }),
    },
    ...(budget && { settings: () => budget.settings, pack: tensors => packed(tensors, budget.pattern) }),
  }
}

function tripletOn(
  { path, inFeatures, outFeatures }: Linear,
  options: Required<AdaLoraOptions>,
  context: PlaceContext,
) {
  const kept = options.rankPattern?.[`${path}.lora_E`]
  const r = kept ? kept.filter(Boolean).length : options.initR
  const near = (size: number) => (seed: number, name: string) => normal(size, 0.02, seed, name)
  const a = context.parameter(`${path}.lora_A`, [r, inFeatures], near(r * inFeatures))
  const b = context.parameter(`${path}.lora_B`, [outFeatures, r], near(outFeatures * r))
  const e = context.parameter(`${path}.lora_E`, [r, 1], () => new Float32Array(r))
  return { path, a, b, e } satisfies Triplet
}

function adapterOf(
  { a, b, e }: Triplet,
  linear: Linear,
  scale: number,
  { dropout, exact }: Required<AdaLoraOptions>,
  { name }: PlaceContext,
): LinearAdapter {
  const fixed = { scale, dropout, exact, site: site(linear.path, 'lora') }
  const params = [a, b, e]
  // A layer of which nothing is left computes nothing; its empty tensors are still saved.
  if (e.size === 0) return { name, params, active: true, delta: weight => ({ weight: scaleBy(weight, 0) }) }
  return {
    name,
    params,
    active: true,
    factors: () => ({ a: a.tensor, b: scaleColumns(b.tensor, reshape(e.tensor, [e.size])), ...fixed }),
  }
}

/** Without the rows and columns of ranks that are gone, as PEFT writes them. */
function packed(tensors: readonly TensorInMemory[], pattern: RankPattern | undefined): TensorInMemory[] {
  return tensors.map(tensor => {
    const [, path, part] = /^base_model\.model\.(.+)\.lora_([ABE])$/.exec(tensor.name) ?? []
    const kept = path === undefined ? undefined : pattern?.get(path)
    return kept ? keepRanks(tensor, kept, part === 'B') : tensor
  })
}

/** Rows, or columns, of the ranks that are kept. */
function keepRanks(tensor: TensorInMemory, kept: readonly boolean[], inColumns: boolean): TensorInMemory {
  const [rows = 0, columns = 0] = tensor.shape
  const { buffer, byteOffset, byteLength } = tensor.data
  const bytes = new Uint8Array(buffer, byteOffset, byteLength)
  const width = bytes.length / (rows * columns)
  const count = kept.filter(Boolean).length
  const [height, length] = inColumns ? [rows, count] : [count, columns]
  const data = new Uint8Array(height * length * width)
  let at = 0
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      if (!kept[inColumns ? j : i]) continue
      const from = (i * columns + j) * width
      data.set(bytes.subarray(from, from + width), at)
      at += width
    }
  return { ...tensor, shape: [height, length], data }
}
