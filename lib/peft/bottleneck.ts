// Bottleneck adapters: a narrow network at the sublayers, N(x) = s · up(act(down(x))), before a residual r is added.
//
// houlsby (Houlsby et al. 2019)   y' = y + N(y)              y: what the sublayer gives
// pfeiffer (Pfeiffer et al. 2021) y' = y + N(norm(y + r))    after feed-forward alone, norm: the layer's own
// parallel (He et al. 2022)       y' = y + N(r)              beside feed-forward alone

import { check } from '../errors.ts'
import { normal } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { ACTIVATIONS, type Activation, activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { layerNorm } from '../ops/layerNorm.ts'
import { linear } from '../ops/linear.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions, type TargetOptions, targetFields } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { targetLinears, trainedWhole } from './wholeModules.ts'

/** After which sublayers: attention and feed-forward, or feed-forward alone. */
export const PLACES = ['both', 'feedforward'] as const

/** What the network reads, and where it stands. */
export const FORMS = ['houlsby', 'pfeiffer', 'parallel'] as const

/** Options of {@link bottleneck}. */
export interface BottleneckOptions extends TargetOptions, SaveWholeOptions {
  /** Default 'houlsby'. */
  form?: (typeof FORMS)[number]
  /** Default 'both' for houlsby; 'feedforward' alone for the others. */
  sublayers?: (typeof PLACES)[number] | undefined
  /** Width of a layer over that of the bottleneck. Default 16. */
  reductionFactor?: number
  /** Default 'relu'. */
  nonLinearity?: Activation
  /** s. Default 1. */
  scaling?: number
}

const fields: readonly Field<keyof BottleneckOptions>[] = [
  {
    name: 'form',
    peft: 'form',
    kind: 'choice',
    default: 'houlsby',
    choices: FORMS,
    help: 'Networks that read what a sublayer gives, that after its norm, or what it reads',
  },
  {
    name: 'sublayers',
    peft: 'sublayers',
    kind: 'choice',
    choices: PLACES,
    found: 'both for houlsby, feedforward for the others',
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
  help: 'narrow networks at the sublayers',
  lr: 1e-3,
  fields,
  check: ({ form, sublayers }) => {
    check(form === 'houlsby' || sublayers !== 'both', 'ERR_OPTION', () => {
      return `sublayers: both, and ${form} stands at the feed-forward sublayer alone; take houlsby, or feedforward`
    })
  },
  place,
}

/** Bottleneck adapters; they begin with no effect. docs/methods.md. */
export function bottleneck(options: BottleneckOptions = {}): Method {
  return methodOfKind(BOTTLENECK, options)
}

function place(host: Host, options: Required<BottleneckOptions>, context: PlaceContext): Placement {
  const { form } = options
  const sublayers = options.sublayers ?? (form === 'houlsby' ? 'both' : 'feedforward')
  const targets = targetLinears(host, { ...options, ...targetsOf(host, { ...options, sublayers }) }, context)
  const readers = new Map<string, LinearAdapter>()
  const layers = new Map<string, LinearAdapter>()
  for (const target of targets) {
    const seen = form === 'houlsby' ? undefined : watched(host, target, context)
    if (seen) readers.set(seen.path, seen.adapter)
    layers.set(target.path, networkOn(host, target, options, context, seen?.residual))
  }
  const inOrder = [...host.linears.keys()].flatMap(path => {
    const found = layers.get(path) ?? readers.get(path)
    return found ? [[path, found] as const] : []
  })
  return {
    linear: new Map(inOrder),
    whole: trainedWhole(host, options, context, []),
    matched: targets.map(({ path }) => ({ path, text: `bottleneck of ${layers.get(path)?.params[0]?.shape[0]}` })),
    settings: () => ({ sublayers }),
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

/** Ends of the path of a layer's parts. */
const layerOf = (path: string) => /^.*?\.\d+(?=\.)/.exec(path)?.[0] ?? ''

/** Keeps what the feed-forward sublayer reads, its residual, until its last layer asks for it. */
function watched(host: Host, { path }: Linear, { name }: PlaceContext) {
  const after = host.family.sublayerEnds?.normedAfter
  const reader = `${layerOf(path)}.${after?.reads}`
  check(after && host.linears.has(reader), 'ERR_UNSUPPORTED', () => {
    return `form: ${host.config.modelType} hands no residual on to what follows ${path}, as encoders with norms after their sublayers do; take houlsby`
  })
  // Of several stretches of a batch (withRoutes) each is read before the first is asked for.
  const waiting: Tensor[] = []
  const adapter: LinearAdapter = {
    ...{ name, params: [], active: true },
    input: x => {
      waiting.push(x)
      return x
    },
  }
  const residual = (): Tensor => {
    const x = waiting.shift()
    check(x, 'ERR_UNSUPPORTED', () => `form: ${path} was computed without ${reader}`)
    return x
  }
  return { path: reader, adapter, residual }
}

function networkOn(
  host: Host,
  linearLayer: Linear,
  options: Required<BottleneckOptions>,
  context: PlaceContext,
  residual?: () => Tensor,
): LinearAdapter {
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
  const reads = inputOf(host, path, options.form, residual)
  return { name: context.name, params, active: true, output: y => add(y, network(reads(y))) }
}

/** What the network of a layer reads, given what the sublayer has given. */
function inputOf(
  host: Host,
  path: string,
  form: (typeof FORMS)[number],
  residual: (() => Tensor) | undefined,
): (y: Tensor) => Tensor {
  if (!residual) return y => y
  if (form === 'parallel') return residual
  const norm = `${layerOf(path)}.${host.family.sublayerEnds?.normedAfter?.norm}`
  const [weight, bias] = [host.parameters.get(`${norm}.weight`), host.parameters.get(`${norm}.bias`)]
  check(
    weight && bias,
    'ERR_UNSUPPORTED',
    () => `form: pfeiffer needs the norm ${norm}, which the model has not; take houlsby`,
  )
  const { layer_norm_eps: given } = host.config.values
  const eps = typeof given === 'number' ? given : 1e-12
  return y => layerNorm({ x: y, residual: residual(), weight: weight.tensor, bias: bias.tensor, eps })
}
