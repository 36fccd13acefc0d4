// adapter_config.json of AdapterHub (the Python library `adapters` 1.x) for bottleneck adapters.

import { check, fail, nearest } from '../errors.ts'
import { isObject, type PyObject, pyFloat, shown } from '../io/json.ts'
import type { Activation } from '../ops/activation.ts'
import { keysOf } from '../tuple.ts'
import { plain } from './fields.ts'

/** Settings of AdapterHub that change what an adapter computes, with the values that are built. */
const BUILT: PyObject = {
  adapter_residual_before_ln: false,
  cross_adapter: false,
  dropout: 0,
  inv_adapter: null,
  leave_out: [],
  ln_after: false,
  ln_before: false,
  original_ln_after: true,
  output_adapter: true,
  phm_layer: false,
  residual_before_ln: true,
  stochastic_depth: 0,
  use_gating: false,
}

/** Settings without effect beside those. */
const IDLE: PyObject = {
  factorized_phm_W: true,
  factorized_phm_rule: false,
  hypercomplex_nonlinearity: 'glorot-uniform',
  init_weights: 'bert',
  init_weights_seed: null,
  inv_adapter_reduction_factor: null,
  learn_phm: true,
  phm_bias: true,
  phm_c_init: 'normal',
  phm_dim: 4,
  phm_init_range: pyFloat(0.0001),
  phm_rank: 1,
  shared_W_phm: false,
  shared_phm_rule: true,
}

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  relu: 'relu',
  tanh: 'tanh',
  swish: 'silu',
  silu: 'silu',
  gelu: 'gelu',
  gelu_new: 'geluTanh',
}

/** Whether a config is AdapterHub's. */
export const isHubConfig = (values: PyObject): values is PyObject & { config: PyObject } => {
  return values.peft_type === undefined && isObject(values.config) && typeof values.model_type === 'string'
}

/** The config of our own layout that says the same. @throws ERR_UNSUPPORTED for what is not built */
export function valuesOfHub(
  path: string,
  { config, model_name, model_type }: PyObject & { config: PyObject },
): PyObject {
  for (const [key, built] of Object.entries(BUILT)) {
    const value = plain(config[key] ?? built)
    check(JSON.stringify(value) === JSON.stringify(built), 'ERR_UNSUPPORTED', () => {
      return `${path}: ${key} is ${shown(config[key])}, which is not built; only ${shown(built)} is`
    })
  }
  const name = String(config.non_linearity ?? 'relu')
  const activation = ACTIVATIONS[name.toLowerCase()]
  check(activation, 'ERR_UNSUPPORTED', () => {
    return `${path}: non_linearity is "${name}"${nearest(name, keysOf(ACTIVATIONS))}; ${keysOf(ACTIVATIONS).join(', ')} are built`
  })
  const form = config.is_parallel === true ? 'parallel' : config.original_ln_before === true ? 'pfeiffer' : 'houlsby'
  const both = config.mh_adapter === true
  check(form === 'houlsby' || !both, 'ERR_UNSUPPORTED', () => {
    return `${path}: mh_adapter is true in an adapter of ${form}'s form, which is built at the feed-forward sublayer alone`
  })
  return {
    peft_type: 'BOTTLENECK',
    form,
    sublayers: both ? 'both' : 'feedforward',
    reduction_factor: config.reduction_factor ?? 16,
    non_linearity: activation,
    scaling: config.scaling ?? 1,
    task_type: null,
    base_model_name_or_path: typeof model_name === 'string' ? model_name : null,
    auto_mapping: { parent_library: `transformers.models.${String(model_type)}.` },
  }
}

/** What a bottleneck adapter is made of. */
export interface AdapterHubSettings {
  readonly form: 'houlsby' | 'pfeiffer' | 'parallel'
  readonly sublayers: 'both' | 'feedforward'
  readonly reductionFactor: number
  readonly nonLinearity: Activation
  readonly scaling: number
}

/** AdapterHub's `config` of it. */
export function hubConfig({ form, sublayers, reductionFactor, nonLinearity, scaling }: AdapterHubSettings): PyObject {
  const name = keysOf(ACTIVATIONS).find(each => ACTIVATIONS[each] === nonLinearity)
  const record: PyObject = {
    ...{ ...BUILT, ...IDLE, dropout: pyFloat(0), stochastic_depth: pyFloat(0) },
    is_parallel: form === 'parallel',
    mh_adapter: sublayers === 'both',
    non_linearity: name ?? fail('ERR_UNSUPPORTED', `nonLinearity: AdapterHub has no name for ${nonLinearity}`),
    original_ln_before: form === 'pfeiffer',
    reduction_factor: reductionFactor,
    scaling: pyFloat(scaling),
  }
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
}
