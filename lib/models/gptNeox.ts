// GPT-NeoX (Black et al. 2022) and Pythia: rotary positions on a part of each head, attention and feed-forward side by
// side, query, key and value kept head by head.

import { bool, count, float, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import { gatherColumns } from '../nn/columns.ts'
import type { Rotary } from '../nn/rope.ts'
import { type Block, type PreNorm, preNorm } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { rope } from '../ops/rope.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { activationOf } from './activations.ts'
import type { Backbone, Family } from './family.ts'
import { lastTokenScore, plainLm, tokenClassifier } from './heads.ts'
import { adoptTied } from './lmOutput.ts'
import { rotaryOf } from './rotary.ts'
import type { Weights } from './weights.ts'

function dims(config: ModelConfig) {
  const hidden = count(config, 'hidden_size', 6144)
  const heads = count(config, 'num_attention_heads', 64)
  return {
    hidden,
    heads,
    headDim: hidden / heads,
    intermediate: count(config, 'intermediate_size', 24576),
    positions: count(config, 'max_position_embeddings', 2048),
    eps: float(config, 'layer_norm_eps', 1e-5),
    act: activationOf(string(config, 'hidden_act', 'gelu')),
    bias: bool(config, 'attention_bias', true),
    isParallel: bool(config, 'use_parallel_residual', true),
    dropout: probability(config, 'hidden_dropout', 0),
    attentionDropout: probability(config, 'attention_dropout', 0),
  }
}
type Dims = ReturnType<typeof dims>

/** Rotary parameters under the names of other families. */
function rotaryConfig(config: ModelConfig): ModelConfig {
  const { rotary_pct: share = 0.25, rotary_emb_base: theta = 10000, ...values } = config.values
  return { ...config, values: { partial_rotary_factor: share, rope_theta: theta, ...values } }
}

function attentionBlock(w: Weights, d: Dims, rotary: Rotary): (x: Tensor, context: LayerContext) => Tensor {
  const { headDim } = d
  const qkv = w.linear('query_key_value', d.hidden, 3 * d.hidden, d.bias)
  const output = w.linear('dense', d.hidden, d.hidden, d.bias)
  const attention = new Attention(w.prefix, {
    heads: d.heads,
    headDim,
    causal: true,
    rowStride: d.positions,
    dropout: d.attentionDropout,
  })
  const parts = mapTuple([0, 1, 2], i => ({ start: i * headDim, width: headDim, period: 3 * headDim }))
  return (x, context) => {
    const [q, k, v] = gatherColumns(qkv.apply(x), parts)
    const [rotatedQ, rotatedK] = rope(q, k, rotary.of(context.batch))
    return output.apply(attention.apply(rotatedQ, rotatedK, v, context))
  }
}

function layerOf(w: Weights, d: Dims, rotary: Rotary): Block<PreNorm> {
  const attend = attentionBlock(w.at('attention'), d, rotary)
  const up = w.linear('mlp.dense_h_to_4h', d.hidden, d.intermediate)
  const down = w.linear('mlp.dense_4h_to_h', d.intermediate, d.hidden)
  const [first, second] = mapTuple(['input_layernorm', 'post_attention_layernorm'], name =>
    w.norm(name, d.hidden, d.eps),
  )
  const [attended, fed] = mapTuple(['attention', 'mlp'], name => site(w.at(name).prefix, 'output'))
  const feed = (x: Tensor) => dropout(down.apply(d.act.after(up, x)), d.dropout, fed)
  return ([residual, branch], context) => {
    const { y, h } = first.join(residual, branch)
    const mine = dropout(attend(y, context), d.dropout, attended)
    if (d.isParallel) return [h, add(mine, feed(second.apply(h)))]
    const next = second.join(h, mine)
    return [next.h, feed(next.y)]
  }
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  const w = weights.at('gpt_neox')
  adoptTied(config, weights, 'embed_out.weight', 'gpt_neox.embed_in.weight', false)
  const words = w.embedding('embed_in', count(config, 'vocab_size', 50432), d.hidden)
  const rotary = rotaryOf(weights, rotaryConfig(config), d.headDim)
  const blocks = Array.from({ length: count(config, 'num_hidden_layers', 44) }, (_, i) =>
    layerOf(w.at(`layers.${i}`), d, rotary),
  )
  const norm = w.norm('final_layer_norm', d.hidden, d.eps)
  const where = site(w.prefix, 'embeddings')
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: blocks.length,
    wordEmbeddings: words,
    limits: { vocabSize: words.rows, typeVocabSize: 0, maxPositions: d.positions },
    forward: preNorm(({ ids }) => dropout(words.apply(ids), d.dropout, where), blocks, norm),
  }
}

export const gptNeox: Family = {
  modelType: 'gpt_neox',
  className: 'GPTNeoX',
  basePrefix: 'gpt_neox',
  headTensors: /^(embed_out|score|classifier|qa_outputs)\./,
  build,
  sublayerEnds: { attention: 'attention.dense', feedforward: 'dense_4h_to_h' },
  heads: {
    sequence: lastTokenScore,
    token: tokenClassifier(config => probability(config, 'classifier_dropout', 0.1)),
    causalLm: plainLm('embed_out', false),
  },
}
