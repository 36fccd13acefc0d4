import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** alpha * x, for a number alpha. */
export function scale(x: Tensor, alpha: number): Tensor {
  return record(new Tensor(native.scale(x.handle, alpha)), [x], [], dy => [new Tensor(native.scale(dy.handle, alpha))])
}
