import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** scale · Σ binary cross-entropy of targets (0 to 1) under logits, both [N, C]; positiveWeights [C]; shape [1]. */
export function bce(logits: Tensor, targets: Tensor, scale: number, positiveWeights?: Tensor): Tensor {
  // Read anew in backward: the closure keeps the tensor alive, a handle would not.
  const weights = () => positiveWeights?.handle ?? 0
  const loss = new Tensor(native.bce(logits.handle, targets.handle, weights(), scale))
  return record(loss, [logits], [logits, targets], dy => [
    new Tensor(native.bceBackward(dy.handle, logits.handle, targets.handle, weights(), scale)),
  ])
}
