import { native } from '../native.ts'
import { dtypeCode, scope, Tensor } from '../tensor.ts'
import type { LowRankFactors } from './factors.ts'

/**
 * 1 / ‖row‖ of w + s b a, shape [out], as a constant: no gradient goes through it. w [out, in] as it is stored, a and b
 * f32 or f64; `squares` [out]: those of w's rows, ‖w‖². Nothing of [out, in] is made:
 *
 * ‖w + s b a‖² = ‖w‖² + 2 s b · (a wᵀ) + s² b (a aᵀ) bᵀ by rows
 *
 * To rounding of ‖w‖² in their dtype: where a row of s b a takes nearly all of w's away, digits are lost.
 */
export function inverseNorms(squares: Tensor, w: Tensor, { a, b, scale }: LowRankFactors): Tensor {
  const code = dtypeCode(a.dtype)
  return scope(() => {
    const onRows = (other: Tensor) => new Tensor(native.matmul(a.handle, other.handle, false, true, 0, code))
    return new Tensor(native.inverseNorms(squares.handle, onRows(w).handle, onRows(a).handle, b.handle, scale))
  })
}
