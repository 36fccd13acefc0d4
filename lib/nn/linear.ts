import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { linear } from '../ops/linear.ts'
import { loraLinear } from '../ops/loraLinear.ts'
import { loraLinearGroup } from '../ops/loraLinearGroup.ts'
import type { Compute } from '../ops/matmul.ts'
import { type RopeInput, ropeOne } from '../ops/rope.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import type { Parameter } from './module.ts'

/** Low-rank factors beside a linear layer: a [r, in], b [out, r], scale alpha / r. */
export interface LowRank {
  /** The adapter this belongs to. */
  readonly name: string
  readonly a: Parameter
  readonly b: Parameter
  readonly scale: number
  readonly dropout: number
  readonly site: number
  /** Products at f32 accuracy beside bf16 and f16 activations. */
  readonly exact: boolean
  active: boolean
}

/** What any other PEFT method puts on a linear layer. */
export interface Adapter {
  readonly name: string
  readonly params: readonly Parameter[]
  active: boolean
  before?(x: Tensor): Tensor
  after?(y: Tensor, x: Tensor): Tensor
  /** The update of the weight [out, in], where there is one to merge. */
  delta?(): Tensor
}

/** y = x W^T + b, with a slot where PEFT methods attach: they never replace the layer. */
export class Linear {
  /** Hugging Face module path. */
  readonly path: string
  readonly weight: Parameter
  readonly bias: Parameter | undefined
  readonly compute: Compute
  readonly lowRank: LowRank[] = []
  readonly adapters: Adapter[] = []

  constructor(path: string, weight: Parameter, bias: Parameter | undefined, compute: Compute) {
    this.path = path
    this.weight = weight
    this.bias = bias
    this.compute = compute
  }

  get inFeatures(): number {
    return this.weight.shape[1]!
  }

  get outFeatures(): number {
    return this.weight.shape[0]!
  }

  /** Whether anything active sits on it. */
  get isAdapted(): boolean {
    return this.lowRank.some(factors => factors.active) || this.adapters.some(adapter => adapter.active)
  }

  /** x [N, in] → [N, out], turned by `rope`. One active pair of factors and no hooks: one fused op. */
  apply(x: Tensor, rope?: RopeInput): Tensor {
    const [first, ...more] = this.lowRank.filter(factors => factors.active)
    const hooks = this.adapters.filter(adapter => adapter.active)
    const input = hooks.reduce((t, hook) => hook.before?.(t) ?? t, x)
    const { weight, bias, compute } = this
    const last = more.length || hooks.some(hook => hook.after) ? rope : undefined // turns what is added up
    const atOnce = last ? undefined : rope
    const factors = first && { ...first, a: first.a.tensor, b: first.b.tensor }
    let y = factors
      ? loraLinear(input, weight.tensor, bias?.tensor, factors, compute, atOnce)
      : linear(input, weight.tensor, bias?.tensor, compute, atOnce)
    for (const other of more) y = add(y, lowRankPath(input, other, compute))
    y = hooks.reduce((t, hook) => hook.after?.(t, input) ?? t, y)
    return last ? ropeOne(y, last) : y
  }
}

function lowRankPath(x: Tensor, factors: LowRank, compute: Compute): Tensor {
  const down = linear(dropout(x, factors.dropout, factors.site), factors.a.tensor, undefined, compute)
  return scale(linear(down, factors.b.tensor, undefined, compute), factors.scale)
}

/**
 * Applies layers that share their input. Activations of half precision are a GPU's (or the plan for one): there, layers
 * with one active pair of factors each and no hooks are one op, whose passes over x serve all. In f32 they stay
 * separate calls: the CPU would gain nothing, and add the layers' dx in another order. `turn`: those of the layers
 * whose rows a rope turns, query and key.
 */
export function linearGroup(
  layers: readonly Linear[],
  x: Tensor,
  turn?: { rope: RopeInput; layers: readonly Linear[] },
): Tensor[] {
  const half = x.dtype === 'bf16' || x.dtype === 'f16'
  const compute = layers[0]?.compute
  const pairs = layers.map(layer => (layer.compute === compute ? onlyFactors(layer) : undefined))
  if (!half || layers.length < 2 || layers.length > MOST_IN_GROUP || pairs.includes(undefined))
    return layers.map(layer => layer.apply(x, turn?.layers.includes(layer) ? turn.rope : undefined))
  const group = layers.map((layer, i) => {
    const { weight, bias } = layer
    const pair = pairs[i]!
    const factors = { ...pair, a: pair.a.tensor, b: pair.b.tensor }
    return { weight: weight.tensor, bias: bias?.tensor, factors, turned: turn?.layers.includes(layer) ?? false }
  })
  return loraLinearGroup(x, group, compute, turn?.rope)
}

const MOST_IN_GROUP = 3

/** The one active pair of factors of a layer on which nothing else is active. */
function onlyFactors({ lowRank, adapters }: Linear): LowRank | undefined {
  const [pair, ...more] = lowRank.filter(factors => factors.active)
  return more.length || adapters.some(adapter => adapter.active) ? undefined : pair
}
