// GPT-2 (Radford et al. 2019): pre-norm decoder, learnt positions, fused query, key and value in transposed layers.

import { bool, count, float, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch } from '../nn/batch.ts'
import { type Block, type PreNorm, preNorm } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { activationOf } from './activations.ts'
import type { Backbone, Family } from './family.ts'
import { decoderDropout, lastTokenScore, plainLm, tokenClassifier } from './heads.ts'
import { adoptTied } from './lmOutput.ts'
import type { Weights } from './weights.ts'

function dims(config: ModelConfig) {
  const hidden = count(config, 'n_embd', 768)
  return {
    hidden,
    heads: count(config, 'n_head', 12),
    intermediate: count(config, 'n_inner', 4 * hidden),
    positions: count(config, 'n_positions', 1024),
    eps: float(config, 'layer_norm_epsilon', 1e-5),
    act: activationOf(string(config, 'activation_function', 'gelu_new')),
    dropout: probability(config, 'resid_pdrop', 0.1),
    embeddingDropout: probability(config, 'embd_pdrop', 0.1),
    attentionDropout: probability(config, 'attn_pdrop', 0.1),
    scalesScores: bool(config, 'scale_attn_weights', true),
    scalesByLayer: bool(config, 'scale_attn_by_inverse_layer_idx', false),
  }
}
type Dims = ReturnType<typeof dims>

function attentionBlock(w: Weights, d: Dims, layer: number): (x: Tensor, context: LayerContext) => Tensor {
  const qkv = w.conv1d('c_attn', d.hidden, 3 * d.hidden)
  const output = w.conv1d('c_proj', d.hidden, d.hidden)
  const headDim = d.hidden / d.heads
  const attention = new Attention(w.prefix, {
    heads: d.heads,
    headDim,
    causal: true,
    rowStride: d.positions,
    dropout: d.attentionDropout,
    scale: (d.scalesScores ? headDim ** -0.5 : 1) / (d.scalesByLayer ? layer + 1 : 1),
  })
  return (x, context) => {
    const [q, k, v] = qkv.applyParts(x, [d.hidden, d.hidden, d.hidden])
    return output.apply(attention.apply(q, k, v, context))
  }
}

function layerOf(w: Weights, d: Dims, layer: number): Block<PreNorm> {
  const attend = attentionBlock(w.at('attn'), d, layer)
  const [up, down] = [w.conv1d('mlp.c_fc', d.hidden, d.intermediate), w.conv1d('mlp.c_proj', d.intermediate, d.hidden)]
  const [before, between] = mapTuple(['ln_1', 'ln_2'], name => w.norm(name, d.hidden, d.eps))
  const [attended, fed] = mapTuple(['attn.c_proj', 'mlp.c_proj'], name => site(w.at(name).prefix, 'output'))
  return ([residual, branch], context) => {
    const { y, h } = before.join(residual, branch)
    const next = between.join(h, dropout(attend(y, context), d.dropout, attended))
    return [next.h, dropout(down.apply(d.act.after(up, next.y)), d.dropout, fed)]
  }
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  const w = weights.at('transformer')
  adoptTied(config, weights, 'lm_head.weight', 'transformer.wte.weight', true)
  const words = w.embedding('wte', count(config, 'vocab_size', 50257), d.hidden)
  const positions = w.embedding('wpe', d.positions, d.hidden)
  const blocks = Array.from({ length: count(config, 'n_layer', 12) }, (_, i) => layerOf(w.at(`h.${i}`), d, i))
  const norm = w.norm('ln_f', d.hidden, d.eps)
  const where = site(w.prefix, 'embeddings')
  const embed = (batch: Batch) =>
    dropout(add(words.apply(batch.ids), positions.apply(batch.positions)), d.embeddingDropout, where)
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: blocks.length,
    wordEmbeddings: words,
    limits: { vocabSize: words.rows, typeVocabSize: 0, maxPositions: d.positions },
    forward: preNorm(embed, blocks, norm),
  }
}

export const gpt2: Family = {
  modelType: 'gpt2',
  className: 'GPT2',
  basePrefix: 'transformer',
  headTensors: /^(lm_head|score|classifier|qa_outputs)\./,
  build,
  inAdapterHub: true,
  sublayerEnds: { attention: 'attn.c_proj', feedforward: 'mlp.c_proj' },
  heads: {
    sequence: lastTokenScore,
    token: tokenClassifier(decoderDropout),
    causalLm: { ...plainLm('lm_head'), className: 'GPT2LMHeadModel' },
  },
}
