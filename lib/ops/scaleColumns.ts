// Vectors over the columns of a matrix, made of products with a column of ones: their gradients sum over rows.

import { record } from '../autograd/tape.ts'
import { Tensor } from '../tensor.ts'
import { add } from './add.ts'
import { matmul } from './matmul.ts'
import { multiply } from './multiply.ts'

/** x[N, C] with column c times v[c]. */
export function scaleColumns(x: Tensor, v: Tensor): Tensor {
  return multiply(x, spread(v, x))
}

/** x[N, C] with row n times v[n]. */
export function scaleRows(x: Tensor, v: Tensor): Tensor {
  return multiply(x, matmul(reshape(v, [x.rows, 1]), ones([1, x.columns], x)))
}

/** x[N, C] with b[C] added to every row. */
export function addRow(x: Tensor, b: Tensor): Tensor {
  return add(x, spread(b, x))
}

/** v[C] as every row of [N, C], in x's dtype. */
function spread(v: Tensor, x: Tensor): Tensor {
  const { rows, columns } = x
  return matmul(ones([rows, 1], x), reshape(v, [1, columns]))
}

/** x in another shape of the same size. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const own = x.shape
  return record(x.view(0, shape), [x], [], dy => [dy.view(0, own)])
}

function ones(shape: readonly number[], { device, dtype }: Tensor): Tensor {
  const size = shape.reduce((a, b) => a * b, 1)
  return Tensor.from(new Float32Array(size).fill(1), shape, { device, dtype })
}
