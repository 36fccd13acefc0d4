import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { cast } from './copy.ts'

/** x[N, C] with b[C] added to every row. */
export function addRow(x: Tensor, b: Tensor): Tensor {
  const row = cast(b, x.dtype)
  return record(new Tensor(native.add(x.handle, row.handle)), [x, row], [], (dy, needs) => [
    dy,
    needs[1] ? new Tensor(native.sumRows(dy.handle)) : undefined,
  ])
}

/** a + b, of one shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  return record(new Tensor(native.add(a.handle, b.handle)), [a, b], [], dy => [dy, dy])
}
