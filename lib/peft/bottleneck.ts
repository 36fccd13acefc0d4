// Bottleneck adapters (Houlsby et al. 2019): a narrow network after each sublayer, before its residual is added.
//
// y' = y + s · up(act(down(y)))

import { check } from '../errors.ts'
import { normal } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { ACTIVATIONS, type Activation, activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { linear } from '../ops/linear.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { nth, under } from '../tuple.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions, type TargetOptions, targetFields } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { targetsIn, trainedWhole } from './wholeModules.ts'

/** After which sublayers: attention and feed-forward, or feed-forward alone. */
export const PLACES = ['both', 'feedforward'] as const

/** Options of {@link bottleneck}. */
export interface BottleneckOptions extends TargetOptions, SaveWholeOptions {
  /** Default 'both'. */
  sublayers?: (typeof PLACES)[number]
  /** Width of a layer over that of the bottleneck. Default 16. */
  reductionFactor?: number
  /** Default 'relu'. */
  nonLinearity?: Activation
  /** s. Default 1. */
  scaling?: number
}

const fields: readonly Field<keyof BottleneckOptions>[] = [
  {
    name: 'sublayers',
    peft: 'sublayers',
    kind: 'choice',
    default: 'both',
    choices: PLACES,
    help: 'After attention and feed-forward, or feed-forward alone',
  },
  {
    name: 'reductionFactor',
    peft: 'reduction_factor',
    kind: 'number',
    default: 16,
    min: 1,
    help: 'Width of a layer over that of its bottleneck',
    search: { values: [4, 8, 16, 32, 64] },
  },
  {
    name: 'nonLinearity',
    peft: 'non_linearity',
    kind: 'choice',
    default: 'relu',
    choices: ACTIVATIONS,
    help: 'Activation of the bottleneck',
  },
  { name: 'scaling', peft: 'scaling', kind: 'number', default: 1, help: 'What the network adds is scaled by' },
  ...targetFields(() => undefined),
  SAVE_FIELD,
]

export const BOTTLENECK: MethodKind<BottleneckOptions> = {
  type: 'adapter',
  peftType: 'BOTTLENECK',
  title: 'bottleneck adapters',
  help: 'narrow networks after the sublayers',
  lr: 1e-3,
  fields,
  place,
}

/** Bottleneck adapters; they begin with no effect. docs/methods.md. */
export function bottleneck(options: BottleneckOptions = {}): Method {
  return methodOfKind(BOTTLENECK, options)
}

function place(host: Host, options: Required<BottleneckOptions>, context: PlaceContext): Placement {
  const targets = targetsIn(host, { ...options, ...targetsOf(host, options) }, context)
  const layers = new Map(targets.map(each => [each.path, networkOn(each, options, context)]))
  return {
    linear: layers,
    whole: trainedWhole(host, options, context, []),
    matched: targets.map(({ path }) => ({
      path,
      text: `bottleneck of ${nth(under(layers, path).params, 0).shape[0]}`,
    })),
    mayBeZero: ({ name }) => name.endsWith('.adapter_up.weight'),
  }
}

/** BERT's attention also ends in `output.dense`: it is left out where only feed-forward is meant. */
function targetsOf(host: Host, { targetModules, excludeModules, sublayers }: Required<BottleneckOptions>) {
  if (targetModules !== undefined) return {}
  const ends = host.family.sublayerEnds
  check(ends, 'ERR_OPTION', () => {
    return `targetModules: there is no default for "${host.config.modelType}"; name the last linear layer of each sublayer`
  })
  if (sublayers === 'both') return { targetModules: [ends.attention, ends.feedforward] }
  const isInside = ends.attention.endsWith(`.${ends.feedforward}`)
  return { targetModules: [ends.feedforward], ...(isInside && { excludeModules: excludeModules ?? [ends.attention] }) }
}

function networkOn(linearLayer: Linear, options: Required<BottleneckOptions>, context: PlaceContext): LinearAdapter {
  const { path, outFeatures } = linearLayer
  const { reductionFactor, nonLinearity, scaling } = options
  const narrow = Math.max(1, Math.floor(outFeatures / reductionFactor))
  const matrix = (name: string, shape: [number, number], std: number) =>
    context.parameter(`${path}.adapter_${name}.weight`, shape, (seed, full) => {
      return std === 0 ? new Float32Array(shape[0] * shape[1]) : normal(shape[0] * shape[1], std, seed, full)
    })
  const bias = (name: string, size: number) =>
    context.parameter(`${path}.adapter_${name}.bias`, [size], () => new Float32Array(size))
  const params = [
    matrix('down', [narrow, outFeatures], 0.02),
    bias('down', narrow),
    matrix('up', [outFeatures, narrow], 0),
    bias('up', outFeatures),
  ] as const
  const [down, downBias, up, upBias] = params
  const network = (x: Tensor) => {
    const wide = cast(x, down.tensor.dtype)
    const inner = activation(linear(wide, down.tensor, downBias.tensor), nonLinearity)
    return cast(scale(linear(inner, up.tensor, upBias.tensor), scaling), x.dtype)
  }
  return { name: context.name, params, active: true, output: y => add(y, network(y)) }
}
