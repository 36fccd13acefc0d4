import { claim, record } from '../autograd/tape.ts'
import { native, type Struct } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { mapTuple, nth } from '../tuple.ts'
import { byPart } from './parts.ts'
import { dropoutStruct, isParted } from './random.ts'

/** What {@link layerNorm} takes: x and residual [N, D], weight and bias [D]. */
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

/**
 * Layer norm of h = drop(x) + residual, and h itself, which a pre-norm block hands on. What else reads h has given its
 * gradient by then: the sum is made in the pass of the norm.
 */
export function layerNormSum(input: LayerNormInput & { residual: Tensor }): { y: Tensor; h: Tensor } {
  const { x, residual, weight, bias, eps, dropout } = input
  if (isParted(dropout)) {
    const [y, h] = byPart([x, residual], of => {
      const made = layerNormSum({ ...input, x: of(x), residual: of(residual) })
      return [made.y, made.h]
    })
    return { y, h }
  }
  const mask: Struct | null = dropout ? dropoutStruct(dropout.p, dropout.site) : null
  const made = native.layerNorm(x.handle, residual.handle, weight.handle, bias?.handle ?? 0, eps, mask)
  const [y, h, mean, rstd] = mapTuple(made, handle => new Tensor(handle))
  record(h, [x, residual], [], (dh, needs) => [mask && needs[0] ? new Tensor(native.dropout(dh.handle, mask)) : dh, dh])
  record(y, [h, weight, ...(bias ? [bias] : [])], [h, weight, mean, rstd], (dy, needs) => {
    const dh = needs[0] ? claim(h) : undefined
    const saved = [h.handle, weight.handle, mean.handle, rstd.handle] as const
    const wants = [false, nth(needs, 1), needs[2] ?? false] as const
    const found = native.layerNormBackward(dy.handle, dh?.handle ?? 0, ...saved, null, ...wants)
    const [dx, , dw, db] = found.map(handle => (handle ? new Tensor(handle) : undefined))
    return [dx, dw, ...(bias ? [db] : [])]
  })
  return { y, h }
}

/** Layer norm over the last axis of drop(x) + residual, in one pass (Ba et al. 2016). x [N, D]. */
export function layerNorm(input: LayerNormInput): Tensor {
  const { x, residual, weight, bias, eps, dropout } = input
  if (isParted(dropout))
    return byPart([x, residual], of => [layerNorm({ ...input, x: of(x), residual: residual && of(residual) })])[0]
  const mask: Struct | null = dropout ? dropoutStruct(dropout.p, dropout.site) : null
  const handles = native.layerNorm(x.handle, residual?.handle ?? 0, weight.handle, bias?.handle ?? 0, eps, mask)
  const y = new Tensor(handles[0])
  const h = handles[1] ? new Tensor(handles[1]) : x
  const [mean, rstd] = [new Tensor(handles[2]), new Tensor(handles[3])]
  const inputs = [x, weight, ...(residual ? [residual] : []), ...(bias ? [bias] : [])]
  return record(y, inputs, [h, weight, mean, rstd], (dy, needs) => {
    const needsResidual = residual ? nth(needs, 2) : false
    // Before the norm, x has other readers, which have given their gradients by now: the sum is made in the same pass.
    const dh = h === x && needs[0] ? claim(x) : undefined
    const needsBias = bias ? nth(needs, residual ? 3 : 2) : false
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
        nth(needs, 1),
        needsBias,
      )
      .map(handle => (handle ? new Tensor(handle) : undefined))
    // Without dropout the residual's gradient is dx itself.
    return [dx, dw, ...(residual ? [dresidual ?? dx] : []), ...(bias ? [db] : [])]
  })
}
