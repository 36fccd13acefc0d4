import { embedding } from '../ops/embedding.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import type { Parameter } from './module.ts'

interface BucketOptions {
  /** Whether keys after the query have buckets of their own, half of all; else they share that of distance 0. */
  readonly bidirectional: boolean
  readonly buckets: number
  /** From this distance on all share the last bucket. */
  readonly maxDistance: number
}

/**
 * The bucket of a key `distance` tokens after its query, negative for one before (Raffel et al. 2020, 2.1): half of the
 * buckets are for one distance each, the others for stretches that grow by a factor. In f32, as PyTorch computes it.
 */
export function bucketOf(distance: number, { bidirectional, buckets, maxDistance }: BucketOptions): number {
  const count = bidirectional ? Math.floor(buckets / 2) : buckets
  const side = bidirectional && distance > 0 ? count : 0
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance)
  const exact = Math.floor(count / 2)
  if (far < exact) return side + far
  const grown = Math.fround(Math.log(Math.fround(far / exact)))
  const share = Math.fround(grown / Math.fround(Math.log(maxDistance / exact)))
  return side + Math.min(count - 1, exact + Math.floor(Math.fround(share * (count - exact))))
}

/** Biases of attention scores by distance, one a head and bucket: T5's. */
export class RelativeBias {
  /** [buckets, heads]. */
  readonly weight: Parameter
  readonly options: BucketOptions
  /** Rows of the table that the last length took: a token that is said needs them again. */
  #last: { length: number; ids: Int32Array } | undefined

  constructor(weight: Parameter, options: Omit<BucketOptions, 'buckets'>) {
    this.weight = weight
    this.options = { ...options, buckets: weight.rows }
  }

  /** The biases of sequences of at most `length` tokens, [heads, 2 · length − 1], by distance from 1 − length on. */
  table(length: number): Tensor {
    const { tensor } = this.weight
    const { rows: buckets, columns: heads } = this.weight
    if (this.#last?.length !== length) this.#last = { length, ids: this.#places(length, heads) }
    const { ids } = this.#last
    const index = Tensor.from(ids, [ids.length], { device: tensor.device })
    return embedding(tensor.reshape([buckets * heads, 1]), index).reshape([heads, 2 * length - 1])
  }

  /** For each head and distance its place in the weight. */
  #places(length: number, heads: number): Int32Array {
    const width = 2 * length - 1
    const rows = Array.from({ length: width }, (_, i) => bucketOf(i + 1 - length, this.options) * heads)
    return Int32Array.from({ length: heads * width }, (_, i) => nth(rows, i % width) + Math.floor(i / width))
  }
}
