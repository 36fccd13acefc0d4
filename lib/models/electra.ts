// ELECTRA (Clark et al. 2020): BERT's layers on embeddings of a width of their own, without pooler. Discriminators
// classify, generators fill masks.

import { count, float, int, type ModelConfig, probability, string } from '../io/config.ts'
import type { Batch } from '../nn/batch.ts'
import { postNorm } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { scope } from '../tensor.ts'
import { must } from '../tuple.ts'
import { activationOf } from './activations.ts'
import { type Dims, encoderLayers, sublayerEnds } from './bert.ts'
import { checkEncoder, headDropout, padIdOf } from './encoder.ts'
import type { Backbone, Family } from './family.ts'
import { answerSpan, denseClassifier, denseLm, tokenClassifier } from './heads.ts'
import type { Weights } from './weights.ts'

function dims(config: ModelConfig): Dims & { width: number } {
  return {
    width: count(config, 'embedding_size', 128),
    hidden: count(config, 'hidden_size', 256),
    heads: count(config, 'num_attention_heads', 4),
    intermediate: count(config, 'intermediate_size', 1024),
    eps: float(config, 'layer_norm_eps', 1e-12),
    act: string(config, 'hidden_act', 'gelu'),
    dropout: probability(config, 'hidden_dropout_prob', 0.1),
    attentionDropout: probability(config, 'attention_probs_dropout_prob', 0.1),
    positions: count(config, 'max_position_embeddings', 512),
  }
}

function build(config: ModelConfig, weights: Weights): Backbone {
  const d = dims(config)
  checkEncoder(config, d.hidden, d.heads)
  const w = weights.at('electra')
  const at = w.at('embeddings')
  const vocabSize = count(config, 'vocab_size', 30522)
  const typeVocabSize = int(config, 'type_vocab_size', 2)
  const words = at.embedding('word_embeddings', vocabSize, d.width, padIdOf(config, 0, vocabSize))
  const positions = at.embedding('position_embeddings', d.positions, d.width)
  const types = at.embedding('token_type_embeddings', typeVocabSize, d.width)
  const norm = at.norm('LayerNorm', d.width, d.eps)
  const project = d.width === d.hidden ? undefined : w.linear('embeddings_project', d.width, d.hidden)
  const where = site(at.prefix, 'output')
  const embed = (batch: Batch) => {
    const placed = scope(() => add(words.apply(batch.ids), positions.apply(batch.positions)))
    const x = dropout(norm.apply(placed, types.apply(must(batch.typeIds, 'typeIds'))), d.dropout, where)
    return project ? project.apply(x) : x
  }
  const layers = encoderLayers(w, config, d)
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: layers.length,
    wordEmbeddings: words,
    limits: { vocabSize, typeVocabSize, maxPositions: d.positions },
    forward: postNorm(embed, layers),
  }
}

const maskedLm = denseLm(
  {
    dense: 'generator_predictions.dense',
    norm: 'generator_predictions.LayerNorm',
    output: 'generator_lm_head',
    bias: 'generator_lm_head.bias',
  },
  config => ({ ...dims(config), act: activationOf('gelu') }),
)

export const electra: Family = {
  modelType: 'electra',
  className: 'Electra',
  basePrefix: 'electra',
  headTensors: /^(generator_predictions|generator_lm_head|discriminator_predictions|classifier|qa_outputs)\./,
  build,
  inAdapterHub: true,
  sublayerEnds,
  heads: { sequence: denseClassifier('gelu'), token: tokenClassifier(headDropout), span: answerSpan(), maskedLm },
}
