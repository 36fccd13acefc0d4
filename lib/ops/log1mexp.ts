import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/**
 * log(1 − eˣ) of every element of x, which is below 0: of a log-probability that of its opposite. What is above −2⁻²⁴,
 * as probabilities are that round to 1 in f32, counts as that, so that value and gradient are finite.
 */
export function log1mexp(x: Tensor): Tensor {
  return record(new Tensor(native.log1mexp(x.handle)), [x], [x], dy => [
    new Tensor(native.log1mexpBackward(dy.handle, x.handle)),
  ])
}
