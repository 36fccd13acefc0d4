import { record } from '../autograd/tape.ts'
import { type DType, native } from '../native.ts'
import { codeOf, Tensor } from '../tensor.ts'

/** x as another float type, rounded to nearest even; x itself where it has that type already. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x
  const y = new Tensor(native.cast(x.handle, codeOf(dtype)))
  const back = codeOf(x.dtype)
  return record(y, [x], [], dy => [new Tensor(native.cast(dy.handle, back))])
}
