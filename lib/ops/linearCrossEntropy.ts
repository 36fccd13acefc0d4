import { record, recordingFor } from '../autograd/tape.ts'
import { check } from '../errors.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { IGNORED } from './ignored.ts'
import { COMPUTE, type Compute } from './matmul.ts'

interface LinearCrossEntropyOptions {
  /** 1 / supervised tokens of the whole optimizer step. */
  scale: number
  /** Of the head, [V]; frozen. */
  bias?: Tensor | undefined
  /** Label smoothing, 0 to 1. */
  smoothing?: number
  /** Logits become softcap · tanh(logits / softcap), as in Gemma 2. 0 is off. */
  softcap?: number
  /** zLoss · (log-sum-exp)² is added to a token's loss, which keeps logits from drifting. 0 is off. */
  zLoss?: number
  /** Rows whose logits exist at a time. Default: as many as 512 MB hold (128 MB on the CPU), at most 4096. */
  chunk?: number
  compute?: Compute
}

/**
 * crossEntropy(linear(x, weight, bias), labels) for a frozen head, without ever holding all logits: x [N, D],
 * weight [V, D], labels i32[N] (checked on the host); shape [1]. The gradient of x is made in the same pass.
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: LinearCrossEntropyOptions,
): Tensor {
  const { scale, bias, smoothing = 0, softcap = 0, zLoss = 0, chunk = 0, compute = 'f32' } = options
  check(
    !weight.requiresGrad && !bias?.requiresGrad,
    'ERR_OPTION',
    () => 'linearCrossEntropy: the head must be frozen; use linear and crossEntropy to train it',
  )
  const struct = Float64Array.of(IGNORED, smoothing, scale, softcap, zLoss, chunk, COMPUTE.indexOf(compute))
  const needsDx = recordingFor([x])
  const handles = native.linearCrossEntropy(x.handle, weight.handle, bias?.handle ?? 0, labels.handle, struct, needsDx)
  const loss = new Tensor(handles[0])
  if (!needsDx) return loss
  const dx = new Tensor(handles[1])
  return record(loss, [x], [dx], dy => [new Tensor(native.linearCrossEntropyBackward(dy.handle, dx.handle, scale))])
}
