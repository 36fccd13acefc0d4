import { claim, record, runningTape } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { byPart } from './parts.ts'
import { dropoutStruct, isParted } from './random.ts'

/** What {@link rmsNorm} takes: x and residual [N, D], weight [D]. */
export interface RmsNormInput {
  x: Tensor
  /** Added to (dropped) x before the norm. */
  residual?: Tensor | undefined
  weight: Tensor
  /** Added to the weight: 1 for Gemma, whose checkpoints hold weight - 1. Default 0. */
  offset?: number
  eps: number
  /** Dropout of x, with its site. */
  dropout?: { p: number; site: number } | undefined
}

/**
 * RMS norm over the last axis of h = drop(x) + residual, in one pass (Zhang and Sennrich 2019). x [N, D]. Returns y and
 * h, which a decoder adds the next block's output to; h is x itself where nothing was dropped or added.
 */
export function rmsNorm(input: RmsNormInput): { y: Tensor; h: Tensor } {
  const { x, residual, weight, offset = 0, eps, dropout } = input
  if (isParted(dropout)) {
    const [y, h] = byPart([x, residual], of => {
      const made = rmsNorm({ ...input, x: of(x), residual: residual && of(residual) })
      return [made.y, made.h]
    })
    return { y, h }
  }
  const mask = dropout ? dropoutStruct(dropout.p, dropout.site) : null
  const handles = native.rmsNorm(x.handle, residual?.handle ?? 0, weight.handle, offset, eps, mask)
  const y = new Tensor(handles[0])
  const h = handles[1] ? new Tensor(handles[1]) : x
  const rstd = new Tensor(handles[2])
  if (!runningTape()) return { y, h }
  if (h !== x)
    record(h, residual ? [x, residual] : [x], [], (dh, needs) => [
      mask && needs[0] ? new Tensor(native.dropout(dh.handle, mask)) : dh,
      ...(residual ? [dh] : []),
    ])
  record(y, [h, weight], [h, weight, rstd], (dy, needs) => {
    // What else reads h has given its gradient by now: the sum is made in the same pass.
    const dh = needs[0] ? claim(h) : undefined
    return native
      .rmsNormBackward(
        dy.handle,
        dh?.handle ?? 0,
        h.handle,
        weight.handle,
        rstd.handle,
        offset,
        nth(needs, 0),
        nth(needs, 1),
      )
      .map(handle => (handle ? new Tensor(handle) : undefined))
  })
  return { y, h }
}

/** 1 / ‖row‖ of x [N, D], shape [N], as a constant: no gradient goes through it. A row of zeros has a huge one. */
export function inverseRowNorms(x: Tensor): Tensor {
  const columns = x.columns
  const { device, dtype } = x
  const weight = Tensor.zeros([columns], { device, dtype: dtype === 'f64' ? 'f64' : 'f32' })
  const handles = native.rmsNorm(x.handle, 0, weight.handle, 0, 1e-30, null)
  new Tensor(handles[0]).dispose()
  weight.dispose()
  const inverse = new Tensor(handles[2]) // of the root mean square
  const found = new Tensor(native.scale(inverse.handle, 1 / Math.sqrt(columns)))
  inverse.dispose()
  return found
}
