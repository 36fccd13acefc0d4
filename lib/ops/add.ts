import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** a + b, of one shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  return record(new Tensor(native.add(a.handle, b.handle)), [a, b], [], dy => [dy, dy])
}
