import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { scope, Tensor } from '../tensor.ts'
import { cast } from './copy.ts'

/** x[N, C] with column c times v[c]. */
export function scaleColumns(x: Tensor, v: Tensor): Tensor {
  const row = cast(v, x.dtype)
  return record(new Tensor(native.multiply(x.handle, row.handle)), [x, row], [x, row], (dy, needs) => [
    needs[0] ? new Tensor(native.multiply(dy.handle, row.handle)) : undefined,
    needs[1]
      ? scope(() => new Tensor(native.sumRows(new Tensor(native.multiply(dy.handle, x.handle)).handle)))
      : undefined,
  ])
}

/** a * b, elementwise, of one shape. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return record(new Tensor(native.multiply(a.handle, b.handle)), [a, b], [a, b], (dy, needs) => [
    needs[0] ? new Tensor(native.multiply(dy.handle, b.handle)) : undefined,
    needs[1] ? new Tensor(native.multiply(dy.handle, a.handle)) : undefined,
  ])
}
