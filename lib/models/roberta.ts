// RoBERTa (Liu et al. 2019): BERT's encoder; positions count from the padding id on, one segment, no pooler.

import { check } from '../errors.ts'
import { count, float, int, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch, PackedBatch } from '../nn/batch.ts'
import { linearGroup } from '../nn/linear.ts'
import { postNorm } from '../nn/stack.ts'
import { activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { scope, type Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { activationOf } from './activations.ts'
import { checkEncoder, headDropout, padIdOf } from './encoder.ts'
import type { Backbone, Family, HeadSpec, LmLayers } from './family.ts'
import { answerSpan, denseClassifier, tokenClassifier } from './heads.ts'
import { outputOf } from './lmOutput.ts'
import type { Weights } from './weights.ts'

function dims(config: ModelConfig) {
  return {
    hidden: count(config, 'hidden_size', 768),
    heads: count(config, 'num_attention_heads', 12),
    intermediate: count(config, 'intermediate_size', 3072),
    eps: float(config, 'layer_norm_eps', 1e-12),
    act: activationOf(string(config, 'hidden_act', 'gelu')),
    dropout: probability(config, 'hidden_dropout_prob', 0.1),
    attentionDropout: probability(config, 'attention_probs_dropout_prob', 0.1),
    positions: count(config, 'max_position_embeddings', 512),
    types: int(config, 'type_vocab_size', 2),
  }
}
type Dims = ReturnType<typeof dims>

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
  const output = { p: d.dropout, site: site(down.path, 'output') }
  return x => norm.apply(down.apply(d.act(up.apply(x))), x, output)
}

/** The padding id, which positions count from. */
function positionsAfter(config: ModelConfig, vocabSize: number, positions: number): number {
  const padId = padIdOf(config, 1, vocabSize)
  check(padId !== undefined && padId + 1 < positions, 'ERR_CONFIG', () => {
    return `${config.path}: positions count from pad_token_id + 1, which is ${padId ?? null} + 1 of ${positions} positions`
  })
  return padId
}

/** Tokens count up from the padding id + 1, and the padding id itself sits at its own position. */
function positionsSkipping({ ids, cuSeqlens }: PackedBatch, padId: number): Int32Array {
  const placed = new Int32Array(ids.length)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    let position = padId
    for (let i = cuSeqlens[s]!; i < cuSeqlens[s + 1]!; i++) placed[i] = ids[i] === padId ? padId : ++position
  }
  return placed
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  checkEncoder(config, d.hidden, d.heads)
  const w = weights.at('roberta')
  const at = w.at('embeddings')
  const vocabSize = count(config, 'vocab_size', 50265)
  const padId = positionsAfter(config, vocabSize, d.positions)
  const words = at.embedding('word_embeddings', vocabSize, d.hidden, padId)
  const positions = at.embedding('position_embeddings', d.positions, d.hidden, padId)
  const types = at.embedding('token_type_embeddings', d.types, d.hidden)
  const norm = at.norm('LayerNorm', d.hidden, d.eps)
  const where = site(at.prefix, 'output')
  const layers = Array.from({ length: count(config, 'num_hidden_layers', 12) }, (_, i) => {
    const layer = w.at(`encoder.layer.${i}`)
    const [attend, mlp] = [attentionBlock(layer.at('attention'), d), mlpBlock(layer, d)]
    return (x: Tensor, context: LayerContext) => mlp(attend(x, context))
  })
  const embed = (batch: Batch) => {
    const placed = scope(() => add(words.apply(batch.ids), positions.apply(batch.positions)))
    return dropout(norm.apply(placed, types.apply(batch.typeIds)), d.dropout, where)
  }
  return {
    hiddenSize: d.hidden,
    layers: layers.length,
    wordEmbeddings: words,
    limits: {
      vocabSize: words.rows,
      typeVocabSize: d.types,
      maxPositions: d.positions,
      maxLength: d.positions - padId - 1,
    },
    forward: postNorm(embed, layers),
    place: batch => positionsSkipping(batch, padId),
  }
}

const maskedLm: HeadSpec<LmLayers> = {
  modules: [],
  reads: 'every',
  build(config, weights, backbone) {
    const d = dims(config)
    const at = weights.at('lm_head').fresh()
    const dense = at.linear('dense', d.hidden, d.hidden)
    const norm = at.norm('layer_norm', d.hidden, d.eps)
    const output = outputOf(config, backbone, at, 'decoder', { bias: 'bias' })
    return { transform: rows => norm.apply(activation(dense.apply(rows), 'gelu')), output }
  },
}

export const roberta: Family = {
  modelType: 'roberta',
  className: 'Roberta',
  basePrefix: 'roberta',
  headTensors: /^(lm_head|classifier|qa_outputs|roberta\.pooler)\./,
  build,
  heads: { sequence: denseClassifier('tanh'), token: tokenClassifier(headDropout), span: answerSpan(), maskedLm },
}

/** XLM-RoBERTa (Conneau et al. 2020): the same model with a vocabulary of a hundred languages. */
export const xlmRoberta: Family = { ...roberta, modelType: 'xlm-roberta', className: 'XLMRoberta' }
