// Several adapters made into one LoRA adapter, by PEFT's rules for add_weighted_adapter, and any adapter of low-rank
// factors made into plain LoRA of another rank.

import { check } from '../errors.ts'
import { uniformStream } from '../nn/init.ts'
import { scope } from '../tensor.ts'
import type { Adapter } from './adapter.ts'
import { attach } from './attach.ts'
import { type Matrix, matrix, productSvd } from './linearAlgebra.ts'
import { lora } from './lora.ts'
import { cast } from './merging.ts'

/** How factors are combined. */
export const COMBINATIONS = ['linear', 'cat', 'svd', 'ties', 'dare_linear', 'dare_ties', 'magnitude_prune'] as const
export type Combination = (typeof COMBINATIONS)[number]

export interface CombineOptions {
  /**
   * 'cat' is exact: the sum of the weighted updates, at the sum of the ranks. 'svd' is the best approximation of that
   * sum at `rank`. The others add up the factors, as PEFT does: cross terms come in, and ranks must be equal.
   */
  kind?: Combination
  /** Rank of 'svd'. Default: the largest of the adapters. */
  rank?: number
  /** Share of the elements that 'ties', 'dare_…' and 'magnitude_prune' keep. Default 0.5. */
  density?: number
  /** Sign of 'ties': of the sum, or of the majority. Default 'total'. */
  sign?: 'total' | 'frequency'
  /** Draws what 'dare_…' drops. Default 0. */
  seed?: number
  /** Of the adapter that is made. Default 'combined'. */
  name?: string
}

/** Factors of one layer, on the host. */
interface Factors {
  readonly a: Matrix
  readonly b: Matrix
  readonly scale: number
  readonly weight: number
}

/** A combined adapter, and how far 'svd' is from the sum: ‖ΔW − ΔW_k‖ / ‖ΔW‖ by layer. */
export interface Combined {
  readonly adapter: Adapter
  readonly errors: ReadonlyMap<string, number>
}

/**
 * Makes one adapter of several, on the same model; the others stay, and are switched off. Its scale is 1.
 * @throws ERR_OPTION for adapters of different layers, or of ranks that do not fit; ERR_UNSUPPORTED for one whose
 * update has no low-rank factors alone, or more than one with a head of its own, as PEFT
 */
export async function combine(
  adapters: readonly { adapter: Adapter; weight: number }[],
  options: CombineOptions = {},
): Promise<Combined> {
  const { kind = 'cat', density = 0.5, seed = 0, name = 'combined', sign = 'total' } = options
  check(adapters.length > 0, 'ERR_OPTION', () => 'combine: there is no adapter; name at least one')
  check(COMBINATIONS.includes(kind), 'ERR_OPTION', () => `kind: "${kind}" is none of ${COMBINATIONS.join(', ')}`)
  check(density > 0 && density <= 1, 'ERR_OPTION', () => `density: ${density}, expected above 0, at most 1`)
  const layers = await readFactors(adapters)
  const rank = options.rank ?? Math.max(...[...layers.values()].flat().map(({ a }) => a.rows))
  const errors = new Map<string, number>()
  const made = new Map<string, { a: Matrix; b: Matrix }>()
  for (const [path, parts] of layers) {
    if (kind === 'cat') made.set(path, stacked(parts))
    else if (kind === 'svd') {
      const { error, ...factors } = truncated(stacked(parts), rank)
      made.set(path, factors)
      errors.set(path, error)
    } else made.set(path, mixed(parts, { kind, density, sign, seed, path }))
  }
  return { adapter: attachFactors(adapters, made, name), errors }
}

/** How far two adapters are apart on a layer: Frobenius norms of their changes of its weight, and of the difference. */
export interface Distance {
  readonly first: number
  readonly second: number
  readonly difference: number
}

/** The distance of two adapters by layer; a layer that only one has counts as unchanged by the other. */
export async function distances(first: Adapter, second: Adapter): Promise<Map<string, Distance>> {
  const read = (...of: [Adapter, number][]) => readFactors(of.map(([adapter, weight]) => ({ adapter, weight })))
  const [own, other, both] = await Promise.all([read([first, 1]), read([second, 1]), read([first, 1], [second, -1])])
  const norm = (parts: readonly Factors[] | undefined) => {
    if (!parts) return 0
    const { a, b } = stacked(parts)
    return Math.hypot(...productSvd(b, a).values)
  }
  const found = [...both].map(([path, parts]) => {
    return [path, { first: norm(own.get(path)), second: norm(other.get(path)), difference: norm(parts) }] as const
  })
  return new Map(found)
}

function attachFactors(
  adapters: readonly { adapter: Adapter }[],
  made: ReadonlyMap<string, { a: Matrix; b: Matrix }>,
  name: string,
): Adapter {
  const { host } = adapters[0]!.adapter
  const r = [...made.values()][0]!.a.rows
  const headed = adapters.filter(({ adapter }) => wholeOf(adapter).length > 0)
  check(headed.length < 2, 'ERR_UNSUPPORTED', () => {
    const names = headed.map(({ adapter }) => adapter.name).join(', ')
    return `combine: ${names} each have a head of their own, and one must be chosen; combine adapters without heads`
  })
  const heads = headed.flatMap(({ adapter }) => wholeOf(adapter))
  const adapter = attach(host, lora({ r, alpha: r, targetModules: [...made.keys()] }), { name })
  for (const [path, { a, b }] of made)
    for (const [which, { data }] of [
      ['A', a],
      ['B', b],
    ] as const)
      adapter.trainable.find(p => p.name === `${path}.lora_${which}.weight`)!.tensor.upload(data)
  for (const own of wholeOf(adapter)) {
    const from = heads.find(each => each.name === own.name)
    if (from) own.replace(cast(from.tensor, from.tensor.dtype))
  }
  for (const each of adapters) each.adapter.setActive(false)
  return adapter
}

const wholeOf = (adapter: Adapter) => [...adapter.tensors()].flatMap(([, p]) => (p.base ? [p] : []))

async function readFactors(adapters: readonly { adapter: Adapter; weight: number }[]): Promise<Map<string, Factors[]>> {
  const layers = new Map<string, Factors[]>()
  for (const { adapter, weight } of adapters) {
    const { host, name } = adapter
    check(host === adapters[0]!.adapter.host, 'ERR_OPTION', () => `combine: "${name}" is on another model`)
    for (const { path } of adapter.matched) {
      const own = host.linears.get(path)?.adapters.find(each => each.name === name)
      const isPlain = own?.factors && !own.gain && !own.input && !own.output && own.params.length >= 1
      check(isPlain, 'ERR_UNSUPPORTED', () => {
        return `combine: ${adapter.method.kind.title} has no low-rank factors of ${path}; merge it instead`
      })
      // Reads are in the queue before the scope frees what they read.
      const found = scope(() => {
        const { a, b, scale } = own.factors!()
        const [ra, rb] = [a.shape, b.shape]
        return { reads: Promise.all([a.data(), b.data()]), scale, ra, rb }
      })
      const [a, b] = await found.reads
      const [ma, mb] = [matrix(found.ra[0]!, found.ra[1]!, a), matrix(found.rb[0]!, found.rb[1]!, b)]
      layers.set(path, [...(layers.get(path) ?? []), { a: ma, b: mb, scale: found.scale, weight }])
    }
  }
  return layers
}

/** [w s A] and [B] one after the other: the weighted sum of the updates as it is. */
function stacked(parts: readonly Factors[]): { a: Matrix; b: Matrix } {
  const r = parts.reduce((sum, { a }) => sum + a.rows, 0)
  const [ins, outs] = [parts[0]!.a.columns, parts[0]!.b.rows]
  const [a, b] = [new Float64Array(r * ins), new Float64Array(outs * r)]
  let at = 0
  for (const part of parts) {
    a.set(
      part.a.data.map(x => x * part.weight * part.scale),
      at * ins,
    )
    const { rows, columns, data } = part.b
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) b[i * r + at + j] = data[i * columns + j]!
    at += part.a.rows
  }
  return { a: matrix(r, ins, a), b: matrix(outs, r, b) }
}

/** B = U S, A = Vᵀ of the largest `rank` singular values, and what is lost. */
function truncated({ a, b }: { a: Matrix; b: Matrix }, rank: number): { a: Matrix; b: Matrix; error: number } {
  const { u, values, v } = productSvd(b, a)
  const squares = (from: number) => values.subarray(from).reduce((sum, s) => sum + s * s, 0)
  const [outs, ins] = [b.rows, a.columns]
  const [na, nb] = [new Float64Array(rank * ins), new Float64Array(outs * rank)]
  for (let k = 0; k < Math.min(rank, values.length); k++) {
    for (let j = 0; j < ins; j++) na[k * ins + j] = v.data[j * v.columns + k]!
    for (let i = 0; i < outs; i++) nb[i * rank + k] = u.data[i * u.columns + k]! * values[k]!
  }
  const total = squares(0)
  const error = total > 0 ? Math.sqrt(squares(rank) / total) : 0
  return { a: matrix(rank, ins, na), b: matrix(outs, rank, nb), error }
}

interface Mixing {
  readonly kind: Combination
  readonly density: number
  readonly sign: 'total' | 'frequency'
  readonly seed: number
  readonly path: string
}

/** A and B each added up with weight ±√|w s|, the sign on A. */
function mixed(parts: readonly Factors[], mixing: Mixing): { a: Matrix; b: Matrix } {
  const [first] = parts
  check(
    parts.every(({ a }) => a.rows === first!.a.rows),
    'ERR_OPTION',
    () => `combine: ${mixing.kind} of ranks ${parts.map(({ a }) => a.rows).join(' and ')}; take cat or svd`,
  )
  const weights = parts.map(({ weight, scale }) => weight * scale)
  const side = (which: 'a' | 'b') => {
    const data = parts.map((part, i) => pruned(part[which].data, mixing, `${which}${i}`))
    const roots = weights.map(w => (which === 'a' ? Math.sign(w) || 1 : 1) * Math.sqrt(Math.abs(w)))
    const { rows, columns } = first![which]
    return matrix(rows, columns, /ties/.test(mixing.kind) ? elected(data, roots, mixing.sign) : added(data, roots))
  }
  return { a: side('a'), b: side('b') }
}

function added(parts: readonly Float64Array[], weights: readonly number[]): Float64Array {
  return parts[0]!.map((_, at) => parts.reduce((sum, part, i) => sum + weights[i]! * part[at]!, 0))
}

/** The mean of the weighted values whose sign most agree with. */
function elected(parts: readonly Float64Array[], weights: readonly number[], by: 'total' | 'frequency'): Float64Array {
  return parts[0]!.map((_, at) => {
    const votes = parts.reduce((sum, part) => sum + (by === 'total' ? part[at]! : Math.sign(part[at]!)), 0)
    const wanted = votes >= 0 ? 1 : -1
    const agreeing = parts.flatMap((part, i) => (Math.sign(part[at]!) === wanted ? [weights[i]! * part[at]!] : []))
    return agreeing.reduce((sum, x) => sum + x, 0) / Math.max(1, agreeing.length)
  })
}

/** Without what `density` leaves out: the smallest, or for 'dare' a random part, with the rest scaled up. */
function pruned(data: Float64Array, { kind, density, seed, path }: Mixing, part: string): Float64Array {
  if (kind === 'linear' || density >= 1) return data
  if (kind.startsWith('dare')) {
    const next = uniformStream(seed, `${path}.${part}`)
    return data.map(x => (next() < density ? x / density : 0))
  }
  const kept = Math.trunc(density * data.length)
  const order = Array.from(data.keys()).sort((x, y) => Math.abs(data[y]!) - Math.abs(data[x]!))
  const stays = new Set(order.slice(0, kept))
  return data.map((x, at) => (stays.has(at) ? x : 0))
}
