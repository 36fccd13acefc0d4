import { record } from '../autograd/tape.ts'
import { check } from '../errors.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import type { Caches } from './cacheWrite.ts'
import { byPart } from './parts.ts'
import { dropoutStruct, isParted } from './random.ts'

/** What a score is, of query i and key j: softcap · tanh(scale · q·k / softcap) + bias[head, j − i + L − 1]. */
export interface ScoreOptions {
  heads: number
  /** Key-value heads, a divisor of `heads`. Default: heads. */
  kvHeads?: number
  headDim: number
  /** Factor of q·k. Default: 1 / √headDim. */
  scale?: number
  /** Only keys nearer than this: |i − j| < window. Default 0: any distance. */
  window?: number
  /** Bound of a score, as in Gemma 2. Default 0: none. */
  softcap?: number
  /** By distance: [heads, 2L − 1], L at least the longest sequence; f32, beside f64 f64. As in T5. */
  bias?: Tensor | undefined
}

export interface AttentionOptions extends ScoreOptions {
  causal?: boolean
  /** Longest sequence of the batch. */
  maxLength: number
  /** Longest sequence of the run: it keys dropout, so that micro-batches of any shape see the same masks. */
  rowStride: number
  dropout?: { p: number; site: number }
  /** Cross-attention: the sequences of k and v, i32[B + 1], the longest of maxKeyLength. Default: cuSeqlens. */
  keys?: { cuSeqlens: Tensor; maxLength: number } | undefined
}

function structOf(options: ScoreOptions, lengths: Partial<AttentionOptions> = {}): Float64Array {
  const { heads, kvHeads = heads, headDim, scale = 1 / Math.sqrt(headDim), window = 0, softcap = 0 } = options
  const { causal = false, maxLength = 0, rowStride = 0, keys } = lengths
  const longest = [maxLength, rowStride, scale, keys?.maxLength ?? 0]
  return Float64Array.of(heads, kvHeads, headDim, causal ? 1 : 0, ...longest, window, softcap)
}

/**
 * Softmax attention within each of the packed sequences cuSeqlens (i32[B + 1]). q [N, heads · dim], k and v
 * [N, kvHeads · dim]. No [T, T] matrix is stored (FlashAttention, Dao et al. 2022).
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, cuSeqlens: Tensor, options: AttentionOptions): Tensor {
  const { bias, keys } = options
  if (isParted(options.dropout))
    return byPart([q, k, v], (of, part) => {
      check(!keys, 'ERR_UNSUPPORTED', () => 'attention: keys of other sequences cannot be of several runs')
      return [attention(of(q), of(k), of(v), part.cuSeqlens, { ...options, maxLength: part.maxLength })]
    })[0]
  const shape = structOf(options, options)
  const mask = options.dropout ? dropoutStruct(options.dropout.p, options.dropout.site, 'sequences') : null
  const kh = keys?.cuSeqlens.handle ?? 0
  const bh = bias?.handle ?? 0
  const [oh, lh] = native.attention(q.handle, k.handle, v.handle, cuSeqlens.handle, kh, bh, shape, mask)
  const o = new Tensor(oh)
  const lse = new Tensor(lh)
  const given = [cuSeqlens, ...(keys ? [keys.cuSeqlens] : []), ...(bias ? [bias] : [])]
  return record(o, [q, k, v, ...(bias ? [bias] : [])], [q, k, v, o, lse, ...given], (dy, needs) => {
    const saved = [q.handle, k.handle, v.handle, o.handle, lse.handle, cuSeqlens.handle] as const
    const [dq, dk, dv] = needs.slice(0, 3).some(Boolean)
      ? native.attentionBackward(dy.handle, ...saved, kh, bh, shape, mask).map(handle => new Tensor(handle))
      : []
    const ofBias = (table: Tensor) =>
      new Tensor(native.attentionBiasBackward(dy.handle, ...saved, kh, table.handle, shape, mask))
    return [dq, dk, dv, bias && needs[3] ? ofBias(bias) : undefined]
  })
}

/** What each query of {@link attentionDecode} sees. */
export interface Seen {
  /** How many keys, i32[R]; the query belongs to the last one. */
  readonly lengths: Tensor
  /** The pages that they lie in, in order, i32[R, most]. */
  readonly pages: Tensor
}

/**
 * Attention of single tokens to keys and values in pages of a cache, as {@link cacheWrite} puts them there: q
 * [R, heads · dim] → the same; a query that sees no key gives 0. No gradient.
 */
export function attentionDecode(
  q: Tensor,
  { keys, values }: Caches,
  { lengths, pages }: Seen,
  { bias, ...options }: ScoreOptions,
): Tensor {
  const given = [q, keys, values, lengths, pages] as const
  const [qh, kh, vh, lh, ph] = mapTuple(given, tensor => tensor.handle)
  return new Tensor(native.attentionDecode(qh, kh, vh, lh, ph, bias?.handle ?? 0, structOf(options)))
}
