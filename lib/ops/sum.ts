import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { dtypeCode, Tensor } from '../tensor.ts'
import { multiply } from './multiply.ts'

/** The sum of all elements, shape [1]. */
export function sum(x: Tensor): Tensor {
  const { shape, device, dtype } = x
  return record(new Tensor(native.sum(x.handle)), [x], [], dy => {
    const one = Tensor.ones([x.size, 1], { device, dtype })
    const spread = new Tensor(native.matmul(one.handle, dy.view(0, [1, 1]).handle, false, false, 0, dtypeCode(dtype)))
    return [spread.view(0, shape)]
  })
}

/** The sum of squares of all elements, shape [1]: the L2 regulariser of the low-rank factors. */
export function sumSquares(x: Tensor): Tensor {
  return sum(multiply(x, x))
}
