import { record } from '../autograd/tape.ts'
import type { DType } from '../native.ts'
import { copyOf, type Tensor } from '../tensor.ts'

/** x as another float type, rounded to nearest even; x itself where it has that type already. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x
  const back = x.dtype
  return record(copyOf(x, dtype), [x], [], dy => [copyOf(dy, back)])
}
