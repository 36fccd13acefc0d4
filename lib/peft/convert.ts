// Any adapter that changes weights as plain LoRA, and how far two adapters are apart.

import { check } from '../errors.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import { checkOptions } from '../options.ts'
import { copyOf, scope } from '../tensor.ts'
import { mapTuple, must, nth } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import {
  attachFactors,
  type Combined,
  checkNoRows,
  largestFactors,
  type Pair,
  readFactors,
  rowsIn,
  stacked,
  truncated,
} from './combine.ts'
import { layerAt } from './layers.ts'
import { type Matrix, matrix, norm, product, productSvd, randomizedSvd } from './linearAlgebra.ts'
import { changeOf, trainedDType } from './merging.ts'

/** What {@link convert} makes of an adapter. */
export interface ConvertOptions {
  /** Of the LoRA adapter that is made. Default: that of the adapter's own factors, else 8. */
  rank?: number | undefined
  /** Of the adapter that is made. Default 'converted'. */
  name?: string
}

/**
 * Plain LoRA of rank k that changes the weights as an adapter of any mergeable method does, as well as rank k can:
 * exact where the method has factors of no more, else with what is lost by layer. The head comes along; the adapter
 * stays, and is switched off. A change without factors (DoRA, IA3) is decomposed by a randomised SVD.
 * @throws ERR_OPTION for a rank that is none, ERR_UNSUPPORTED for a method that changes no weight, or biases too
 */
export async function convert(adapter: Adapter, options: ConvertOptions = {}): Promise<Combined> {
  checkOptions('convert', options, { rank: true, name: true })
  const { name = 'converted', rank } = options
  check(rank === undefined || (Number.isSafeInteger(rank) && rank > 0), 'ERR_OPTION', () => {
    return `rank: ${rank}, expected a whole number from 1`
  })
  checkNoRows(adapter, 'convert')
  const layers = layersOf(adapter)
  check(layers.length > 0, 'ERR_UNSUPPORTED', () => {
    return `convert: ${adapter.method.kind.title} changes no weight of a linear layer; LoRA has no place for what it trains`
  })
  const own = hasFactors(adapter) ? await readFactors([{ adapter, weight: 1 }]) : undefined
  const k = rank ?? Math.max(8, ...[...(own?.values() ?? [])].map(([part]) => must(part, 'part').a.rows))
  const errors = new Map<string, number>()
  const made = new Map<string, Pair>()
  for (const path of layers) {
    const factors = own?.get(path)
    if (!factors) checkBias(adapter, path)
    const { error, ...pair } = factors ? truncated(stacked(factors), k) : decomposed(await readChange(adapter, path), k)
    made.set(path, pair)
    errors.set(path, error)
  }
  return { adapter: attachFactors([adapter], made, name), errors }
}

function decomposed(change: Matrix, rank: number): Pair & { error: number } {
  const { a, b } = largestFactors(randomizedSvd(change, rank), rank)
  const all = norm(change)
  return { a, b, error: all > 0 ? norm(minus(change, product(b, a))) / all : 0 }
}

function minus(a: Matrix, b: Matrix): Matrix {
  return { ...a, data: a.data.map((x, at) => x - nth(b.data, at)) }
}

/** How far two adapters are apart on a layer: Frobenius norms of their changes of its weight, and of the difference. */
export interface Distance {
  readonly first: number
  readonly second: number
  readonly difference: number
}

/**
 * The distance of two adapters of one model by layer; a layer that only one has counts as unchanged by the other.
 * @throws ERR_OPTION for adapters of two models, ERR_UNSUPPORTED for a method that changes no weight
 */
export async function distances(first: Adapter, second: Adapter): Promise<Map<string, Distance>> {
  check(first.host === second.host, 'ERR_OPTION', () => `distances: "${second.name}" is on another model`)
  if (!hasFactors(first) || !hasFactors(second)) return denseDistances(first, second)
  const read = (...of: [Adapter, number][]) => readFactors(of.map(([adapter, weight]) => ({ adapter, weight })))
  const [own, other, both] = await Promise.all([read([first, 1]), read([second, 1]), read([first, 1], [second, -1])])
  const size = (parts: Parameters<typeof stacked>[0] | undefined) => {
    if (!parts) return 0
    const { a, b } = stacked(parts)
    return Math.hypot(...productSvd(b, a).values)
  }
  const found = [...both].map(([path, parts]) => {
    return [path, { first: size(own.get(path)), second: size(other.get(path)), difference: size(parts) }] as const
  })
  return new Map(found)
}

async function denseDistances(first: Adapter, second: Adapter): Promise<Map<string, Distance>> {
  const found = new Map<string, Distance>()
  for (const path of new Set([...layersOf(first), ...layersOf(second)])) {
    const [a, b] = await Promise.all(
      [first, second].map(each => (each.carries(path) ? readChange(each, path) : undefined)),
    )
    const [na, nb] = mapTuple([a, b], each => (each ? norm(each) : 0))
    found.set(path, { first: na, second: nb, difference: a && b ? norm(minus(a, b)) : na + nb })
  }
  return found
}

/**
 * Singular values of the change of each layer's weight, largest first, by path in the model's order: as many as the
 * factors have ranks, those that a budget has cut being 0. Undefined for an adapter of more or other than factors.
 */
export async function spectra(adapter: Adapter): Promise<Map<string, number[]> | undefined> {
  if (layersOf(adapter).length === 0 || !hasFactors(adapter) || rowsIn(adapter) !== undefined) return undefined
  const layers = await readFactors([{ adapter, weight: 1 }])
  return new Map(
    [...layers].map(([path, parts]) => {
      const { a, b } = stacked(parts)
      return [path, [...productSvd(b, a).values]]
    }),
  )
}

/** Linear layers that it changes: others train whole. */
function layersOf(adapter: Adapter): string[] {
  return adapter.matched.map(({ path }) => path).filter(path => adapter.carries(path))
}

/** Whether every change of a weight is factors and nothing else. */
export function hasFactors(adapter: Adapter): boolean {
  const { host, name } = adapter
  const isPlain = (own: LinearAdapter | undefined) => own?.factors && !own.gain && !own.input && !own.output
  return layersOf(adapter).every(path => isPlain(layerAt(host, path)?.adapters.find(each => each.name === name)))
}

/** LoRA has no place for the change of a bias. */
function checkBias({ host, name, method }: Adapter, path: string): void {
  const linear = must(layerAt(host, path), path)
  const own = must(
    linear.adapters.find(each => each.name === name),
    'match',
  )
  const changes = scope<boolean>(() => {
    const weight = copyOf(linear.weight.tensor, trainedDType(host.storage))
    const bias = linear.bias && copyOf(linear.bias.tensor, weight.dtype)
    return changeOf(own, weight, bias, linear).bias !== undefined
  })
  check(!changes, 'ERR_UNSUPPORTED', () => {
    return `convert: ${method.kind.title} changes the bias of ${path} too, which LoRA cannot; merge it instead`
  })
}

async function readChange(adapter: Adapter, path: string): Promise<Matrix> {
  const change = adapter.deltaWeight(path)
  const [rows, columns] = change.shape
  return matrix(must(rows, 'rows'), must(columns, 'columns'), await change.data().finally(() => change.dispose()))
}
