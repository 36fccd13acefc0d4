import { bool, type ModelConfig } from '../io/config.ts'
import { Linear } from '../nn/linear.ts'
import type { Backbone } from './family.ts'
import type { Weights } from './weights.ts'

/**
 * The layer from rows to the vocabulary: the word embeddings with the bias `bias`, or the layer `name` of its own where
 * the config unties them. As in transformers 5, a checkpoint that holds two tensors of different values for one tied
 * tensor unties them.
 */
export function outputOf(config: ModelConfig, backbone: Backbone, at: Weights, name: string, bias: string): Linear {
  const { vocabSize } = backbone.limits
  const words = backbone.wordEmbeddings.weight
  const untied = !bool(config, 'tie_word_embeddings', true)
  const ownTable = untied || at.differs(`${name}.weight`, words.name)
  const table = ownTable ? at.parameter(`${name}.weight`, [vocabSize, backbone.hiddenSize]) : words
  if (!ownTable) at.shared.add(words)
  const shift = at.parameter(biasName(at, untied, `${name}.bias`, bias), [vocabSize])
  // Nothing reads the shared bias of an untied decoder, but files hold it, and adapters that train every bias.
  if (shift.name !== at.at(bias).prefix && at.has(bias)) at.parameter(bias, [vocabSize])
  return new Linear(at.at(name).prefix, table, shift, at.compute)
}

/** Both names stand for one tensor while tied; files hold either or both. */
function biasName(at: Weights, untied: boolean, own: string, tied: string): string {
  if (own === tied) return own
  if (untied) return at.has(own) || !at.has(tied) ? own : tied
  if (at.has(own) && !at.has(tied)) at.rename(own, tied)
  return at.differs(own, at.at(tied).prefix) ? own : tied
}
