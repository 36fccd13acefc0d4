import { record, recordingFor, take } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** In the order of the native enum. gelu is the exact (erf) form, geluTanh its tanh approximation. */
export const ACTIVATIONS = ['gelu', 'geluTanh', 'tanh', 'silu', 'relu'] as const

/** Activation functions: `gelu` is exact, `geluTanh` the approximation by tanh. */
export type Activation = (typeof ACTIVATIONS)[number]

/** The activation function `kind` of every element of x. */
export function activation(x: Tensor, kind: Activation): Tensor {
  return activated(new Tensor(native.activation(x.handle, ACTIVATIONS.indexOf(kind))), { x, kind })
}

/** What an activation function was of. */
export interface Activated {
  readonly x: Tensor
  readonly kind: Activation
}

const origins = new WeakMap<Tensor, Activated>()

/** y, made by an op as `kind` of x. */
export function activated(y: Tensor, origin: Activated): Tensor {
  const { x, kind } = origin
  if (recordingFor([x])) origins.set(y, origin)
  return record(y, [x], [x], dy => {
    const mine = take(dy)
    native.activationBackward(mine.handle, x.handle, ACTIVATIONS.indexOf(kind))
    return [mine]
  })
}

/** What y is an activation of, while a tape runs: an op that reads y may give its gradient to that, see `readsLast`. */
export function activatedFrom(y: Tensor): Activated | undefined {
  return recordingFor([y]) ? origins.get(y) : undefined
}
