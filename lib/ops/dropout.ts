import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { dropoutStruct } from './random.ts'

/** Zeroes elements with probability p and scales the rest, inside `withRandom`; elsewhere x itself. */
export function dropout(x: Tensor, p: number, where: number): Tensor {
  const mask = dropoutStruct(p, where)
  if (!mask) return x
  return record(new Tensor(native.dropout(x.handle, mask)), [x], [], dy => [
    new Tensor(native.dropout(dy.handle, mask)),
  ])
}
