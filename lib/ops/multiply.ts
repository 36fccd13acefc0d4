import { record, take } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { cast } from './copy.ts'

/** x[N, C] with column c times v[c], and bias[c] added. */
export function scaleColumns(x: Tensor, v: Tensor, bias?: Tensor): Tensor {
  const row = cast(v, x.dtype)
  const shift = bias && cast(bias, x.dtype)
  const y = new Tensor(native.scaleColumns(x.handle, row.handle, shift?.handle ?? 0))
  return record(y, shift ? [x, row, shift] : [x, row], [x, row], (dy, needs) => {
    const [needsX, needsV, needsBias] = [nth(needs, 0), nth(needs, 1), shift && nth(needs, 2)]
    const dbias = needsBias ? new Tensor(native.sumRows(dy.handle)) : undefined
    const mine = needsX ? take(dy) : dy
    const dv = native.scaleColumnsBackward(mine.handle, x.handle, row.handle, needsX, needsV)
    const own = [needsX ? mine : undefined, dv ? new Tensor(dv) : undefined]
    return shift ? [...own, dbias] : own
  })
}

/** a * b, elementwise, of one shape. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return record(new Tensor(native.multiply(a.handle, b.handle)), [a, b], [a, b], (dy, needs) => [
    needs[0] ? new Tensor(native.multiply(dy.handle, b.handle)) : undefined,
    needs[1] ? new Tensor(native.multiply(dy.handle, a.handle)) : undefined,
  ])
}
