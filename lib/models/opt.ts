// OPT (Zhang et al. 2022): decoder with learnt positions that begin at 2, norms before the sublayers or after them.

import { check } from '../errors.ts'
import { bool, count, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import { type Batch, positionsOf } from '../nn/batch.ts'
import { linearGroup } from '../nn/linear.ts'
import { type Block, type Forward, type PreNorm, stack } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { activationOf } from './activations.ts'
import type { Backbone, Family } from './family.ts'
import { lastTokenScore, plainLm } from './heads.ts'
import { adoptTied } from './lmOutput.ts'
import type { Weights } from './weights.ts'

const EPS = 1e-5
/** Rows of the position table before that of the first token. */
const OFFSET = 2

function dims(config: ModelConfig) {
  const hidden = count(config, 'hidden_size', 768)
  return {
    hidden,
    heads: count(config, 'num_attention_heads', 12),
    intermediate: count(config, 'ffn_dim', 3072),
    positions: count(config, 'max_position_embeddings', 2048),
    act: activationOf(string(config, 'activation_function', 'relu')),
    words: count(config, 'word_embed_proj_dim', hidden),
    bias: bool(config, 'enable_bias', true),
    isPreNorm: bool(config, 'do_layer_norm_before', true),
    hasLastNorm: !bool(config, '_remove_final_layer_norm', false),
    dropout: probability(config, 'dropout', 0.1),
    attentionDropout: probability(config, 'attention_dropout', 0),
  }
}
type Dims = ReturnType<typeof dims>

function attentionBlock(w: Weights, d: Dims): (x: Tensor, context: LayerContext) => Tensor {
  const layers = mapTuple(['q_proj', 'k_proj', 'v_proj'], name => w.linear(name, d.hidden, d.hidden, d.bias))
  const output = w.linear('out_proj', d.hidden, d.hidden, d.bias)
  const attention = new Attention(w.prefix, {
    heads: d.heads,
    headDim: d.hidden / d.heads,
    causal: true,
    rowStride: d.positions,
    dropout: d.attentionDropout,
  })
  return (x, context) => {
    const [q, k, v] = linearGroup(layers, x)
    return output.apply(attention.apply(q, k, v, context))
  }
}

function layerOf(w: Weights, d: Dims): Block<PreNorm> {
  const attend = attentionBlock(w.at('self_attn'), d)
  const up = w.linear('fc1', d.hidden, d.intermediate, d.bias)
  const down = w.linear('fc2', d.intermediate, d.hidden, d.bias)
  const [first, second] = mapTuple(['self_attn_layer_norm', 'final_layer_norm'], name => w.norm(name, d.hidden, EPS))
  const [attended, fed] = mapTuple(['self_attn', 'fc2'], name => ({
    p: d.dropout,
    site: site(w.at(name).prefix, 'output'),
  }))
  const feed = (x: Tensor) => down.apply(d.act.after(up, x))
  if (!d.isPreNorm)
    return ([x], context) => {
      const middle = first.apply(attend(x, context), x, attended)
      return [second.apply(feed(middle), middle, fed), undefined]
    }
  return ([residual, branch], context) => {
    const { y, h } = first.join(residual, branch)
    const next = second.join(h, dropout(attend(y, context), attended.p, attended.site))
    return [next.h, dropout(feed(next.y), fed.p, fed.site)]
  }
}

function forwardOf(w: Weights, d: Dims, embed: (batch: Batch) => Tensor, blocks: readonly Block<PreNorm>[]): Forward {
  const norm = d.isPreNorm && d.hasLastNorm ? w.norm('final_layer_norm', d.hidden, EPS) : undefined
  const project = d.words === d.hidden ? undefined : w.linear('project_out', d.hidden, d.words, false)
  const hidden = ([h, branch]: PreNorm) => (branch ? add(h, branch) : h)
  return stack<PreNorm>({
    embed: batch => [embed(batch), undefined],
    blocks,
    hidden,
    output: state => {
      const last = norm ? norm.join(...state).y : hidden(state)
      return project ? project.apply(last) : last
    },
  })
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  check(bool(config, 'layer_norm_elementwise_affine', true), 'ERR_CONFIG', () => {
    return `${config.path}: layer_norm_elementwise_affine is false, but only norms with weights run here`
  })
  const w = weights.at('model.decoder')
  adoptTied(config, weights, 'lm_head.weight', 'model.decoder.embed_tokens.weight', true)
  const words = w.embedding('embed_tokens', count(config, 'vocab_size', 50272), d.words)
  const positions = w.embedding('embed_positions', d.positions + OFFSET, d.hidden)
  const project = d.words === d.hidden ? undefined : w.linear('project_in', d.words, d.hidden, false)
  const blocks = Array.from({ length: count(config, 'num_hidden_layers', 12) }, (_, i) =>
    layerOf(w.at(`layers.${i}`), d),
  )
  const embed = (batch: Batch) => {
    const x = words.apply(batch.ids)
    return add(project ? project.apply(x) : x, positions.apply(batch.positions))
  }
  return {
    hiddenSize: d.words,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: blocks.length,
    wordEmbeddings: words,
    limits: { vocabSize: words.rows, typeVocabSize: 0, maxPositions: d.positions + OFFSET, maxLength: d.positions },
    place: batch => positionsOf(batch).map(position => position + OFFSET),
    forward: forwardOf(w, d, embed, blocks),
  }
}

export const opt: Family = {
  modelType: 'opt',
  className: 'OPT',
  basePrefix: 'model',
  headTensors: /^(lm_head|score|qa_outputs)\./,
  build,
  sublayerEnds: { attention: 'out_proj', feedforward: 'fc2' },
  heads: { sequence: lastTokenScore, causalLm: plainLm('lm_head') },
}
