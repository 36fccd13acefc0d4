// DoRA (Liu et al. 2024): the length of each row of W + s B A is trained apart from its direction.
//
// y = g ⊙ (x Wᵀ + s · drop(x) Aᵀ Bᵀ) + b,  g = m / ‖W + s B A‖ by rows; the norm is a constant, as in the paper.

import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { add } from '../ops/add.ts'
import { inverseNorms } from '../ops/inverseNorms.ts'
import type { LowRankFactors } from '../ops/loraLinear.ts'
import { matmul } from '../ops/matmul.ts'
import { multiply } from '../ops/multiply.ts'
import { inverseRowNorms } from '../ops/rmsNorm.ts'
import { scale } from '../ops/scale.ts'
import { reshape, scaleRows } from '../ops/scaleRows.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { trainedDType } from './merging.ts'
import type { PlaceContext } from './method.ts'

/** Adds a trained magnitude to low-rank factors; it begins as the lengths of the rows of W. */
export function withMagnitude(adapter: LinearAdapter, linear: Linear, context: PlaceContext): LinearAdapter {
  const factors = () => adapter.factors!()
  const { path, outFeatures } = linear
  const m = context.parameter(`${path}.lora_magnitude_vector`, [outFeatures], () =>
    rowNorms(direction(linear, factors())),
  )
  // Of the weight as it is now: what another adapter lays over it, or merges into it, is another tensor.
  const weight = linear.weight.own
  const squares = context.constant([outFeatures], () => rowSquares(wide(weight)))
  return {
    ...adapter,
    params: [...adapter.params, m],
    gain: layer => {
      const isKnown = layer.weight.tensor === weight
      const norms = isKnown
        ? inverseNorms(squares.tensor, weight, factors())
        : scope(() => inverseRowNorms(direction(layer, factors())))
      return multiply(m.tensor, norms)
    },
    delta: weight => {
      const { a, b, scale: s } = factors()
      const sum = add(weight, scale(matmul(b, a), s))
      return { weight: add(scaleRows(sum, multiply(m.tensor, inverseRowNorms(sum))), scale(weight, -1)) }
    },
  }
}

/** W + s B A as a constant: copies of what trains carry no gradient. */
function direction({ weight }: Linear, { a, b, scale: s }: LowRankFactors): Tensor {
  return scope(() => {
    const sum = wide(weight.tensor)
    return add(sum, matmul(scale(copyOf(b, sum.dtype), s), copyOf(a, sum.dtype)))
  })
}

/** W in the dtype that trains. */
function wide(weight: Tensor): Tensor {
  const dtype = trainedDType(weight.dtype === 'f64' ? 'f64' : 'f32')
  return weight.dtype === dtype ? weight : copyOf(weight, dtype)
}

/** ‖row‖² of x [N, D], shape [N]. */
function rowSquares(x: Tensor): Tensor {
  return scope(() => {
    const { rows, columns } = x
    return reshape(matmul(multiply(x, x), Tensor.ones([columns, 1], x)), [rows])
  })
}

/** ‖row‖ of x [N, D], shape [N]. */
function rowNorms(x: Tensor): Tensor {
  return scope(() => multiply(rowSquares(x), inverseRowNorms(x)))
}
