import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { layerNorm, layerNormSum } from '../ops/layerNorm.ts'
import { rmsNorm } from '../ops/rmsNorm.ts'
import type { Tensor } from '../tensor.ts'
import type { Parameter } from './module.ts'
import { byRoute } from './routes.ts'

/** Dropout of what is added to a residual, with its site. */
export interface BranchDropout {
  p: number
  site: number
}

/** A norm over the last axis. */
export interface Norm {
  /** Of drop(x) + residual. */
  apply(x: Tensor, residual?: Tensor, dropout?: BranchDropout): Tensor
  /** Before a sublayer: h = residual + drop(branch) and its norm, in one pass; without a branch h is the residual. */
  join(residual: Tensor, branch: Tensor | undefined, dropout?: BranchDropout): { y: Tensor; h: Tensor }
}

/** Layer norm (Ba et al. 2016). */
export class LayerNorm implements Norm {
  readonly weight: Parameter
  readonly bias: Parameter | undefined
  readonly eps: number

  constructor(weight: Parameter, bias: Parameter | undefined, eps: number) {
    this.weight = weight
    this.bias = bias
    this.eps = eps
  }

  apply(x: Tensor, residual?: Tensor, dropout?: BranchDropout): Tensor {
    return ofEachRoute([this.weight, this.bias], x, residual, (x, residual) =>
      layerNorm({ x, residual, dropout, ...this.#tensors }),
    )
  }

  join(residual: Tensor, branch: Tensor | undefined, drop?: BranchDropout): { y: Tensor; h: Tensor } {
    if (branch && !isCovered([this.weight, this.bias]))
      return layerNormSum({ x: branch, residual, dropout: drop, ...this.#tensors })
    const h = summed(residual, branch, drop)
    return { y: this.apply(h), h }
  }

  get #tensors() {
    return { weight: this.weight.tensor, bias: this.bias?.tensor, eps: this.eps }
  }
}

/** RMS norm (Zhang and Sennrich 2019). */
export class RmsNorm implements Norm {
  readonly weight: Parameter
  readonly eps: number
  /** Added to the weight: 1 for Gemma. */
  readonly offset: number

  constructor(weight: Parameter, eps: number, offset: number) {
    this.weight = weight
    this.eps = eps
    this.offset = offset
  }

  apply(x: Tensor, residual?: Tensor, dropout?: BranchDropout): Tensor {
    return ofEachRoute([this.weight], x, residual, (x, residual) => {
      return rmsNorm({ x, residual, dropout, ...this.#tensors }).y
    })
  }

  join(residual: Tensor, branch: Tensor | undefined, drop?: BranchDropout): { y: Tensor; h: Tensor } {
    if (branch && !isCovered([this.weight])) return rmsNorm({ x: branch, residual, dropout: drop, ...this.#tensors })
    const h = summed(residual, branch, drop)
    return { y: this.apply(h), h }
  }

  get #tensors() {
    return { weight: this.weight.tensor, eps: this.eps, offset: this.offset }
  }
}

const isCovered = (parameters: readonly (Parameter | undefined)[]) => parameters.some(each => each?.isCovered)

/** Where adapters train the norm whole, each row goes through its own. */
function ofEachRoute(
  parameters: readonly (Parameter | undefined)[],
  x: Tensor,
  residual: Tensor | undefined,
  norm: (x: Tensor, residual: Tensor | undefined) => Tensor,
): Tensor {
  if (!isCovered(parameters)) return norm(x, residual)
  return byRoute(residual ? [x, residual] : [x], ([part, rest]) => norm(part, rest))
}

function summed(residual: Tensor, branch: Tensor | undefined, drop: BranchDropout | undefined): Tensor {
  if (!branch) return residual
  return add(drop ? dropout(branch, drop.p, drop.site) : branch, residual)
}
