import type { ModelConfig } from '../io/config.ts'
import type { PyObject } from '../io/json.ts'
import type { EncoderMemory } from '../nn/attention.ts'
import type { Batch, InputRules } from '../nn/batch.ts'
import type { Embedding } from '../nn/embedding.ts'
import type { Linear } from '../nn/linear.ts'
import type { Forward, ForwardOptions } from '../nn/stack.ts'
import type { Tensor } from '../tensor.ts'
import type { Weights } from './weights.ts'

/** A transformer without a head. */
export interface Backbone extends InputRules {
  readonly hiddenSize: number
  readonly layers: number
  /** Heads of keys and values of its own attention, of an encoder-decoder the decoder's, and the width of each. */
  readonly kvHeads: number
  readonly headDim: number
  /** Tied decoders share it. */
  readonly wordEmbeddings: Embedding
  readonly forward: Forward
  /** Of an encoder-decoder: what `forward` is given as memory. */
  encode?(batch: Batch, options?: ForwardOptions): EncoderMemory
  /** Of an encoder-decoder: what stands before the first token that is said. */
  readonly startId?: number
}

/** A family's part of a classifier: rows [N, D] of the last hidden state → logits. */
export type HeadLayers = (rows: Tensor) => Tensor

/** A family's part of a language model's head. */
export interface LmLayers {
  /** Rows [N, D] of the last hidden state → what the output layer multiplies. */
  transform(rows: Tensor): Tensor
  /** The vocabulary's rows; where they are tied, the word embeddings are its weight. */
  readonly output: Linear
  /** Logits become softcap · tanh(logits / softcap). Default: none. */
  readonly softcap?: number
}

/** A head that a family has. */
export interface HeadSpec<L> {
  /** Modules that PEFT trains and saves whole with it. */
  readonly modules: readonly string[]
  /** The module with a row a label. Default: the last of these. */
  readonly output?: string
  /** Its class in transformers, where the name is not put together as those of others are. */
  readonly className?: string
  /** The tokens whose rows it reads. */
  readonly reads: Reads | ((config: ModelConfig) => Reads)
  /** Of an encoder-decoder: its decoder is given the text that was read, one place later, and has nothing to say. */
  readonly echoes?: true
  /** Of an encoder-decoder: it sits on the encoder, and there is no decoder. */
  readonly encoderOnly?: true
  /** First part of the backbone's tensor names under this head, where it is not the family's. */
  readonly basePrefix?: string
  build(config: ModelConfig, weights: Weights, backbone: Backbone, outputs: number): L
}

/** The heads that a family has, by name. */
export interface Heads {
  readonly sequence?: HeadSpec<HeadLayers>
  readonly token?: HeadSpec<HeadLayers>
  readonly maskedLm?: HeadSpec<LmLayers>
  readonly causalLm?: HeadSpec<LmLayers>
  /** Start and end of an answer. */
  readonly span?: HeadSpec<HeadLayers>
  readonly seq2seqLm?: HeadSpec<LmLayers>
}
export type HeadName = keyof Heads

/** Which tokens a head reads: of each sequence the first, the last or the last of an id, or every one. */
export type Reads = 'first' | 'last' | 'every' | { readonly lastOf: number }

/** Where sublayers end, by the ends of paths. */
export interface SublayerEnds {
  readonly attention: string
  readonly feedforward: string
  /** Below a layer: the first linear layer of the feed-forward sublayer, and the norm after its residual is added. */
  readonly normedAfter?: { readonly reads: string; readonly norm: string }
}

/** One family of models: its file exports one of these, and models/index.ts lists it. */
export interface Family {
  /** `model_type` of config.json. */
  readonly modelType: string
  /** How the names of its classes in transformers begin. */
  readonly className: string
  /** First part of the backbone's tensor names; '' where its parts have names of their own. */
  readonly basePrefix: string
  /** Tensors of heads: those a task does not use are left alone. */
  readonly headTensors: RegExp
  /** Why weights that are stored as f16 run in wider types alone; most families can be f16. */
  readonly wideOnly?: string
  /** `head`: what will sit on it; none where that is one of the caller's own. */
  build(config: ModelConfig, weights: Weights, head?: HeadSpec<unknown>): Backbone
  readonly heads: Heads
  /** How the path of each sublayer's last linear layer ends. Absent: who adapts sublayers must name the layers. */
  readonly sublayerEnds?: SublayerEnds
  /** What config.json must say of a model whose output layer is no longer tied, beside that. */
  untied?(config: ModelConfig): PyObject
  /** AdapterHub's library adapts it, and counts its sublayers so. */
  readonly inAdapterHub?: true
}
