// Keys and values of earlier tokens of one layer, in pages.

import { concatRows } from '../autograd/rows.ts'
import type { LayerCache } from '../nn/attention.ts'
import { type Caches, cacheWrite } from '../ops/cacheWrite.ts'
import { embedding } from '../ops/embedding.ts'
import { copyInto, Tensor } from '../tensor.ts'
import { lastOf, must } from '../tuple.ts'
import { PAGE } from './pages.ts'

/** What the layers of a cache ask it. */
export interface CacheState {
  /** Pages that each layer has room for. */
  readonly pageCount: number
  /** What keys and values are kept as; undefined: as they are made. */
  readonly dtype: 'bf16' | undefined
  /** Whether the tokens of this pass are the first of their sequences. */
  readonly isPrompt: boolean
  readonly pass: CachePass
}

/** The tokens of a forward pass. */
export interface CachePass {
  /** Where they go, i32[N]. */
  readonly slots: Tensor
  /** How far each sees, itself included, i32[N]. */
  readonly lengths: Tensor
  /** The pages that each sees, i32[N, most]. */
  readonly pages: Tensor
}

type Pair = readonly [keys: Tensor, values: Tensor]

/** The part of a cache that belongs to one attention layer. */
export class CacheLayer implements LayerCache {
  readonly #cache: CacheState
  #own: Caches | undefined
  #crossed: Pair | undefined

  constructor(cache: CacheState) {
    this.#cache = cache
  }

  get keys(): Tensor {
    return must(this.#own, 'keys').keys
  }

  get values(): Tensor {
    return must(this.#own, 'values').values
  }

  get lengths(): Tensor {
    return this.#cache.pass.lengths
  }

  get pages(): Tensor {
    return this.#cache.pass.pages
  }

  /** Bytes of its own keys and values. */
  get bytes(): number {
    return this.#own ? this.#own.keys.byteLength + this.#own.values.byteLength : 0
  }

  append(k: Tensor, v: Tensor): boolean {
    this.#own ??= { keys: this.#empty(k), values: this.#empty(v) }
    cacheWrite(this.#own, k, v, this.#cache.pass.slots)
    return this.#cache.isPrompt
  }

  /** As wide as `like`, in the type of the cache. */
  #empty(like: Tensor): Tensor {
    const dtype = this.#cache.dtype ?? like.dtype
    return Tensor.empty([this.#cache.pageCount, PAGE, widthOf(like)], { device: like.device, dtype }).keep()
  }

  /** Page `to` becomes what `from` is. */
  copy(from: number, to: number): void {
    for (const tensor of this.#both()) copyPages(tensor, to, tensor, from, 1)
  }

  /** Room for more pages; those that are there stay. */
  grow(): void {
    this.#replace((next, old) => copyPages(next, 0, old, 0, old.shape[0] ?? 0))
  }

  /** What was page old[i] is page i; all others go. */
  compact(old: readonly number[]): void {
    this.#replace((next, tensor) => {
      for (const [i, page] of old.entries()) copyPages(next, i, tensor, page, 1)
    })
  }

  #replace(fill: (next: Tensor, old: Tensor) => void): void {
    if (!this.#own) return
    const { keys, values } = this.#own
    const [nextKeys, nextValues] = [this.#empty(keys), this.#empty(values)]
    fill(nextKeys, keys)
    fill(nextValues, values)
    this.#own = { keys: nextKeys, values: nextValues }
    keys.dispose()
    values.dispose()
  }

  #both(): readonly Tensor[] {
    return this.#own ? [this.#own.keys, this.#own.values] : []
  }

  /** In the first pass of sequences those of these alone, else of all. */
  crossed(make: () => Pair): Pair {
    const old = this.#crossed
    if (old && !this.#cache.isPrompt) return old
    const made = make()
    this.#crossed = old ? [concatRows([old[0], made[0]]), concatRows([old[1], made[1]])] : made
    for (const tensor of this.#crossed) tensor.keep()
    for (const tensor of old ?? []) tensor.dispose()
    return made
  }

  /** Of the keys and values of an encoder's memory these rows stay. */
  pickCrossed(rows: Int32Array): void {
    const old = this.#crossed
    if (!old) return
    if (rows.length === 0) this.#crossed = undefined
    else {
      const index = Tensor.from(rows, [rows.length], { device: old[0].device })
      this.#crossed = [embedding(old[0], index, old[0].dtype), embedding(old[1], index, old[1].dtype)]
      for (const tensor of this.#crossed) tensor.keep()
      index.dispose()
    }
    for (const tensor of old) tensor.dispose()
  }

  dispose(): void {
    for (const tensor of [...(this.#crossed ?? []), ...this.#both()]) tensor.dispose()
    this.#crossed = undefined
    this.#own = undefined
  }
}

const widthOf = ({ shape }: Tensor) => lastOf(shape)

/** `count` pages from `at` on become those from `from` on of another tensor, or of the same. */
function copyPages(to: Tensor, at: number, source: Tensor, from: number, count: number): void {
  const shape = [count, PAGE, widthOf(to)]
  const size = PAGE * widthOf(to)
  const [target, given] = [to.view(at * size, shape), source.view(from * size, shape)]
  copyInto(target, given)
  target.dispose()
  given.dispose()
}
