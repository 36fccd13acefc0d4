// Several adapters made into one LoRA adapter, by PEFT's rules for add_weighted_adapter, and any adapter of low-rank
// factors made into plain LoRA of another rank.

import { check, fail } from '../errors.ts'
import { uniformStream } from '../nn/init.ts'
import { checkOptions, SEED } from '../options.ts'
import { copyOf, scope } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import { attach } from './attach.ts'
import { isTable, layerAt } from './layers.ts'
import { type Matrix, matrix, productSvd, type Svd } from './linearAlgebra.ts'
import { lora } from './lora.ts'
import { modulesOf } from './method.ts'
import { namesThere } from './wholeModules.ts'

/** How factors are combined. */
export const COMBINATIONS = ['linear', 'cat', 'svd', 'ties', 'dare_linear', 'dare_ties', 'magnitude_prune'] as const

/** How adapters are combined; {@link CombineOptions.kind} says what each does. */
export type Combination = (typeof COMBINATIONS)[number]

/** How {@link combine} makes one adapter of several. */
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
  /** Draws what 'dare_…' drops. Default {@link SEED}. */
  seed?: number
  /** Name of the adapter whose head the new one takes, where several have one. */
  head?: string | undefined
  /** Of the adapter that is made. Default 'combined'. */
  name?: string
}

/** Factors of one layer, on the host. */
interface Factors extends Pair {
  readonly scale: number
  readonly weight: number
}

/** A combined adapter, and how far 'svd' is from the sum, in Frobenius norms by layer. */
export interface Combined {
  readonly adapter: Adapter
  /** ‖ΔW − ΔW_k‖ / ‖ΔW‖. */
  readonly errors: ReadonlyMap<string, number>
}

/** Factors B [out, r] and A [r, in] of a layer's change of weight. */
export interface Pair {
  readonly a: Matrix
  readonly b: Matrix
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
  checkOptions('combine', options, {
    kind: true,
    rank: true,
    density: true,
    sign: true,
    seed: true,
    head: true,
    name: true,
  })
  const { kind = 'cat', density = 0.5, seed = SEED, name = 'combined', sign = 'total' } = options
  check(adapters.length > 0, 'ERR_OPTION', () => 'combine: there is no adapter; name at least one')
  check(COMBINATIONS.includes(kind), 'ERR_OPTION', () => `kind: "${kind}" is none of ${COMBINATIONS.join(', ')}`)
  check(density > 0 && density <= 1, 'ERR_OPTION', () => `density: ${density}, expected above 0, at most 1`)
  const layers = await readFactors(adapters)
  const rank = options.rank ?? Math.max(...[...layers.values()].flat().map(({ a }) => a.rows))
  const errors = new Map<string, number>()
  const made = new Map<string, Pair>()
  for (const [path, parts] of layers) {
    if (kind === 'cat') made.set(path, stacked(parts))
    else if (kind === 'svd') {
      const { error, ...factors } = truncated(stacked(parts), rank)
      made.set(path, factors)
      errors.set(path, error)
    } else made.set(path, mixed(parts, { kind, density, sign, seed, path }))
  }
  return {
    adapter: attachFactors(
      adapters.map(({ adapter }) => adapter),
      made,
      name,
      options.head,
    ),
    errors,
  }
}

/** Plain LoRA of these factors, with scale 1, in place of what it was made of; one of the heads comes along. */
export function attachFactors(
  adapters: readonly Adapter[],
  made: ReadonlyMap<string, Pair>,
  name: string,
  head?: string,
): Adapter {
  const headed = headOf(adapters, head)
  const { host } = nth(adapters, 0)
  const named = headed && modulesOf(headed.method)
  const modulesToSave = named && namesThere(host, named)
  const r = nth([...made.values()], 0).a.rows
  const ties = adapters.map(({ method }) => method.options.ensureWeightTying === true)
  check(new Set(ties).size === 1, 'ERR_UNSUPPORTED', () => {
    return 'combine: some adapters tie the change of the word embeddings to the output layer, and others do not'
  })
  const method = lora({
    ...{ r, alpha: r, targetModules: [...made.keys()], ensureWeightTying: nth(ties, 0) },
    ...(modulesToSave && { modulesToSave }),
  })
  const adapter = attach(host, method, { name })
  for (const [path, { a, b }] of made) upload(adapter, path, a, b)
  const places = new Map(wholeOf(adapter).map(own => [own.name, own]))
  for (const from of headed ? wholeOf(headed) : []) {
    const own = places.get(from.name)
    if (!own) {
      adapter.detach()
      fail(
        'ERR_UNSUPPORTED',
        `combine: ${from.name} of "${must(headed, 'headed').name}" trains whole, and LoRA's file has no place for it`,
      )
    }
    own.replace(copyOf(from.tensor))
  }
  for (const each of adapters) each.setActive(false)
  return adapter
}

/** B A in the factors of a layer. Zero is B = 0 beside the A of the start: a file holds no A that was never set. */
function upload(adapter: Adapter, path: string, a: Matrix, b: Matrix): void {
  if (a.data.every(x => x === 0)) return
  const layer = layerAt(adapter.host, path)
  const nameOf = (which: string) => (layer && isTable(layer) ? `lora_embedding_${which}` : `lora_${which}.weight`)
  for (const [which, { data }] of Object.entries({ A: a, B: b }))
    must(
      adapter.trainable.find(p => p.name === `${path}.${nameOf(which)}`),
      'match',
    ).tensor.upload(data)
}

/** The adapter whose head is taken. @throws ERR_UNSUPPORTED where it is not clear, ERR_OPTION where it has none */
function headOf(adapters: readonly Adapter[], wanted: string | undefined): Adapter | undefined {
  const headed = adapters.filter(adapter => wholeOf(adapter).length > 0)
  const names = headed.map(({ name }) => name).join(', ')
  if (wanted === undefined) {
    check(headed.length < 2, 'ERR_UNSUPPORTED', () => {
      return `combine: ${names} each have a head of their own, and one must be chosen; name it with head, headFrom on the command line`
    })
    return headed[0]
  }
  const found = headed.find(({ name }) => name === wanted)
  return (
    found ?? fail('ERR_OPTION', `head: no adapter "${wanted}" with a head is combined; ${names || 'none'} have one`)
  )
}

const wholeOf = (adapter: Adapter) => [...adapter.tensors()].flatMap(([, p]) => (p.base ? [p] : []))

/** The key of rows of single tokens that an adapter trains; undefined where it trains none. */
export const rowsIn = (adapter: Adapter) =>
  [...adapter.tensors()].find(([key]) => key.endsWith('trainable_tokens_delta'))?.[0]

/** @throws ERR_UNSUPPORTED for rows of single tokens, which LoRA's file would hold with all others */
export function checkNoRows(adapter: Adapter, what: string): void {
  const rows = rowsIn(adapter)
  check(rows === undefined, 'ERR_UNSUPPORTED', () => `${what}: ${rows} is rows of single tokens; merge it instead`)
}

/** The factors of every layer, one an adapter. @throws ERR_UNSUPPORTED for a method that has none alone */
export async function readFactors(
  adapters: readonly { adapter: Adapter; weight: number }[],
): Promise<Map<string, Factors[]>> {
  const layers = new Map<string, Factors[]>()
  for (const { adapter, weight } of adapters) {
    const { host, name } = adapter
    checkNoRows(adapter, 'combine')
    check(host === nth(adapters, 0).adapter.host, 'ERR_OPTION', () => `combine: "${name}" is on another model`)
    for (const { path } of adapter.matched) {
      const own = layerAt(host, path)?.adapters.find(each => each.name === name)
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
      const [ma, mb] = [matrix(nth(found.ra, 0), nth(found.ra, 1), a), matrix(nth(found.rb, 0), nth(found.rb, 1), b)]
      layers.set(path, [...(layers.get(path) ?? []), { a: ma, b: mb, scale: found.scale, weight }])
    }
  }
  check(layers.size > 0, 'ERR_UNSUPPORTED', () => {
    const titles = adapters.map(({ adapter }) => adapter.method.kind.title)
    return `combine: ${[...new Set(titles)].join(' and ')} changes no weight of a linear layer; there is nothing to combine`
  })
  return layers
}

/** [w s A] and [B] one after the other: the weighted sum of the updates as it is. */
export function stacked(parts: readonly Factors[]): Pair {
  const r = parts.reduce((sum, { a }) => sum + a.rows, 0)
  const [ins, outs] = [nth(parts, 0).a.columns, nth(parts, 0).b.rows]
  const [a, b] = [new Float64Array(r * ins), new Float64Array(outs * r)]
  let at = 0
  for (const part of parts) {
    a.set(
      part.a.data.map(x => x * part.weight * part.scale),
      at * ins,
    )
    const { rows, columns, data } = part.b
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) b[i * r + at + j] = nth(data, i * columns + j)
    at += part.a.rows
  }
  return { a: matrix(r, ins, a), b: matrix(outs, r, b) }
}

/** The best approximation of B A at a rank, and what is lost. */
export function truncated({ a, b }: Pair, rank: number): Pair & { error: number } {
  const svd = productSvd(b, a)
  const normFrom = (from: number) => Math.hypot(...svd.values.subarray(from))
  const all = normFrom(0)
  return { ...largestFactors(svd, rank), error: all > 0 ? normFrom(rank) / all : 0 }
}

/** B = U S, A = Vᵀ of the largest `rank` singular values. */
export function largestFactors({ u, values, v }: Svd, rank: number): Pair {
  const [outs, ins] = [u.rows, v.rows]
  const [na, nb] = [new Float64Array(rank * ins), new Float64Array(outs * rank)]
  for (let k = 0; k < Math.min(rank, values.length); k++) {
    for (let j = 0; j < ins; j++) na[k * ins + j] = nth(v.data, j * v.columns + k)
    for (let i = 0; i < outs; i++) nb[i * rank + k] = nth(u.data, i * u.columns + k) * nth(values, k)
  }
  return { a: matrix(rank, ins, na), b: matrix(outs, rank, nb) }
}

interface Mixing {
  readonly kind: Combination
  readonly density: number
  readonly sign: 'total' | 'frequency'
  readonly seed: number
  readonly path: string
}

/** A and B each added up with weight ±√|w s|, the sign on A. */
function mixed(parts: readonly Factors[], mixing: Mixing): Pair {
  const [first] = parts
  check(
    parts.every(({ a }) => a.rows === must(first, 'first').a.rows),
    'ERR_OPTION',
    () => `combine: ${mixing.kind} of ranks ${parts.map(({ a }) => a.rows).join(' and ')}; take cat or svd`,
  )
  const weights = parts.map(({ weight, scale }) => weight * scale)
  const side = (which: 'a' | 'b') => {
    const data = parts.map((part, i) => pruned(part[which].data, mixing, `${which}${i}`))
    const roots = weights.map(w => (which === 'a' ? Math.sign(w) || 1 : 1) * Math.sqrt(Math.abs(w)))
    const { rows, columns } = must(first, 'first')[which]
    return matrix(rows, columns, /ties/.test(mixing.kind) ? elected(data, roots, mixing.sign) : added(data, roots))
  }
  return { a: side('a'), b: side('b') }
}

function added(parts: readonly Float64Array[], weights: readonly number[]): Float64Array {
  return nth(parts, 0).map((_, at) => parts.reduce((sum, part, i) => sum + nth(weights, i) * nth(part, at), 0))
}

/** The mean of the weighted values whose sign most agree with. */
function elected(parts: readonly Float64Array[], weights: readonly number[], by: 'total' | 'frequency'): Float64Array {
  return nth(parts, 0).map((_, at) => {
    const votes = parts.reduce((sum, part) => sum + (by === 'total' ? nth(part, at) : Math.sign(nth(part, at))), 0)
    const wanted = votes >= 0 ? 1 : -1
    const agreeing = parts.flatMap((part, i) =>
      Math.sign(nth(part, at)) === wanted ? [nth(weights, i) * nth(part, at)] : [],
    )
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
  const order = Array.from(data.keys()).sort((x, y) => Math.abs(nth(data, y)) - Math.abs(nth(data, x)))
  const stays = new Set(order.slice(0, kept))
  return data.map((x, at) => (stays.has(at) ? x : 0))
}
