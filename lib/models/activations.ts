import { fail, nearest } from '../errors.ts'
import type { Activation } from '../ops/activation.ts'

const BY_NAME: Record<string, Activation> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
}

/** The activation that config.json calls `name`. */
export function activationOf(name: string): Activation {
  return (
    BY_NAME[name] ??
    fail('ERR_CONFIG', `config.json: activation "${name}" is unknown${nearest(name, Object.keys(BY_NAME))}`)
  )
}
