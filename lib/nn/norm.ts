import { layerNorm } from '../ops/layerNorm.ts'
import type { Tensor } from '../tensor.ts'
import type { Parameter } from './module.ts'
import { byRoute } from './routes.ts'

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
    const { weight, bias, eps } = this
    const of = (x: Tensor, residual: Tensor | undefined) =>
      layerNorm({ x, residual, dropout, weight: weight.tensor, bias: bias.tensor, eps })
    if (!weight.isCovered && !bias.isCovered) return of(x, residual)
    return byRoute(residual ? [x, residual] : [x], ([part, rest]) => of(part!, rest))
  }
}
