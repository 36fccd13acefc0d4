import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** a * b, elementwise, of one shape. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return record(new Tensor(native.multiply(a.handle, b.handle)), [a, b], [a, b], (dy, needs) => [
    needs[0] ? new Tensor(native.multiply(dy.handle, b.handle)) : undefined,
    needs[1] ? new Tensor(native.multiply(dy.handle, a.handle)) : undefined,
  ])
}
