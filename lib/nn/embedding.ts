import type { DType } from '../native.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { embedding } from '../ops/embedding.ts'
import { linear } from '../ops/linear.ts'
import type { LowRankFactors } from '../ops/loraLinear.ts'
import { transpose } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { currentOf, type LinearAdapter } from './linear.ts'
import type { Parameter } from './module.ts'
import { noisyRows } from './noise.ts'
import { byRoute } from './routes.ts'
import { promptedRows } from './virtual.ts'

/** A table of vectors [rows, D]: a linear layer on rows of the unit matrix, whose weight is the table transposed. */
export class Embedding {
  /** Hugging Face module path. */
  readonly path: string
  readonly weight: Parameter
  readonly bias = undefined
  /** The padding id: its row gets no gradient. */
  readonly paddingIdx: number | undefined
  /** Multiplies the rows of words, not those of a prompt or noise, which come in their place and on top. */
  readonly factor: number
  /** Of what it gives. */
  readonly dtype: DType
  /** Of factors alone: s B A is the change of the table transposed. Their dropout drops nothing, as in PEFT. */
  readonly adapters: LinearAdapter[] = []

  constructor(path: string, weight: Parameter, dtype: DType, paddingIdx?: number, factor = 1) {
    this.path = path
    this.weight = weight
    this.dtype = dtype
    this.paddingIdx = paddingIdx
    this.factor = factor
  }

  get rows(): number {
    return this.weight.rows
  }

  get inFeatures(): number {
    return this.weight.rows
  }

  get outFeatures(): number {
    return this.weight.columns
  }

  /** Files hold the table as it is. */
  get fanInFanOut(): boolean {
    return false
  }

  /** The adapters of the rows that are being computed. */
  get current(): LinearAdapter[] {
    return currentOf(this.adapters)
  }

  /** ids i32[N] → [N, D]. */
  apply(ids: Tensor): Tensor {
    const isPlain = this.adapters.length === 0 && !this.weight.isCovered
    const rows = isPlain ? this.#rows(ids) : byRoute([ids], ([part]) => this.#rows(part))
    return promptedRows(this, noisyRows(this, this.factor === 1 ? rows : scale(rows, this.factor)))
  }

  #rows(ids: Tensor): Tensor {
    const factors = this.current.flatMap(each => each.factors?.() ?? [])
    const rows = embedding(this.weight.tensor, ids, this.dtype, this.paddingIdx)
    return factors.reduce((sum, each) => add(sum, this.#update(ids, each, sum.dtype)), rows)
  }

  /** s Aᵀ[ids] Bᵀ, in the dtype of the factors. */
  #update(ids: Tensor, { a, b, scale: s }: LowRankFactors, dtype: DType): Tensor {
    const down = embedding(transpose(a), ids, a.dtype, this.paddingIdx)
    return cast(scale(linear(down, b, undefined), s), dtype)
  }
}
