import { fail, nearest } from '../errors.ts'
import type { Linear } from '../nn/linear.ts'
import { type Activation, activation } from '../ops/activation.ts'
import { gatedActivation } from '../ops/gatedActivation.ts'
import { multiply } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { under } from '../tuple.ts'

/** Elementwise, of one shape. */
export interface Nonlinearity {
  (x: Tensor): Tensor
  /** Of what the layer makes of x: one op, where there is one. */
  after(layer: Linear, x: Tensor): Tensor
}

const of = (kind: Activation): Nonlinearity =>
  Object.assign((x: Tensor) => activation(x, kind), { after: (layer: Linear, x: Tensor) => layer.activated(x, kind) })

const alone = (f: (x: Tensor) => Tensor): Nonlinearity =>
  Object.assign((x: Tensor) => f(x), { after: (layer: Linear, x: Tensor) => f(layer.apply(x)) })

/** x · sigmoid(1.702 x), an approximation of gelu (Hendrycks and Gimpel 2016). */
const quickGelu = alone(x => scale(activation(scale(x, 1.702), 'silu'), 1 / 1.702))

/** max(x, 0)^2 (So et al. 2021): max(x, 0) · x. */
const relu2 = alone(x => multiply(activation(x, 'relu'), x))

/** Those that are an op of their own. */
const PLAIN: Record<string, Activation> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_accurate: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_python_tanh: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
}

const BY_NAME: Record<string, Nonlinearity> = {
  ...Object.fromEntries(Object.entries(PLAIN).map(([name, kind]) => [name, of(kind)])),
  quick_gelu: quickGelu,
  relu2,
  linear: alone(x => x),
}

/** f(gate) · up for the activation f that config.json calls `name`. */
export function gatedOf(name: string): (gate: Tensor, up: Tensor) => Tensor {
  const f = activationOf(name)
  const kind = Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined
  return (gate, up) => (kind ? gatedActivation(gate, up, kind) : multiply(f(gate), up))
}

/** The activation that config.json calls `name`. */
export function activationOf(name: string): Nonlinearity {
  const known = Object.keys(BY_NAME)
  if (Object.hasOwn(BY_NAME, name)) return under(BY_NAME, name)
  fail(
    'ERR_CONFIG',
    `config.json: activation "${name}" is unknown${nearest(name, known)}; known are ${known.join(', ')}`,
  )
}
