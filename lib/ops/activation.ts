import { record, take } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** In the order of the native enum. gelu is the exact (erf) form, geluTanh its tanh approximation. */
export const ACTIVATIONS = ['gelu', 'geluTanh', 'tanh', 'silu', 'relu'] as const

/** Activation functions: `gelu` is exact, `geluTanh` the approximation by tanh. */
export type Activation = (typeof ACTIVATIONS)[number]

/** The activation function `kind` of every element of x. */
export function activation(x: Tensor, kind: Activation): Tensor {
  const code = ACTIVATIONS.indexOf(kind)
  return record(new Tensor(native.activation(x.handle, code)), [x], [x], dy => {
    const mine = take(dy)
    native.activationBackward(mine.handle, x.handle, code)
    return [mine]
  })
}
