// Updates in the form of a singular value decomposition, U diag(σ) Vᵀ with σ trained: AdaLoRA at a fixed rank.

import { isOneOf, must } from '../tuple.ts'
import { ADALORA, type AdaLoraOptions, adaLoraFields, placeAdaLora } from './adalora.ts'
import type { Field } from './fields.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'

/** Options of AdaLoRA that set its budget. */
const BUDGET = ['initR', 'targetR', 'tinit', 'tfinal', 'deltaT', 'sensitivityDecay', 'uncertaintyDecay'] as const

/** Options of {@link svd}: those of AdaLoRA without a budget of ranks. */
export interface SvdOptions extends Omit<AdaLoraOptions, (typeof BUDGET)[number]> {
  /** Rank of the update. Default 8. */
  r?: number
}

const isKept = (field: Field): field is Field<Exclude<keyof SvdOptions, 'r'>> => !isOneOf(BUDGET, field.name)

const rank: Field<keyof SvdOptions> = {
  name: 'r',
  kind: 'integer',
  default: 8,
  min: 1,
  help: 'Rank of the update',
  search: { values: [2, 4, 8, 16] },
}

export const SVD: MethodKind<SvdOptions> = {
  type: 'svd',
  peftType: 'ADALORA',
  title: 'SVD',
  help: 'singular values and near-orthogonal vectors of the update, at a fixed rank',
  lr: 1e-3,
  fields: [rank, ...adaLoraFields.filter(isKept)],
  keys: { ...must(ADALORA.keys, 'keys'), tinit: 0, tfinal: 0, deltaT: 1, beta1: 0.85, beta2: 0.85 },
  // PEFT's file has both ranks; a budget that ends where it begins cuts nothing.
  extraKeys: ({ r }) => ({ init_r: r, target_r: r }),
  ...(ADALORA.notBuilt && { notBuilt: ADALORA.notBuilt }),
  check: options => ADALORA.check!(asAdaLora(options)),
  place: (host, options, context) => placeAdaLora(host, asAdaLora(options), context),
}

/** U diag(σ) Vᵀ at a fixed rank, in AdaLoRA's file. docs/methods.md. */
export function svd(options: SvdOptions = {}): Method {
  return methodOfKind(SVD, options)
}

function asAdaLora(options: Required<SvdOptions>): Required<AdaLoraOptions> {
  const { r, ...rest } = options
  return {
    ...rest,
    initR: r,
    targetR: r,
    tinit: 0,
    tfinal: 0,
    deltaT: 1,
    sensitivityDecay: 0.85,
    uncertaintyDecay: 0.85,
  }
}
