// DistilBERT (Sanh et al. 2019): BERT's encoder under other names, without segments and pooler.

import { count, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch } from '../nn/batch.ts'
import { linearGroup } from '../nn/linear.ts'
import { postNorm } from '../nn/stack.ts'
import { activation } from '../ops/activation.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { activationOf } from './activations.ts'
import { checkEncoder, padIdOf } from './encoder.ts'
import type { Backbone, Family, HeadLayers, HeadSpec } from './family.ts'
import { answerSpan, denseLm, tokenClassifier } from './heads.ts'
import type { Weights } from './weights.ts'

/** Fixed in this family; its config has no key for it. */
const EPS = 1e-12

function dims(config: ModelConfig) {
  return {
    hidden: count(config, 'dim', 768),
    heads: count(config, 'n_heads', 12),
    intermediate: count(config, 'hidden_dim', 3072),
    act: activationOf(string(config, 'activation', 'gelu')),
    dropout: probability(config, 'dropout', 0.1),
    attentionDropout: probability(config, 'attention_dropout', 0.1),
    positions: count(config, 'max_position_embeddings', 512),
  }
}
type Dims = ReturnType<typeof dims>

function attentionBlock(w: Weights, d: Dims): (x: Tensor, context: LayerContext) => Tensor {
  const at = w.at('attention')
  const [query, key, value] = mapTuple(['q_lin', 'k_lin', 'v_lin'], name => at.linear(name, d.hidden, d.hidden))
  const dense = at.linear('out_lin', d.hidden, d.hidden)
  const norm = w.norm('sa_layer_norm', d.hidden, EPS)
  const attention = new Attention(at.prefix, {
    heads: d.heads,
    headDim: d.hidden / d.heads,
    rowStride: d.positions,
    dropout: d.attentionDropout,
  })
  return (x, context) => {
    const [q, k, v] = linearGroup([query, key, value], x)
    return norm.apply(dense.apply(attention.apply(q, k, v, context)), x)
  }
}

function mlpBlock(w: Weights, d: Dims): (x: Tensor) => Tensor {
  const up = w.linear('ffn.lin1', d.hidden, d.intermediate)
  const down = w.linear('ffn.lin2', d.intermediate, d.hidden)
  const norm = w.norm('output_layer_norm', d.hidden, EPS)
  const output = { p: d.dropout, site: site(down.path, 'output') }
  return x => norm.apply(down.apply(d.act.after(up, x)), x, output)
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  checkEncoder(config, d.hidden, d.heads)
  const w = weights.at('distilbert')
  const at = w.at('embeddings')
  const vocabSize = count(config, 'vocab_size', 30522)
  const words = at.embedding('word_embeddings', vocabSize, d.hidden, padIdOf(config, 0, vocabSize))
  // Sinusoidal tables are stored like learnt ones.
  const positions = at.embedding('position_embeddings', d.positions, d.hidden)
  const norm = at.norm('LayerNorm', d.hidden, EPS)
  const where = site(at.prefix, 'output')
  const layers = Array.from({ length: count(config, 'n_layers', 6) }, (_, i) => {
    const layer = w.at(`transformer.layer.${i}`)
    const [attend, mlp] = [attentionBlock(layer, d), mlpBlock(layer, d)]
    return (x: Tensor, context: LayerContext) => mlp(attend(x, context))
  })
  const embed = (batch: Batch) =>
    dropout(norm.apply(words.apply(batch.ids), positions.apply(batch.positions)), d.dropout, where)
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: layers.length,
    wordEmbeddings: words,
    limits: { vocabSize: words.rows, typeVocabSize: 0, maxPositions: d.positions },
    forward: postNorm(embed, layers),
  }
}

const sequence: HeadSpec<HeadLayers> = {
  modules: ['pre_classifier', 'classifier'],
  reads: 'first',
  build(config, weights, { hiddenSize }, labels) {
    const at = weights.fresh()
    const pre = at.linear('pre_classifier', hiddenSize, hiddenSize)
    const classifier = at.linear('classifier', hiddenSize, labels)
    const [p, where] = [probability(config, 'seq_classif_dropout', 0.2), site('classifier', 'input')]
    return rows => classifier.apply(dropout(activation(pre.apply(rows), 'relu'), p, where))
  },
}

const maskedLm = denseLm(
  { dense: 'vocab_transform', norm: 'vocab_layer_norm', output: 'vocab_projector', bias: 'vocab_projector.bias' },
  config => ({ ...dims(config), eps: EPS }),
)

export const distilbert: Family = {
  modelType: 'distilbert',
  className: 'DistilBert',
  basePrefix: 'distilbert',
  headTensors: /^(vocab_transform|vocab_layer_norm|vocab_projector|pre_classifier|classifier|qa_outputs)\./,
  build,
  inAdapterHub: true,
  sublayerEnds: {
    ...{ attention: 'out_lin', feedforward: 'lin2' },
    normedAfter: { reads: 'ffn.lin1', norm: 'output_layer_norm' },
  },
  heads: {
    sequence,
    token: tokenClassifier(config => probability(config, 'dropout', 0.1)),
    span: answerSpan(config => probability(config, 'qa_dropout', 0.1)),
    maskedLm,
  },
}
