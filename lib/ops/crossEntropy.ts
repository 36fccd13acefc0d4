import { record } from '../autograd/tape.ts'
import { type Handle, native } from '../native.ts'
import { checkOptions } from '../options.ts'
import { scope, Tensor } from '../tensor.ts'
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
  checkOptions('crossEntropy', options, { scale: true, weights: true, smoothing: true })
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

/**
 * scale · Σ KL(softmax(teacher) ‖ softmax(student)) over rows of logits [N, C]; shape [1], with a gradient of the
 * student alone. `labels`, i32[N], name a column of each row, whichever; rows that they ignore count nothing.
 *
 * log Σ exp is convex and softmax its slope, so the divergence is by how much it lies above its tangent at the teacher;
 * the labels of two cross entropies cancel in that, and no softmax is stored.
 */
export function divergence(student: Tensor, teacher: Tensor, labels: Tensor, scale: number): Tensor {
  const struct = Float64Array.of(IGNORED, 0, scale)
  const entropy = (logits: Tensor) => {
    const [loss, lse] = native.crossEntropy(logits.handle, labels.handle, 0, struct)
    return { loss: new Tensor(loss), lse: new Tensor(lse) }
  }
  const slope = (dy: Handle, logits: Tensor, lse: Tensor) =>
    new Tensor(native.crossEntropyBackward(dy, logits.handle, labels.handle, 0, lse.handle, struct))
  const { loss, lse, teacherLse } = scope(() => {
    const { loss, lse } = entropy(student)
    const { loss: start, lse: teacherLse } = entropy(teacher)
    const one = Tensor.ones([1], loss)
    const back = new Tensor(native.scale(student.handle, -1))
    native.accumulate(back.handle, teacher.handle, 1)
    const along = new Tensor(native.multiply(slope(one.handle, teacher, teacherLse).handle, back.handle))
    native.accumulate(loss.handle, start.handle, -1)
    native.accumulate(loss.handle, new Tensor(native.sum(along.handle)).handle, 1)
    return { loss, lse, teacherLse }
  })
  return record(loss, [student], [student, teacher, labels, lse, teacherLse], dy => [
    scope(() => {
      const dx = slope(dy.handle, student, lse)
      native.accumulate(dx.handle, slope(dy.handle, teacher, teacherLse).handle, -1)
      return dx
    }),
  ])
}
