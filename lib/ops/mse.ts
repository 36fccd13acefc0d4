import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** scale · Σ (x - targets)², both [N, C]; shape [1]. */
export function mse(x: Tensor, targets: Tensor, scale: number): Tensor {
  const loss = new Tensor(native.mse(x.handle, targets.handle, scale))
  return record(loss, [x], [x, targets], dy => [
    new Tensor(native.mseBackward(dy.handle, x.handle, targets.handle, scale)),
  ])
}
