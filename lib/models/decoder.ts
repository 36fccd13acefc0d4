import { bool, type ModelConfig } from '../io/config.ts'
import { linear } from '../ops/linear.ts'
import type { Backbone, HeadLayers } from './family.ts'
import type { Weights } from './weights.ts'

/**
 * Rows → vocabulary: the word embeddings with the bias `bias`, or, where the config unties them, the layer `name` of its
 * own.
 */
export function decoderOf(
  config: ModelConfig,
  backbone: Backbone,
  at: Weights,
  name: string,
  bias: string,
): HeadLayers {
  const { vocabSize } = backbone.limits
  const untied = !bool(config, 'tie_word_embeddings', true)
  const table = untied
    ? at.parameter(`${name}.weight`, [vocabSize, backbone.hiddenSize])
    : backbone.wordEmbeddings.weight
  const shift = at.parameter(untied && at.has(`${name}.bias`) ? `${name}.bias` : bias, [vocabSize])
  return rows => linear(rows, table.tensor, shift.tensor, at.compute)
}
