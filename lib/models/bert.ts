// BERT (Devlin et al. 2018): post-norm encoder, learnt positions, segments, pooler.

import { count, float, int, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch } from '../nn/batch.ts'
import { linearGroup } from '../nn/linear.ts'
import { postNorm } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { scope, type Tensor } from '../tensor.ts'
import { mapTuple, must } from '../tuple.ts'
import { activationOf } from './activations.ts'
import { checkEncoder, headDropout, padIdOf } from './encoder.ts'
import type { Backbone, Family, HeadLayers, HeadSpec, SublayerEnds } from './family.ts'
import { answerSpan, denseLm, tokenClassifier } from './heads.ts'
import type { Weights } from './weights.ts'

/** Sizes and settings of an encoder of BERT's kind. */
export interface Dims {
  hidden: number
  heads: number
  intermediate: number
  eps: number
  act: string
  dropout: number
  attentionDropout: number
  positions: number
}

/** The sizes and settings as BERT and RoBERTa spell them. */
export function dims(config: ModelConfig): Dims {
  return {
    hidden: count(config, 'hidden_size', 768),
    heads: count(config, 'num_attention_heads', 12),
    intermediate: count(config, 'intermediate_size', 3072),
    eps: float(config, 'layer_norm_eps', 1e-12),
    act: string(config, 'hidden_act', 'gelu'),
    dropout: probability(config, 'hidden_dropout_prob', 0.1),
    attentionDropout: probability(config, 'attention_probs_dropout_prob', 0.1),
    positions: count(config, 'max_position_embeddings', 512),
  }
}

function attentionBlock(w: Weights, d: Dims): (x: Tensor, context: LayerContext) => Tensor {
  const [query, key, value] = mapTuple(['query', 'key', 'value'], name => w.linear(`self.${name}`, d.hidden, d.hidden))
  const dense = w.linear('output.dense', d.hidden, d.hidden)
  const norm = w.norm('output.LayerNorm', d.hidden, d.eps)
  const attention = new Attention(w.at('self').prefix, {
    heads: d.heads,
    headDim: d.hidden / d.heads,
    rowStride: d.positions,
    dropout: d.attentionDropout,
  })
  const output = { p: d.dropout, site: site(dense.path, 'output') }
  return (x, context) => {
    const [q, k, v] = linearGroup([query, key, value], x)
    return norm.apply(dense.apply(attention.apply(q, k, v, context)), x, output)
  }
}

function mlpBlock(w: Weights, d: Dims): (x: Tensor) => Tensor {
  const up = w.linear('intermediate.dense', d.hidden, d.intermediate)
  const down = w.linear('output.dense', d.intermediate, d.hidden)
  const norm = w.norm('output.LayerNorm', d.hidden, d.eps)
  const act = activationOf(d.act)
  const output = { p: d.dropout, site: site(down.path, 'output') }
  return x => norm.apply(down.apply(act.after(up, x)), x, output)
}

function embeddings(w: Weights, config: ModelConfig, d: Dims) {
  const vocabSize = count(config, 'vocab_size', 30522)
  const words = w.embedding('word_embeddings', vocabSize, d.hidden, padIdOf(config, 0, vocabSize))
  const positions = w.embedding('position_embeddings', d.positions, d.hidden)
  const types = w.embedding('token_type_embeddings', int(config, 'type_vocab_size', 2), d.hidden)
  const norm = w.norm('LayerNorm', d.hidden, d.eps)
  const where = site(w.prefix, 'output')
  return {
    words,
    apply: (batch: Batch) => {
      const placed = scope(() => add(words.apply(batch.ids), positions.apply(batch.positions)))
      return dropout(norm.apply(placed, types.apply(must(batch.typeIds, 'typeIds'))), d.dropout, where)
    },
  }
}

/** The layers below `w`, named as BERT's. */
export function encoderLayers(
  w: Weights,
  config: ModelConfig,
  d: Dims,
): ((x: Tensor, context: LayerContext) => Tensor)[] {
  return Array.from({ length: count(config, 'num_hidden_layers', 12) }, (_, i) => {
    const at = w.at(`encoder.layer.${i}`)
    const [attend, mlp] = [attentionBlock(at.at('attention'), d), mlpBlock(at, d)]
    return (x: Tensor, context: LayerContext) => mlp(attend(x, context))
  })
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  checkEncoder(config, d.hidden, d.heads)
  const w = weights.at('bert')
  const embed = embeddings(w.at('embeddings'), config, d)
  const layers = encoderLayers(w, config, d)
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: layers.length,
    wordEmbeddings: embed.words,
    limits: {
      vocabSize: embed.words.rows,
      typeVocabSize: int(config, 'type_vocab_size', 2),
      maxPositions: d.positions,
    },
    forward: postNorm(embed.apply, layers),
  }
}

const sequence: HeadSpec<HeadLayers> = {
  modules: ['classifier'],
  reads: 'first',
  build(config, weights, { hiddenSize }, labels) {
    const pooler = weights.at('bert.pooler').fresh().linear('dense', hiddenSize, hiddenSize)
    const classifier = weights.fresh().linear('classifier', hiddenSize, labels)
    const [p, where] = [headDropout(config), site('classifier', 'input')]
    return rows => classifier.apply(dropout(pooler.activated(rows, 'tanh'), p, where))
  },
}

const maskedLm = denseLm(
  { at: 'cls.predictions', dense: 'transform.dense', norm: 'transform.LayerNorm', output: 'decoder', bias: 'bias' },
  config => ({ ...dims(config), act: activationOf(dims(config).act) }),
)

/** Of this family and those with its layers. */
export const sublayerEnds: SublayerEnds = {
  ...{ attention: 'attention.output.dense', feedforward: 'output.dense' },
  normedAfter: { reads: 'intermediate.dense', norm: 'output.LayerNorm' },
}

export const bert: Family = {
  modelType: 'bert',
  className: 'Bert',
  basePrefix: 'bert',
  headTensors: /^(cls|classifier|qa_outputs|bert\.pooler)\./,
  build,
  inAdapterHub: true,
  sublayerEnds,
  heads: { sequence, token: tokenClassifier(headDropout), span: answerSpan(), maskedLm },
}
