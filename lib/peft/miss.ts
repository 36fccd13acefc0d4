// MiSS (Kang and Yin 2024): inputs are summed in groups, and one trained block maps the sums to the output.
//
// y = x Wᵀ + b + (Σ over groups of r inputs) D, D [r, out]: low-rank factors of which A is fixed, A[j, i] = 1 where
// i mod r = j, and B = Dᵀ.

import { check } from '../errors.ts'
import { uniform } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { transpose } from '../ops/matmul.ts'
import { keepOf, site } from '../ops/random.ts'
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

/** Options of {@link miss}. */
export interface MissOptions extends TargetOptions, LayerOptions, SaveWholeOptions {
  /** Rows of the block: the rank of the update. Default 64. */
  r?: number
  /** Probability of dropping an input of the update. Default 0. */
  dropout?: number
  bias?: Bias
  /** true: a block of zeros; false: random. Default true. */
  initWeights?: boolean
}

const fields: readonly Field<keyof MissOptions>[] = [
  {
    name: 'r',
    peft: 'r',
    kind: 'integer',
    default: 64,
    min: 1,
    help: 'Rank of the update',
    search: { values: [16, 32, 64, 128] },
  },
  dropoutField('miss_dropout', 'Dropout on the input of the update'),
  ...targetFields(defaultTargets),
  ...LAYER_FIELDS,
  SAVE_FIELD,
  BIAS_FIELD,
  {
    name: 'initWeights',
    peft: 'init_weights',
    kind: 'choice',
    default: true,
    choices: [true, false],
    help: 'Start with a block of zeros',
  },
]

export const MISS: MethodKind<MissOptions> = {
  type: 'miss',
  peftType: 'MISS',
  title: 'MiSS',
  help: 'one block a layer over grouped inputs',
  lr: 5e-4,
  fields,
  keys: { mini_r: 1 },
  check: ({ dropout }) => void keepOf(dropout),
  place,
}

/** MiSS in its standard form; the "bat" and "mini" forms are not built. docs/methods.md. */
export function miss(options: MissOptions = {}): Method {
  return methodOfKind(MISS, options)
}

function place(host: Host, options: Required<MissOptions>, context: PlaceContext): Placement {
  const targets = targetLinears(host, options, context)
  return {
    linear: new Map(targets.map(each => [each.path, blockOn(each, options, context)])),
    whole: trainedWhole(host, options, context, targets),
    matched: targets.map(({ path }) => ({ path, text: `r ${options.r}`, r: options.r, scale: 1 })),
    mayBeZero: ({ name }) => name.endsWith('.miss_block'),
  }
}

function blockOn(linear: Linear, options: Required<MissOptions>, context: PlaceContext): LinearAdapter {
  const { path, inFeatures, outFeatures } = linear
  const { r } = options
  check(r <= inFeatures, 'ERR_OPTION', () => {
    return `r: ${r} is above ${inFeatures}, the inputs of ${path}; take at most ${inFeatures}`
  })
  const block = context.parameter(`${path}.miss_block`, [r, outFeatures], (seed, name) => {
    const size = r * outFeatures
    return options.initWeights ? new Float32Array(size) : uniform(size, 1 / Math.sqrt(r), seed, name)
  })
  const groups = context.constant([r, inFeatures], () => {
    return Float32Array.from({ length: r * inFeatures }, (_, at) => {
      return Number((at % inFeatures) % r === Math.floor(at / inFeatures))
    })
  })
  const fixed = { scale: 1, dropout: options.dropout, site: site(path, 'miss') }
  return {
    name: context.name,
    params: [block],
    active: true,
    factors: () => ({ a: groups.tensor, b: transpose(block.tensor), ...fixed }),
  }
}
