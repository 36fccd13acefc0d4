import { beginsOf, concatRows } from '../autograd/rows.ts'
import { record, recordGroup, recordingFor } from '../autograd/tape.ts'
import { check } from '../errors.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
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
  const { loss, dx } = forward(x, weight, labels, options, [])
  if (!dx) return loss
  const { scale } = options
  return record(loss, [x], [dx], dy => [new Tensor(native.linearCrossEntropyBackward(dy.handle, dx.handle, scale))])
}

/** Consecutive rows that have a loss of their own. */
export interface LossRows {
  readonly rows: number
  /** 1 / supervised tokens of its whole optimizer step. */
  readonly scale: number
}

/** Of one call: what the kernel takes. */
export const MOST_PARTS = 64

/** {@link linearCrossEntropy} of each part of x, shape [1]; parts lie one after the other, the weight is read once. */
export function linearCrossEntropyParts(
  x: Tensor,
  weight: Tensor,
  labels: Tensor,
  parts: readonly LossRows[],
  options: Omit<LinearCrossEntropyOptions, 'scale'>,
): Tensor[] {
  check(parts.length > 0 && parts.length <= MOST_PARTS, 'ERR_OPTION', () => {
    return `linearCrossEntropyParts: ${parts.length} parts, expected 1 to ${MOST_PARTS}`
  })
  const { loss, dx } = forward(x, weight, labels, { ...options, scale: 1 }, parts)
  const losses = parts.map((_, i) => loss.view(i, [1]))
  if (!dx) return losses
  const begins = beginsOf(parts.map(({ rows }) => rows))
  const { columns, device, dtype } = x
  return recordGroup(losses, [x], [dx], dys => {
    const scaled = parts.map(({ rows, scale }, i) => {
      const [dy, own] = [dys[i], [rows, columns]]
      if (!dy) return Tensor.zeros(own, { device, dtype })
      const part = dx.view(nth(begins, i) * columns, own)
      return new Tensor(native.linearCrossEntropyBackward(dy.handle, part.handle, scale))
    })
    return [concatRows(scaled)]
  })
}

function forward(
  x: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: LinearCrossEntropyOptions,
  parts: readonly LossRows[],
): { loss: Tensor; dx: Tensor | undefined } {
  const { scale, bias, smoothing = 0, softcap = 0, zLoss = 0, chunk = 0, compute = 'f32' } = options
  check(
    !weight.requiresGrad && !bias?.requiresGrad,
    'ERR_OPTION',
    () => 'linearCrossEntropy: the head must be frozen; use linear and crossEntropy to train it',
  )
  const own = [IGNORED, smoothing, scale, softcap, zLoss, chunk, COMPUTE.indexOf(compute)]
  const struct = Float64Array.from([...own, ...parts.flatMap(part => [part.rows, part.scale])])
  const needsDx = recordingFor([x])
  const handles = native.linearCrossEntropy(x.handle, weight.handle, bias?.handle ?? 0, labels.handle, struct, needsDx)
  return { loss: new Tensor(handles[0]), dx: needsDx ? new Tensor(handles[1]) : undefined }
}
