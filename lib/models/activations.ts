import { fail, nearest } from '../errors.ts'
import { type Activation, activation } from '../ops/activation.ts'
import { multiply } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'

/** Elementwise, of one shape. */
type Nonlinearity = (x: Tensor) => Tensor

const of =
  (kind: Activation): Nonlinearity =>
  x =>
    activation(x, kind)

/** x · sigmoid(1.702 x), an approximation of gelu (Hendrycks and Gimpel 2016). */
const quickGelu: Nonlinearity = x => scale(activation(scale(x, 1.702), 'silu'), 1 / 1.702)

/** max(x, 0)^2 (So et al. 2021): max(x, 0) · x. */
const relu2: Nonlinearity = x => multiply(activation(x, 'relu'), x)

const BY_NAME: Record<string, Nonlinearity> = {
  gelu: of('gelu'),
  gelu_python: of('gelu'),
  gelu_new: of('geluTanh'),
  gelu_fast: of('geluTanh'),
  gelu_accurate: of('geluTanh'),
  gelu_pytorch_tanh: of('geluTanh'),
  gelu_python_tanh: of('geluTanh'),
  quick_gelu: quickGelu,
  relu: of('relu'),
  relu2,
  silu: of('silu'),
  swish: of('silu'),
  tanh: of('tanh'),
  linear: x => x,
}

/** The activation that config.json calls `name`. */
export function activationOf(name: string): Nonlinearity {
  const known = Object.keys(BY_NAME)
  if (Object.hasOwn(BY_NAME, name)) return BY_NAME[name]!
  fail(
    'ERR_CONFIG',
    `config.json: activation "${name}" is unknown${nearest(name, known)}; known are ${known.join(', ')}`,
  )
}
