import { type Activation, activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { dropout } from '../ops/dropout.ts'
import { sharesPasses } from '../ops/factors.ts'
import { linear } from '../ops/linear.ts'
import { type LowRankFactors, loraLinear } from '../ops/loraLinear.ts'
import { loraLinearGroup } from '../ops/loraLinearGroup.ts'
import { loraLinearRows, type RowGroup, sharesRows } from '../ops/loraLinearRows.ts'
import type { Compute } from '../ops/matmul.ts'
import { scaleColumns } from '../ops/multiply.ts'
import { type RopeInput, ropeOne } from '../ops/rope.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'
import { splitColumns } from './columns.ts'
import { isQuantized, type Parameter } from './module.ts'
import { byRoute, isUndecided, type Route, routedAdapter, undecidedRoutes } from './routes.ts'

/**
 * What an adapter puts on a linear layer. With factors alone the layer stays one fused op. What is computed:
 * z = input(x) Wᵀ + factors;  y = output(gain ⊙ z + b, input(x)).
 */
export interface LinearAdapter {
  /** The adapter this belongs to. */
  readonly name: string
  readonly params: readonly Parameter[]
  /** Whether it counts for rows that have no route. */
  active: boolean
  /** In place of the layer's input x [N, in]. */
  input?(x: Tensor): Tensor
  /** Factors of the update s · drop(x) Aᵀ Bᵀ; they may be made on the tape. */
  factors?(): LowRankFactors
  /** [out], multiplies weight and update before the bias. */
  gain?(linear: Linear): Tensor
  /** In place of the layer's output y [N, out]. */
  output?(y: Tensor, x: Tensor): Tensor
  /** Its change is that of a layer with the same weight, tied to this one: merging adds it there. */
  readonly follows?: true
  /**
   * What merging adds to `weight` [out, in], wide enough to train, and to the bias. Default: s B A, where there are
   * factors and nothing else.
   */
  delta?(weight: Tensor, bias: Tensor | undefined, linear: Linear): { weight: Tensor; bias?: Tensor | undefined }
}

/** Adapters that count for the rows that are being computed: the one their route names, else those switched on. */
export function currentOf(adapters: readonly LinearAdapter[]): LinearAdapter[] {
  const routed = routedAdapter()
  return adapters.filter(({ name, active }) => (routed === undefined ? active : name === routed))
}

/** y = x W^T + b, with a slot where adapters attach: they never replace the layer. */
export class Linear {
  /** Hugging Face module path. */
  readonly path: string
  /** Shared with the word embeddings by a tied output layer, until that is untied. */
  weight: Parameter
  readonly bias: Parameter | undefined
  readonly compute: Compute
  readonly adapters: LinearAdapter[] = []

  constructor(path: string, weight: Parameter, bias: Parameter | undefined, compute: Compute) {
    this.path = path
    this.weight = weight
    this.bias = bias
    this.compute = compute
  }

  get inFeatures(): number {
    return this.weight.columns
  }

  get outFeatures(): number {
    return this.weight.rows
  }

  /** The adapters of the rows that are being computed. */
  get current(): LinearAdapter[] {
    return currentOf(this.adapters)
  }

  /** Whether anything active sits on it. */
  get isAdapted(): boolean {
    return isUndecided() ? this.adapters.length > 0 : this.current.length > 0
  }

  /** Whether files hold its weight as [in, out]: PEFT's fan_in_fan_out. */
  get fanInFanOut(): boolean {
    return this.weight.isTransposed
  }

  /**
   * Outputs [N, h] for heights h of consecutive rows of the weight: query, key and value of a fused layer. `rotation`:
   * the rope of some of them. Without adapters, or with one of factors alone, each is a product of its own.
   */
  applyParts<const P extends readonly number[]>(
    x: Tensor,
    heights: P,
    rotation?: { rope: RopeInput; parts: readonly number[] },
  ): Each<P, Tensor> {
    const { weight, bias, compute, inFeatures } = this
    const ropeOf = (i: number) => (rotation?.parts.includes(i) ? rotation.rope : undefined)
    const adapter = isUndecided() ? undefined : onlyFactors(this)
    if (isQuantized(weight.own.dtype) || isUndecided() || (this.isAdapted && !adapter))
      return mapTuple(splitColumns(this.apply(x), heights), (y, i) => {
        const own = ropeOf(i)
        return own ? ropeOne(y, own) : y
      })
    const factors = adapter?.factors?.()
    let end = 0
    return mapTuple(heights, (height, i) => {
      const row = end
      end += height
      const w = weight.tensor.view(row * inFeatures, [height, inFeatures])
      const shift = bias?.tensor.view(row, [height])
      if (!factors) return linear(x, w, shift, compute, ropeOf(i))
      const r = factors.b.columns
      return loraLinear(x, w, shift, { ...factors, b: factors.b.view(row * r, [height, r]) }, compute, ropeOf(i))
    })
  }

  /** x [N, in] → [N, out], turned by `rope`. One active adapter of factors alone: one fused op. */
  apply(x: Tensor, rope?: RopeInput): Tensor {
    const isPlain = this.adapters.length === 0 && !this.weight.isCovered && !this.bias?.isCovered
    if (isPlain || !isUndecided()) return this.#through(x, this.current, rope)
    const groups = this.#rowGroups(undecidedRoutes(x.rows))
    if (groups) return loraLinearRows(x, this.weight.tensor, this.bias?.tensor, groups, this.compute, rope)
    return byRoute([x], ([part], begin) => this.#through(part, this.current, rope && ofRows(rope, begin, part)))
  }

  /** The activation function of {@link apply}; one op where it is half precision and one adapter of factors alone. */
  activated(x: Tensor, kind: Activation): Tensor {
    const adapter = sharesPasses(x) && !isUndecided() ? onlyFactors(this) : undefined
    if (!adapter) return activation(this.apply(x), kind)
    const layer = { weight: this.weight.tensor, bias: this.bias?.tensor, factors: must(adapter.factors?.(), 'factors') }
    return loraLinearGroup(x, [layer] as const, this.compute, undefined, kind)[0]
  }

  #through(x: Tensor, adapters: readonly LinearAdapter[], rope?: RopeInput): Tensor {
    if (adapters.length === 0 || isOnlyFactors(adapters)) return this.#product(x, adapters[0]?.factors?.(), true, rope)
    const input = adapters.reduce((t, each) => each.input?.(t) ?? t, x)
    const gains = adapters.filter(each => each.gain)
    const factors = adapters.flatMap(each => (each.factors && !each.gain ? [each.factors()] : []))
    const isFused = gains.length === 0 && factors.length < 2
    const last = isFused && !adapters.some(each => each.output) ? undefined : rope // turns what is added up
    const atOnce = last ? undefined : rope
    let y = gains.length > 0 ? this.#scaled(input, gains) : this.#product(input, factors[0], true, atOnce)
    for (const other of gains.length > 0 ? factors : factors.slice(1)) y = add(y, this.#update(input, other))
    y = adapters.reduce((t, each) => each.output?.(t, input) ?? t, y)
    return last ? ropeOne(y, last) : y
  }

  /** The factors of each route, where one op serves all: nothing but factors sits on it, and they share dropout. */
  #rowGroups(routes: readonly Route[]): RowGroup[] | undefined {
    if (this.weight.isCovered || this.bias?.isCovered) return undefined
    const groups = routes.map(({ adapter, rows }) => ({ rows, own: this.adapters.filter(a => a.name === adapter) }))
    if (groups.some(({ own }) => own.length > 0 && !isOnlyFactors(own))) return undefined
    const found = groups.map(({ rows, own }) => ({ rows, factors: own[0]?.factors?.() }))
    return sharesRows(found, this.weight.tensor.device) ? found : undefined
  }

  #product(x: Tensor, factors: LowRankFactors | undefined, withBias: boolean, rope?: RopeInput): Tensor {
    const { weight, compute } = this
    const bias = withBias ? this.bias?.tensor : undefined
    return factors
      ? loraLinear(x, weight.tensor, bias, factors, compute, rope)
      : linear(x, weight.tensor, bias, compute, rope)
  }

  /** Σ gain ⊙ (x Wᵀ + its update) + b. Each gain is of the weight alone: several add up their differences to it. */
  #scaled(x: Tensor, gains: readonly LinearAdapter[]): Tensor {
    const bias = this.bias?.tensor
    const each = gains.map((adapter, i) => {
      const own = i === 0 ? bias : undefined
      return scaleColumns(this.#product(x, adapter.factors?.(), false), adapter.gain!(this), own)
    })
    const y = each.reduce((sum, other) => add(sum, other))
    return each.length > 1 ? add(y, scale(this.#product(x, undefined, false), 1 - each.length)) : y
  }

  /** s · drop(x) Aᵀ Bᵀ for factors beside others. */
  #update(x: Tensor, factors: LowRankFactors): Tensor {
    const { a, b, exact = true } = factors
    const isExact = exact || x.dtype === a.dtype // as in the fused op
    const wide = isExact ? cast(x, a.dtype) : x
    const compute = isExact ? 'f32' : this.compute
    const down = linear(dropout(wide, factors.dropout, factors.site), a, undefined, compute)
    return cast(scale(linear(down, b, undefined, compute), factors.scale), x.dtype)
  }
}

/** The part of a rope that turns the rows of `part`, which begin at row `begin`. */
function ofRows(rope: RopeInput, begin: number, part: Tensor): RopeInput {
  return { ...rope, positions: rope.positions.view(begin, [part.rows]) }
}

/**
 * Applies layers that share their input. Where a GPU's kernels can share passes over x, layers with one active pair of
 * factors each and nothing else are one op. Else they stay separate calls: the CPU would gain nothing, and add the
 * layers' dx in another order. `rotation`: those of the layers whose rows a rope turns, query and key.
 */
export function linearGroup<const L extends readonly Linear[]>(
  layers: L,
  x: Tensor,
  rotation?: { rope: RopeInput; layers: readonly Linear[] },
): Each<L, Tensor> {
  const group = groupOf(layers, x)
  if (!group)
    return mapTuple(layers, layer => layer.apply(x, rotation?.layers.includes(layer) ? rotation.rope : undefined))
  const parts = mapTuple(layers, (layer, i) => {
    const factors = nth(group, i)
    const rotated = rotation?.layers.includes(layer) ?? false
    return { weight: layer.weight.tensor, bias: layer.bias?.tensor, factors, rotated }
  })
  return loraLinearGroup(x, parts, nth(layers, 0).compute, rotation?.rope)
}

const MOST_IN_GROUP = 3

/** The factors of each layer, where one op can serve them all: it has one accuracy for all its products. */
function groupOf(layers: readonly Linear[], x: Tensor): LowRankFactors[] | undefined {
  const [first] = layers
  if (!sharesPasses(x) || layers.length < 2 || layers.length > MOST_IN_GROUP || isUndecided()) return undefined
  const alone = layers.flatMap(layer => onlyFactors(layer) ?? [])
  if (alone.length < layers.length || layers.some(({ compute }) => compute !== must(first, 'first').compute))
    return undefined
  const factors = alone.flatMap(each => each.factors?.() ?? [])
  return factors.every(({ exact = true }) => exact === (nth(factors, 0).exact ?? true)) ? factors : undefined
}

/** The one current adapter of a layer that has factors and nothing else. */
function onlyFactors({ current }: Linear): LinearAdapter | undefined {
  return isOnlyFactors(current) ? current[0] : undefined
}

function isOnlyFactors(adapters: readonly LinearAdapter[]): boolean {
  const [adapter] = adapters
  return adapters.length === 1 && adapter?.factors !== undefined && !adapter.input && !adapter.gain && !adapter.output
}
