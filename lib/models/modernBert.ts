// ModernBERT (Warner et al. 2024): pre-norm encoder with rotary positions, fused gated layers, and windows in two of
// three layers.

import { check } from '../errors.ts'
import { bool, count, float, type ModelConfig, probability, string } from '../io/config.ts'
import { isJsonObject, type JsonObject } from '../io/json.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Norm } from '../nn/norm.ts'
import type { Rotary } from '../nn/rope.ts'
import { type Block, type PreNorm, preNorm } from '../nn/stack.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { activationOf, gatedOf } from './activations.ts'
import { padIdOf } from './encoder.ts'
import type { Backbone, Family, HeadLayers, HeadSpec, LmLayers } from './family.ts'
import { layerTypes } from './layerTypes.ts'
import { outputOf } from './lmOutput.ts'
import { rotaryOf } from './rotary.ts'
import type { Weights } from './weights.ts'

function dims(config: ModelConfig) {
  return {
    hidden: count(config, 'hidden_size', 768),
    heads: count(config, 'num_attention_heads', 12),
    intermediate: count(config, 'intermediate_size', 1152),
    positions: count(config, 'max_position_embeddings', 8192),
    eps: float(config, 'norm_eps', 1e-5),
    gated: gatedOf(string(config, 'hidden_activation', 'gelu')),
    norm: { bias: bool(config, 'norm_bias', false) },
    attentionBias: bool(config, 'attention_bias', false),
    mlpBias: bool(config, 'mlp_bias', false),
    attentionDropout: probability(config, 'attention_dropout', 0),
    mlpDropout: probability(config, 'mlp_dropout', 0),
    window: Math.floor(count(config, 'local_attention', 128) / 2) + 1,
  }
}
type Dims = ReturnType<typeof dims>

/** A rope for each kind of layer, as transformers 5 spells it; before, each kind had a theta, and both one scaling. */
function ropeConfig(config: ModelConfig): ModelConfig {
  const { rope_parameters: current, rope_scaling: older } = config.values
  const of = (kind: string, key: string, theta: number): JsonObject => {
    const own = isJsonObject(current) ? current[kind] : older
    return { rope_theta: float(config, key, theta), ...(isJsonObject(own) && own) }
  }
  const full_attention = of('full_attention', 'global_rope_theta', 160000)
  const sliding_attention = of('sliding_attention', 'local_rope_theta', 10000)
  return { ...config, values: { ...config.values, rope_parameters: { full_attention, sliding_attention } } }
}

function attentionBlock(w: Weights, d: Dims, rotary: Rotary, isLocal: boolean) {
  const qkv = w.linear('Wqkv', d.hidden, 3 * d.hidden, d.attentionBias)
  const output = w.linear('Wo', d.hidden, d.hidden, d.attentionBias)
  const attention = new Attention(w.prefix, {
    heads: d.heads,
    headDim: d.hidden / d.heads,
    rowStride: d.positions,
    dropout: d.attentionDropout,
    window: isLocal ? d.window : 0,
  })
  const where = site(output.path, 'output')
  return (x: Tensor, context: LayerContext) => {
    const turn = { rope: rotary.of(context.batch), parts: [0, 1] }
    const [q, k, v] = qkv.applyParts(x, [d.hidden, d.hidden, d.hidden], turn)
    return dropout(output.apply(attention.apply(q, k, v, context)), d.attentionDropout, where)
  }
}

function layerOf(w: Weights, d: Dims, rotary: Rotary, { layer, isLocal }: { layer: number; isLocal: boolean }) {
  // The embeddings are normed already.
  const before: Norm | undefined = layer === 0 ? undefined : w.norm('attn_norm', d.hidden, d.eps, d.norm)
  const attend = attentionBlock(w.at('attn'), d, rotary, isLocal)
  const between = w.norm('mlp_norm', d.hidden, d.eps, d.norm)
  const up = w.linear('mlp.Wi', d.hidden, 2 * d.intermediate, d.mlpBias)
  const down = w.linear('mlp.Wo', d.intermediate, d.hidden, d.mlpBias)
  const where = site(down.path, 'input')
  const block: Block<PreNorm> = ([residual, branch], context) => {
    const { y, h } = before ? before.join(residual, branch) : { y: residual, h: residual }
    const next = between.join(h, attend(y, context))
    const [input, gate] = up.applyParts(next.y, [d.intermediate, d.intermediate])
    return [next.h, down.apply(dropout(d.gated(input, gate), d.mlpDropout, where))]
  }
  return block
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  check(d.hidden % d.heads === 0, 'ERR_CONFIG', () => {
    return `${config.path}: ${d.heads} attention heads do not divide the hidden size ${d.hidden}`
  })
  const w = weights.at('model')
  const vocabSize = count(config, 'vocab_size', 50368)
  const words = w.embedding('embeddings.tok_embeddings', vocabSize, d.hidden, padIdOf(config, 50283, vocabSize))
  const first = w.norm('embeddings.norm', d.hidden, d.eps, d.norm)
  const rotaries = ['full_attention', 'sliding_attention'].map(layerType =>
    rotaryOf(weights, ropeConfig(config), d.hidden / d.heads, layerType),
  )
  const every = count(config, 'global_attn_every_n_layers', 3)
  const typeOf = layerTypes(config, layer => layer % every !== 0)
  const blocks = Array.from({ length: count(config, 'num_hidden_layers', 22) }, (_, layer) => {
    const isLocal = typeOf(layer) === 'sliding_attention'
    return layerOf(w.at(`layers.${layer}`), d, nth(rotaries, isLocal ? 1 : 0), { layer, isLocal })
  })
  const last = w.norm('final_norm', d.hidden, d.eps, d.norm)
  const [p, where] = [probability(config, 'embedding_dropout', 0), site(w.prefix, 'embeddings')]
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: blocks.length,
    wordEmbeddings: words,
    limits: { vocabSize, typeVocabSize: 0, maxPositions: d.positions },
    forward: preNorm(({ ids }) => dropout(first.apply(words.apply(ids)), p, where), blocks, last),
  }
}

/** Rows through `head`: a layer, an activation and a norm. */
function predictionHead(config: ModelConfig, weights: Weights): (rows: Tensor) => Tensor {
  const d = dims(config)
  const at = weights.at('head').fresh()
  const dense = at.linear('dense', d.hidden, d.hidden, bool(config, 'classifier_bias', false))
  const norm = at.norm('norm', d.hidden, d.eps, d.norm)
  const act = activationOf(string(config, 'classifier_activation', 'gelu'))
  return rows => norm.apply(act.after(dense, rows))
}

function classifier(config: ModelConfig, weights: Weights, hidden: number, labels: number): HeadLayers {
  const head = predictionHead(config, weights)
  const out = weights.fresh().linear('classifier', hidden, labels)
  const [p, where] = [probability(config, 'classifier_dropout', 0), site('classifier', 'input')]
  return rows => out.apply(dropout(head(rows), p, where))
}

const sequence: HeadSpec<HeadLayers> = {
  modules: ['classifier'],
  reads: 'first',
  build(config, weights, { hiddenSize }, labels) {
    const pooling = string(config, 'classifier_pooling', 'cls')
    check(pooling === 'cls', 'ERR_CONFIG', () => {
      return `${config.path}: classifier_pooling is "${pooling}", but only "cls" runs here; write "cls" to train that`
    })
    return classifier(config, weights, hiddenSize, labels)
  },
}

const token: HeadSpec<HeadLayers> = {
  modules: ['classifier'],
  reads: 'every',
  build: (config, weights, { hiddenSize }, labels) => classifier(config, weights, hiddenSize, labels),
}

const maskedLm: HeadSpec<LmLayers> = {
  modules: [],
  reads: 'every',
  build(config, weights, backbone) {
    const transform = predictionHead(config, weights)
    const tying = bool(config, 'decoder_bias', true) ? { bias: 'decoder.bias' } : {}
    return { transform, output: outputOf(config, backbone, weights.fresh(), 'decoder', tying) }
  },
}

export const modernBert: Family = {
  modelType: 'modernbert',
  className: 'ModernBert',
  basePrefix: 'model',
  headTensors: /^(head|decoder|classifier|qa_outputs)\./,
  build,
  heads: { sequence, token, maskedLm },
}
