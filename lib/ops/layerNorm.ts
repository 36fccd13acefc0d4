import { claim, record } from '../autograd/tape.ts'
import { native, type Struct } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { dropoutStruct } from './random.ts'

export interface LayerNormInput {
  x: Tensor
  /** Added to (dropped) x before the norm. */
  residual?: Tensor | undefined
  weight: Tensor
  bias?: Tensor | undefined
  eps: number
  /** Dropout of x, with its site. */
  dropout?: { p: number; site: number } | undefined
}

/** Layer norm over the last axis of drop(x) + residual, in one pass (Ba et al. 2016). x [N, D]. */
export function layerNorm({ x, residual, weight, bias, eps, dropout }: LayerNormInput): Tensor {
  const mask: Struct | null = dropout ? dropoutStruct(dropout.p, dropout.site) : null
  const handles = native.layerNorm(x.handle, residual?.handle ?? 0, weight.handle, bias?.handle ?? 0, eps, mask)
  const y = new Tensor(handles[0])
  const h = handles[1] ? new Tensor(handles[1]) : x
  const [mean, rstd] = [new Tensor(handles[2]), new Tensor(handles[3])]
  const inputs = [x, weight, ...(residual ? [residual] : []), ...(bias ? [bias] : [])]
  return record(y, inputs, [h, weight, mean, rstd], (dy, needs) => {
    const needsResidual = residual ? needs[2]! : false
    // Before the norm, x has other readers, which have given their gradients by now: the sum is made in the same pass.
    const dh = h === x && needs[0] ? claim(x) : undefined
    const needsBias = bias ? needs[residual ? 3 : 2]! : false
    const [dx, dresidual, dw, db] = native
      .layerNormBackward(
        dy.handle,
        dh?.handle ?? 0,
        h.handle,
        weight.handle,
        mean.handle,
        rstd.handle,
        mask,
        needsResidual,
        needs[1]!,
        needsBias,
      )
      .map(handle => (handle ? new Tensor(handle) : undefined))
    // Without dropout the residual's gradient is dx itself.
    return [dx, dw, ...(residual ? [dresidual ?? dx] : []), ...(bias ? [db] : [])]
  })
}
