import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { linear } from '../ops/linear.ts'
import { scale } from '../ops/scale.ts'
import { sumSquares } from '../ops/sum.ts'
import { Tensor } from '../tensor.ts'

/** A penalty on low-rank factors that training adds to the loss. */
export interface Regularizer {
  readonly weight: number
  readonly kind: 'l2' | 'orth'
  /** A and B of every module, in this order. */
  readonly parameters: readonly Parameter[]
}

/**
 * The penalty on low-rank factors, shape [1], to be computed on a tape once an optimizer step and added to its loss.
 * 'l2': λ Σ (‖A‖² + ‖B‖²), Frobenius norms, over all modules. 'orth': λ times the mean over all factors of
 * ‖A Aᵀ − I‖² and ‖Bᵀ B − I‖²; AdaLoRA's term without its square roots.
 */
export function penalty({ weight, kind, parameters }: Regularizer): Tensor {
  const terms = parameters.map((parameter, i) => {
    const { tensor } = parameter
    return sumSquares(kind === 'l2' ? tensor : offOrthogonal(i % 2 === 0 ? tensor : transposed(tensor)))
  })
  const total = terms.reduce((sum, term) => add(sum, term))
  return scale(total, kind === 'l2' ? weight : weight / parameters.length)
}

/** x xᵀ − I for x [r, n]. */
function offOrthogonal(x: Tensor): Tensor {
  return add(linear(x, x, undefined), identity(x, -1))
}

/** xᵀ [r, n] of x [n, r]: a product, since products have gradients and know no transposed operands. */
function transposed(x: Tensor): Tensor {
  return linear(identity(x, 1, x.shape[1]!), x, undefined)
}

function identity(like: Tensor, value: number, size = like.shape[0]!): Tensor {
  const data = new Float64Array(size * size)
  for (let i = 0; i < size; i++) data[i * (size + 1)] = value
  return Tensor.from(data, [size, size], { device: like.device, dtype: like.dtype })
}
