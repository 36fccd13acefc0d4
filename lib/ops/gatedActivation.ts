import { record, take } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { ACTIVATIONS, type Activation } from './activation.ts'

/**
 * f(gate) · up, elementwise (Shazeer 2020): SwiGLU with silu, GEGLU with gelu or geluTanh, ReGLU with relu. In backward
 * the gradient of the gate takes the place of dy.
 */
export function gatedActivation(gate: Tensor, up: Tensor, kind: Activation): Tensor {
  const code = ACTIVATIONS.indexOf(kind)
  return record(new Tensor(native.gatedActivation(gate.handle, up.handle, code)), [gate, up], [gate, up], dy => {
    const mine = take(dy)
    const dup = new Tensor(native.gatedActivationBackward(mine.handle, gate.handle, up.handle, code))
    return [mine, dup]
  })
}
