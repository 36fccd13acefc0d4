import type { ModelConfig } from '../io/config.ts'
import type { Batch, InputLimits } from '../nn/batch.ts'
import type { Embedding } from '../nn/embedding.ts'
import type { Tensor } from '../tensor.ts'
import type { Weights } from './weights.ts'

/** A transformer without a head. */
export interface Backbone {
  readonly hiddenSize: number
  readonly layers: number
  readonly limits: InputLimits
  /** Tied decoders share it. */
  readonly wordEmbeddings: Embedding
  /** Batch → last hidden state [N, D]. `observe` sees the embeddings and every layer's output. */
  forward(batch: Batch, observe?: (hidden: Tensor) => void): Tensor
}

/** Part of a head that is the family's own: rows [N, D] of the last hidden state → logits. */
export type HeadLayers = (rows: Tensor) => Tensor

/** One family of models: its file exports one of these, and models/index.ts lists it. */
export interface Family {
  /** `model_type` of config.json. */
  readonly modelType: string
  /** First part of the backbone's tensor names. */
  readonly basePrefix: string
  /** Tensors of heads: those a task does not use are left alone. */
  readonly headTensors: RegExp
  /** Modules that PEFT trains and saves whole for a classification head, by task. */
  readonly headModules: { readonly sequence: readonly string[]; readonly token: readonly string[] }
  build(config: ModelConfig, weights: Weights): Backbone
  /** From the row of each sequence's first token. */
  sequenceHead(config: ModelConfig, weights: Weights, labels: number): HeadLayers
  /** From every row. */
  tokenHead(config: ModelConfig, weights: Weights, labels: number): HeadLayers
  /** From the rows of masked tokens to the vocabulary. */
  maskedLmHead(config: ModelConfig, weights: Weights, backbone: Backbone): HeadLayers
}
