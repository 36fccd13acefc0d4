import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { linear } from '../ops/linear.ts'
import { transpose } from '../ops/matmul.ts'
import { multiply } from '../ops/multiply.ts'
import { inverseRowNorms } from '../ops/rmsNorm.ts'
import { scale } from '../ops/scale.ts'
import { scaleRows } from '../ops/scaleRows.ts'
import { sum, sumSquares } from '../ops/sum.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'

/** A penalty on low-rank factors that training adds to the loss. */
interface Regularizer {
  readonly weight: number
  readonly kind: 'l2' | 'orth' | 'orthNorm'
  /** A and B of every module, in this order. */
  readonly parameters: readonly Parameter[]
}

/**
 * The penalty on low-rank factors, shape [1], to be computed on a tape once an optimizer step and added to its loss.
 * 'l2': λ Σ (‖A‖² + ‖B‖²), Frobenius norms, over all modules. 'orth': λ times the mean over all factors of
 * ‖A Aᵀ − I‖² and ‖Bᵀ B − I‖². 'orthNorm': the same of the norms themselves, AdaLoRA's term.
 */
export function penalty({ weight, kind, parameters }: Regularizer): Tensor {
  const terms = parameters.flatMap((parameter, i) => {
    const { tensor } = parameter
    if (tensor.size === 0) return []
    if (kind === 'l2') return [sumSquares(tensor)]
    const off = offOrthogonal(i % 2 === 0 ? tensor : transpose(tensor))
    return [kind === 'orth' ? sumSquares(off) : norm(off)]
  })
  const total = terms.reduce((sum, term) => add(sum, term))
  return scale(total, kind === 'l2' ? weight : weight / parameters.length)
}

/** ‖x‖ as x · (x / ‖x‖) with the second factor a constant, which has the norm's gradient. */
function norm(x: Tensor): Tensor {
  const direction = scope(() => {
    const flat = copyOf(x).view(0, [1, x.size])
    return scaleRows(flat, inverseRowNorms(flat)).view(0, x.shape)
  })
  return sum(multiply(x, direction))
}

/** x xᵀ − I for x [r, n]. */
function offOrthogonal(x: Tensor): Tensor {
  return add(linear(x, x, undefined), identity(x, -1))
}

function identity(like: Tensor, value: number): Tensor {
  const size = like.rows
  const data = new Float64Array(size * size)
  for (let i = 0; i < size; i++) data[i * (size + 1)] = value
  return Tensor.from(data, [size, size], { device: like.device, dtype: like.dtype })
}
