// VeRA (Kopiczko et al. 2024): one pair of frozen random matrices for all layers, and two trained vectors a layer.
//
// y = x Wᵀ + b + λb ⊙ (B (λd ⊙ (A drop(x)))): low-rank factors A[:, :in] and diag(λb) B[:out] diag(λd).

import { concatRows } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import { uniform } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { scaleColumns } from '../ops/multiply.ts'
import { keepOf, site } from '../ops/random.ts'
import { reshape, scaleRows } from '../ops/scaleRows.ts'
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
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { defaultTargets } from './targets.ts'
import { BIAS_FIELD, type Bias, targetLinears, trainedWhole } from './wholeModules.ts'

/** Options of {@link vera}. */
export interface VeraOptions extends Pick<TargetOptions, 'targetModules'>, LayerOptions, SaveWholeOptions {
  /** Rank of the shared pair. Default 256. */
  r?: number
  /** Start of λd. Default 0.1. */
  dInitial?: number
  /** Probability of dropping an input of the update. Default 0. */
  dropout?: number
  bias?: Bias
}

const fields: readonly Field<keyof VeraOptions>[] = [
  {
    name: 'r',
    peft: 'r',
    kind: 'integer',
    default: 256,
    min: 1,
    help: 'Rank of the shared pair',
    search: { values: [64, 128, 256, 512] },
  },
  {
    name: 'dInitial',
    peft: 'd_initial',
    kind: 'number',
    default: 0.1,
    isFloat: true,
    help: 'Start of the vector between the shared matrices',
  },
  dropoutField('vera_dropout', 'Dropout on the input of the update'),
  ...targetFields(defaultTargets).filter((field): field is Field<'targetModules'> => field.name === 'targetModules'),
  ...LAYER_FIELDS,
  SAVE_FIELD,
  BIAS_FIELD,
]

export const VERA: MethodKind<VeraOptions> = {
  type: 'vera',
  peftType: 'VERA',
  title: 'VeRA',
  help: 'two vectors a layer beside one frozen random pair for all',
  lr: 5e-3,
  fields,
  keys: { fan_in_fan_out: false, init_weights: true, projection_prng_key: 0 },
  // Without them the pair would have to come from PyTorch's generator.
  notBuilt: { save_projection: true },
  check: ({ dropout }) => void keepOf(dropout),
  place,
}

/** VeRA; the pair is saved with the vectors, so that any program can load them. docs/methods.md. */
export function vera(options: VeraOptions = {}): Method {
  return methodOfKind(VERA, options)
}

function place(host: Host, options: Required<VeraOptions>, context: PlaceContext): Placement {
  const targets = targetLinears(host, options, context)
  const { r } = options
  const most = (side: 'inFeatures' | 'outFeatures') => Math.max(...targets.map(each => each[side]))
  const [ins, outs] = [most('inFeatures'), most('outFeatures')]
  const pair = {
    a: context.parameter('vera_A', [r, ins], (seed, name) => uniform(r * ins, Math.sqrt(6 / ins), seed, name)),
    b: context.parameter('vera_B', [outs, r], (seed, name) => uniform(outs * r, Math.sqrt(6 / r), seed, name)),
  }
  const narrow = narrowed(pair.a, context)
  return {
    linear: new Map(targets.map(each => [each.path, vectorsOn(each, pair.b, narrow, options, context)])),
    frozen: [pair.a, pair.b],
    whole: trainedWhole(host, options, context, targets),
    matched: targets.map(({ path }) => ({ path, text: `r ${r}`, r, scale: 1 })),
    keyOf: parameter => (Object.values(pair).includes(parameter) ? `base_model.${parameter.name}` : undefined),
  }
}

function vectorsOn(
  linear: Linear,
  shared: Parameter,
  narrow: (columns: number) => Parameter,
  options: Required<VeraOptions>,
  context: PlaceContext,
): LinearAdapter {
  const { path, inFeatures, outFeatures } = linear
  const { r, dInitial } = options
  const vector = (name: string, size: number, start: number) =>
    context.parameter(`${path}.vera_lambda_${name}`, [size], () => new Float32Array(size).fill(start))
  const [b, d] = [vector('b', outFeatures, 0), vector('d', r, dInitial)]
  const fixed = { scale: 1, dropout: options.dropout, site: site(path, 'vera') }
  return {
    name: context.name,
    params: [b, d],
    active: true,
    factors: () => {
      const rows = shared.tensor.view(0, [outFeatures, r])
      return {
        a: narrow(inFeatures).tensor,
        b: scaleRows(scaleColumns(rows, reshape(d.tensor, [r])), b.tensor),
        ...fixed,
      }
    },
  }
}

/** A[:, :columns], made when it is first asked for: until then A may still wait for the values of a file. */
function narrowed(a: Parameter, context: PlaceContext): (columns: number) => Parameter {
  const made = new Map<number, Parameter>()
  return columns => {
    const { rows: r, columns: all } = a
    check(columns <= all, 'ERR_SHAPE', () => `vera_A: has ${all} columns, a layer takes ${columns} inputs`)
    if (columns === all) return a
    const found = made.get(columns)
    if (found) return found
    const rows = Array.from({ length: r }, (_, i) => a.tensor.view(i * all, [1, columns]))
    const own = context.constant([r, columns], () => concatRows(rows))
    made.set(columns, own)
    return own
  }
}
