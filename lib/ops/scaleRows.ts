// Vectors over the rows of a matrix, made of products with a row of ones.

import { record } from '../autograd/tape.ts'
import { Tensor } from '../tensor.ts'
import { matmul } from './matmul.ts'
import { multiply } from './multiply.ts'

/** x[N, C] with row n times v[n]. */
export function scaleRows(x: Tensor, v: Tensor): Tensor {
  return multiply(x, matmul(reshape(v, [x.rows, 1]), Tensor.ones([1, x.columns], x)))
}

/** x in another shape of the same size. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const own = x.shape
  return record(x.view(0, shape), [x], [], dy => [dy.view(0, own)])
}
