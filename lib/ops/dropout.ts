import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { byPart } from './parts.ts'
import { dropoutStruct, isParted } from './random.ts'

/** Zeroes elements with probability p and scales the rest, inside `withRandom`; elsewhere x itself. */
export function dropout(x: Tensor, p: number, where: number): Tensor {
  if (isParted({ p })) return byPart([x], of => [dropout(of(x), p, where)])[0]
  const mask = dropoutStruct(p, where)
  if (!mask) return x
  return record(new Tensor(native.dropout(x.handle, mask)), [x], [], dy => [
    new Tensor(native.dropout(dy.handle, mask)),
  ])
}
