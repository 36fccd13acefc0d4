import { layerNorm } from '../ops/layerNorm.ts'
import type { Tensor } from '../tensor.ts'
import type { Parameter } from './module.ts'

/** Layer norm over the last axis. */
export class LayerNorm {
  readonly weight: Parameter
  readonly bias: Parameter
  readonly eps: number

  constructor(weight: Parameter, bias: Parameter, eps: number) {
    this.weight = weight
    this.bias = bias
    this.eps = eps
  }

  /** Of drop(x) + residual. */
  apply(x: Tensor, residual?: Tensor, dropout?: { p: number; site: number }): Tensor {
    return layerNorm({ x, residual, dropout, weight: this.weight.tensor, bias: this.bias.tensor, eps: this.eps })
  }
}
