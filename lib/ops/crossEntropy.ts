import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { IGNORED } from './ignored.ts'

/** How {@link crossEntropy} weighs rows and classes. */
export interface CrossEntropyOptions {
  /** 1 / supervised weight of the whole optimizer step: samples or tokens, or the sum of their class weights. */
  scale: number
  /** Per class, shape [C]. */
  weights?: Tensor | undefined
  /** Label smoothing, 0 to 1. */
  smoothing?: number
}

/**
 * scale · Σ weighted negative log likelihood of labels (i32[N], checked on the host) under logits [N, C]; shape [1].
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions): Tensor {
  const { scale, weights, smoothing = 0 } = options
  const struct = Float64Array.of(IGNORED, smoothing, scale)
  const [lossHandle, lseHandle] = native.crossEntropy(logits.handle, labels.handle, weights?.handle ?? 0, struct)
  const loss = new Tensor(lossHandle)
  const lse = new Tensor(lseHandle)
  return record(loss, [logits], [logits, labels, lse], dy => [
    new Tensor(
      native.crossEntropyBackward(dy.handle, logits.handle, labels.handle, weights?.handle ?? 0, lse.handle, struct),
    ),
  ])
}

/** log Σ exp of each row of logits [N, C]: f32[N], f64 under f64; no gradient. `labels`: any column of each, i32[N]. */
export function logSumExp(logits: Tensor, labels: Tensor): Tensor {
  const [lossHandle, lseHandle] = native.crossEntropy(logits.handle, labels.handle, 0, Float64Array.of(IGNORED, 0, 1))
  new Tensor(lossHandle).dispose()
  return new Tensor(lseHandle)
}
