import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { dropoutStruct } from './random.ts'

export interface AttentionOptions {
  heads: number
  /** Key-value heads, a divisor of `heads`. Default: heads. */
  kvHeads?: number
  headDim: number
  /** Factor of q·k. Default: 1 / √headDim. */
  scale?: number
  causal?: boolean
  /** Longest sequence of the batch. */
  maxLength: number
  /** Longest sequence of the run: it keys dropout, so that micro-batches of any shape see the same masks. */
  rowStride: number
  dropout?: { p: number; site: number }
}

/**
 * Softmax attention within each of the packed sequences cuSeqlens (i32[B + 1]). q [N, heads · dim], k and v
 * [N, kvHeads · dim]. No [T, T] matrix is stored (FlashAttention, Dao et al. 2022).
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, cuSeqlens: Tensor, options: AttentionOptions): Tensor {
  const { heads, kvHeads = heads, headDim, maxLength, rowStride, causal = false } = options
  const scale = options.scale ?? 1 / Math.sqrt(headDim)
  const shape = Float64Array.of(heads, kvHeads, headDim, causal ? 1 : 0, maxLength, rowStride, scale)
  const mask = options.dropout ? dropoutStruct(options.dropout.p, options.dropout.site, 'sequences') : null
  const [oh, lh] = native.attention(q.handle, k.handle, v.handle, cuSeqlens.handle, shape, mask)
  const o = new Tensor(oh)
  const lse = new Tensor(lh)
  return record(o, [q, k, v], [q, k, v, o, lse, cuSeqlens], dy =>
    native
      .attentionBackward(dy.handle, q.handle, k.handle, v.handle, o.handle, lse.handle, cuSeqlens.handle, shape, mask)
      .map(handle => new Tensor(handle)),
  )
}
