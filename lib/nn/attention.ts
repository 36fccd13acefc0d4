import { check } from '../errors.ts'
import { type AttentionOptions, attention, attentionDecode, type ScoreOptions } from '../ops/attention.ts'
import { embedding } from '../ops/embedding.ts'
import { site } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import type { Batch } from './batch.ts'
import { type BatchPrefix, prefixed } from './virtual.ts'

/** Sequences of keys and values that are not the queries' own: those of an encoder. */
export interface Sequences {
  /** Where each begins, and their end, i32[B + 1]. */
  readonly cuSeqlens: Tensor
  readonly maxLength: number
}

/** Keys and values of earlier tokens of one attention layer. */
export interface LayerCache {
  /** [pages, page, kvHeads · dim]. */
  readonly keys: Tensor
  readonly values: Tensor
  /** How far each token of this batch sees, itself included, i32[N]. */
  readonly lengths: Tensor
  /** The pages of what each token sees, i32[N, most]. */
  readonly pages: Tensor
  /** Takes in those of a batch; says whether it held none of its sequences before. */
  append(keys: Tensor, values: Tensor): boolean
  /** Keys and values of an encoder's memory, which stay the same: made the first time. */
  crossed(make: () => readonly [Tensor, Tensor]): readonly [Tensor, Tensor]
}

/** What a layer reads beside its input. */
export interface LayerContext {
  readonly batch: Batch
  readonly cache?: LayerCache | undefined
  /** The last hidden state of an encoder. */
  readonly memory?: EncoderMemory | undefined
  /** Trained keys and values before those of each sequence, of layer `layer`. */
  readonly prefix?: BatchPrefix | undefined
  readonly layer?: number
}

/** What an encoder hands to a decoder. */
export interface EncoderMemory extends Sequences {
  /** [tokens, D]. */
  readonly hidden: Tensor
}

interface AttentionLayerOptions extends Omit<ScoreOptions, 'bias'> {
  readonly causal?: boolean
  /** Longest sequence the model takes: it keys dropout, so that micro-batches of any shape see the same masks. */
  readonly rowStride: number
  /** Of probabilities. Default 0. */
  readonly dropout?: number
}

/** Softmax attention of the packed sequences of a batch, with the slot of a cache. */
export class Attention {
  readonly options: AttentionLayerOptions
  readonly #dropout: { p: number; site: number }

  /** `path`: the module that Hugging Face calls the attention; it keys dropout. */
  constructor(path: string, options: AttentionLayerOptions) {
    this.options = options
    this.#dropout = { p: options.dropout ?? 0, site: site(path, 'probabilities') }
  }

  /**
   * q [N, heads · dim], k and v [N, kvHeads · dim] → [N, heads · dim]. With a cache, k and v go into it, and where that
   * held some of the sequences before, all is read from it. `keys`: the sequences of k and v where they are others.
   */
  apply(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    { batch, cache, prefix, layer = 0 }: LayerContext,
    { keys, bias }: { keys?: Sequences | undefined; bias?: Tensor | undefined } = {},
  ): Tensor {
    const { dropout: _, ...score } = this.options
    const own = prefix && !keys ? prefix : undefined
    if (own) [k, v] = prefixed(own, layer, k, v)
    if (cache && !cache.append(k, v)) return attentionDecode(q, cache, cache, { ...score, bias })
    const options = { ...score, bias, dropout: this.#dropout }
    if (own && score.causal) return this.#behind(own, q, k, v, options)
    check(!own || !bias, 'ERR_UNSUPPORTED', () => {
      return 'prefix: an encoder with biases by distance reads no keys of others, as in transformers; use lora here'
    })
    return attention(q, k, v, batch.cuSeqlens, { ...options, maxLength: batch.maxLength, keys: keys ?? own })
  }

  /** Under a causal mask: each key of the prefix has a query too, of which nothing comes, so that places agree. */
  #behind(prefix: BatchPrefix, q: Tensor, k: Tensor, v: Tensor, options: Omit<AttentionOptions, 'maxLength'>): Tensor {
    const { cuSeqlens, maxLength, queries, rest } = prefix
    const all = embedding(q, queries, q.dtype)
    const found = attention(all, k, v, cuSeqlens, { ...options, maxLength })
    return embedding(found, rest, found.dtype)
  }
}
