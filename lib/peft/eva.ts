// EVA (Paischer et al. 2024): rows of A along the principal directions of what each layer reads, B zero.

import { concatRows } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { add, addRow } from '../ops/add.ts'
import { matmulInner } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { reshape, scaleRows } from '../ops/scaleRows.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { topSvd } from './decompose.ts'
import { trainedDType } from './merging.ts'
import type { Host, Passes } from './method.ts'
import type { Begun } from './starts.ts'

/** Cosine to the direction of the pass before, from which one counts as found. PEFT's. */
const TAU = 0.99
const MOST_PASSES = 64

/**
 * Sets A along what the layers read and B to zero; returns the rank of each layer by path. With `rho` above 1 as many
 * ranks as there were go where they explain most of their layer's variance, up to rho times a layer's own and at least
 * one. Passes go on until the directions stay, or there are no more.
 */
export async function eva(
  host: Host,
  layers: readonly Begun[],
  passes: Passes | undefined,
  rho: number,
): Promise<Map<string, number>> {
  check(passes, 'ERR_OPTION', () => {
    return 'initLoraWeights: eva begins along what the layers read; give adapter.prepare forward passes over data (train does)'
  })
  const found = new Map<Begun, Directions>()
  let count = 0
  for (const pass of passes) {
    const inputs = watched(host, layers, pass)
    for (const [x, own] of inputs) {
      const known = own.flatMap(layer => found.get(layer) ?? [])
      const directions = known[0] ?? new Directions(most(own, rho))
      for (const layer of own) found.set(layer, directions)
      await directions.add(x)
      x.dispose()
    }
    count++
    if (count >= MOST_PASSES || [...found.values()].every(({ isFound }) => isFound)) break
  }
  check(found.size > 0, 'ERR_DATA', () => 'initLoraWeights: eva has seen no data; give adapter.prepare some')
  const kept = rho > 1 ? shared(layers, found) : undefined
  const ranks = new Map(layers.map(layer => [layer.linear.path, kept?.get(layer) ?? layer.a.rows]))
  for (const [layer, { components }] of found)
    if (components) put(layer, components, ranks.get(layer.linear.path) ?? layer.a.rows)
  for (const each of new Set(found.values())) each.dispose()
  return ranks
}

const most = (layers: readonly Begun[], rho: number): number => {
  return Math.max(...layers.map(({ a, linear }) => Math.min(linear.inFeatures, Math.round(a.rows * rho))))
}

/** What the layers read in a pass: copies, to be freed, each with the layers that read it. */
function watched(host: Host, layers: readonly Begun[], pass: () => void): Map<Tensor, Begun[]> {
  const copies = new Map<Tensor, Tensor>()
  const found = new Map<Tensor, Begun[]>()
  const dtype = trainedDType(host.storage)
  const watch = (layer: Begun): LinearAdapter => ({
    ...{ name: layer.adapter.name, params: [], active: true },
    input: x => {
      const copy = copies.get(x) ?? copyOf(x, dtype).keep()
      copies.set(x, copy)
      found.set(copy, [...(found.get(copy) ?? []), layer])
      return x
    },
  })
  const switched: [Linear, LinearAdapter[]][] = layers.map(layer => {
    const { adapters } = layer.linear
    return [layer.linear, adapters.splice(0, adapters.length, watch(layer))]
  })
  try {
    scope(pass)
  } finally {
    for (const [{ adapters }, before] of switched) adapters.splice(0, adapters.length, ...before)
  }
  return found
}

/** Ranks by the share of variance that each direction explains, the largest of all layers first; each keeps one. */
function shared(layers: readonly Begun[], found: ReadonlyMap<Begun, Directions>): Map<Begun, number> {
  const budget = layers.reduce((sum, { a }) => sum + a.rows, 0)
  const others = [...found].flatMap(([layer, { shares }]) => shares.slice(1).map(share => ({ layer, share })))
  const kept = others.sort((x, y) => y.share - x.share).slice(0, budget - found.size)
  return new Map(layers.map(each => [each, 1 + kept.filter(({ layer }) => layer === each).length]))
}

function put({ a, b, linear }: Begun, components: Tensor, rank: number): void {
  a.replace(scope(() => copyOf(components.view(0, [rank, linear.inFeatures]), components.dtype)))
  if (b.columns === rank) return
  b.replace(Tensor.zeros([b.rows, rank], { device: components.device, dtype: b.tensor.dtype }))
}

/** Principal directions of rows that come in batches (Ross et al. 2008): centred, of all rows so far. */
class Directions {
  readonly #count: number
  /** [k, in], orthonormal rows, largest variance first. */
  components: Tensor | undefined
  isFound = false
  #values: Float64Array = new Float64Array()
  #mean: Tensor | undefined
  #rows = 0
  /** Of all elements so far, about nothing: the sum of squares, and that of the means. */
  #squares = 0
  #meanSquare = 0

  constructor(count: number) {
    this.#count = count
  }

  /** Share of all variance along each direction. */
  get shares(): number[] {
    const all = this.#squares - this.#rows * this.#meanSquare
    return Array.from(this.#values, value => (all > 0 ? value ** 2 / all : 0))
  }

  async add(x: Tensor): Promise<void> {
    const n = x.rows
    const mean = scope(() => scale(matmulInner(Tensor.ones([n, 1], x), x), 1 / n))
    const stacked = scope(() => this.#stacked(x, mean))
    const rank = Math.min(this.#count, stacked.rows, stacked.columns)
    const { u, vt: components, values } = await topSvd(stacked, rank, { iterations: 4, seed: 0, name: 'eva' })
    for (const each of [u, stacked]) each.dispose()
    this.isFound = rank === this.#count && (await isNear(this.components, components))
    this.components?.dispose()
    this.components = components
    this.#values = values
    await this.#addMean(x, mean)
  }

  /** What is known, the rows about their mean, and what the two means are apart. */
  #stacked(x: Tensor, mean: Tensor): Tensor {
    const centred = addRow(x, scale(reshape(mean, [x.columns]), -1))
    if (!this.components || !this.#mean) return centred
    const known = Tensor.from(this.#values, [this.#values.length], { device: x.device, dtype: x.dtype })
    const factor = Math.sqrt((this.#rows / (this.#rows + x.rows)) * x.rows)
    const apart = scale(add(this.#mean, scale(mean, -1)), factor)
    return concatRows([scaleRows(this.components, known), centred, apart])
  }

  async #addMean(x: Tensor, mean: Tensor): Promise<void> {
    const all = this.#rows + x.rows
    const before = this.#mean
    this.#mean = before
      ? scope(() => add(scale(before, this.#rows / all), scale(mean, x.rows / all)))
      : scope(() => copyOf(mean))
    before?.dispose()
    mean.dispose()
    this.#rows = all
    const [values, means] = await Promise.all([x.data(), this.#mean.data()])
    this.#squares += sumOfSquares(values)
    this.#meanSquare = sumOfSquares(means)
  }

  dispose(): void {
    this.components?.dispose()
    this.#mean?.dispose()
  }
}

function sumOfSquares(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += (values[i] ?? 0) ** 2
  return sum
}

/** Whether the directions are those of before, up to sign. */
async function isNear(before: Tensor | undefined, now: Tensor): Promise<boolean> {
  if (!before || before.rows !== now.rows) return false
  const [a, b] = await Promise.all([before.data(), now.data()])
  const width = now.columns
  return Array.from({ length: now.rows }, (_, i) => i).every(i => {
    let dot = 0
    for (let j = i * width; j < (i + 1) * width; j++) dot += (a[j] ?? 0) * (b[j] ?? 0)
    return Math.abs(dot) >= TAU
  })
}
