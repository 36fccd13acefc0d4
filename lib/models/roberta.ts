// RoBERTa (Liu et al. 2019): BERT's encoder; positions count from the padding id on, one segment, no pooler.

import { check } from '../errors.ts'
import { count, int, type ModelConfig } from '../io/config.ts'
import type { Batch, PackedBatch } from '../nn/batch.ts'
import { postNorm } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { scope } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { activationOf } from './activations.ts'
import { dims, encoderLayers, sublayerEnds } from './bert.ts'
import { checkEncoder, headDropout, padIdOf } from './encoder.ts'
import type { Backbone, Family } from './family.ts'
import { answerSpan, denseClassifier, denseLm, tokenClassifier } from './heads.ts'
import type { Weights } from './weights.ts'

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
    for (let i = nth(cuSeqlens, s); i < nth(cuSeqlens, s + 1); i++) placed[i] = ids[i] === padId ? padId : ++position
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
  const types = at.embedding('token_type_embeddings', int(config, 'type_vocab_size', 2), d.hidden)
  const norm = at.norm('LayerNorm', d.hidden, d.eps)
  const where = site(at.prefix, 'output')
  const layers = encoderLayers(w, config, d)
  const embed = (batch: Batch) => {
    const placed = scope(() => add(words.apply(batch.ids), positions.apply(batch.positions)))
    return dropout(norm.apply(placed, types.apply(must(batch.typeIds, 'typeIds'))), d.dropout, where)
  }
  return {
    hiddenSize: d.hidden,
    kvHeads: d.heads,
    headDim: d.hidden / d.heads,
    layers: layers.length,
    wordEmbeddings: words,
    limits: {
      vocabSize: words.rows,
      typeVocabSize: types.rows,
      maxPositions: d.positions,
      maxLength: d.positions - padId - 1,
    },
    forward: postNorm(embed, layers),
    place: batch => positionsSkipping(batch, padId),
  }
}

const maskedLm = denseLm(
  { at: 'lm_head', dense: 'dense', norm: 'layer_norm', output: 'decoder', bias: 'bias' },
  config => ({ ...dims(config), act: activationOf('gelu') }),
)

export const roberta: Family = {
  modelType: 'roberta',
  className: 'Roberta',
  basePrefix: 'roberta',
  headTensors: /^(lm_head|classifier|qa_outputs|roberta\.pooler)\./,
  build,
  inAdapterHub: true,
  sublayerEnds,
  heads: { sequence: denseClassifier('tanh'), token: tokenClassifier(headDropout), span: answerSpan(), maskedLm },
}

/** XLM-RoBERTa (Conneau et al. 2020): the same model with a vocabulary of a hundred languages. */
export const xlmRoberta: Family = { ...roberta, modelType: 'xlm-roberta', className: 'XLMRoberta' }
