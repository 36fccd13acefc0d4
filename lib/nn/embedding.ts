import type { DType } from '../native.ts'
import { embedding } from '../ops/embedding.ts'
import type { Tensor } from '../tensor.ts'
import type { Parameter } from './module.ts'
import { noisyRows } from './noise.ts'
import { byRoute } from './routes.ts'
import { promptedRows } from './virtual.ts'

/** A table of vectors [rows, D]. */
export class Embedding {
  readonly weight: Parameter
  /** The padding id: its row gets no gradient. */
  readonly fixed: number | undefined
  /** Of what it gives. */
  readonly dtype: DType

  constructor(weight: Parameter, dtype: DType, fixed?: number) {
    this.weight = weight
    this.dtype = dtype
    this.fixed = fixed
  }

  get rows(): number {
    return this.weight.rows
  }

  /** ids i32[N] → [N, D]. */
  apply(ids: Tensor): Tensor {
    const of = (part: Tensor) => embedding(this.weight.tensor, part, this.dtype, this.fixed)
    const rows = this.weight.isCovered ? byRoute([ids], ([part]) => of(part)) : of(ids)
    return promptedRows(this, noisyRows(this, rows))
  }
}
