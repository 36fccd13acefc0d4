import { bool, type ModelConfig } from '../io/config.ts'
import { Linear } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import type { Backbone } from './family.ts'
import type { Weights } from './weights.ts'

/** How an output layer is tied to the word embeddings. */
interface Tying {
  /** Whether `tie_word_embeddings` is true where the config lacks it. Default true. */
  readonly isTied?: boolean
  /** Name of its bias while tied; without one it has none. */
  readonly bias?: string
}

/**
 * The layer from rows to the vocabulary: the word embeddings, or the layer `name` of its own where the config unties
 * them. As in transformers 5, a checkpoint that holds two tensors of different values for one tied tensor unties them.
 */
export function outputOf(
  config: ModelConfig,
  backbone: Backbone,
  at: Weights,
  name: string,
  { isTied = true, bias }: Tying,
): Linear {
  const { vocabSize } = backbone.limits
  const words = backbone.wordEmbeddings.weight
  const untied = !bool(config, 'tie_word_embeddings', isTied)
  const ownTable = untied || at.differs(`${name}.weight`, words.name)
  const table = ownTable ? at.parameter(`${name}.weight`, [vocabSize, words.columns]) : words
  if (!ownTable) at.shared.add(words)
  const shift = bias === undefined ? undefined : biasOf(at, untied, `${name}.bias`, bias, vocabSize)
  const output = new Linear(at.at(name).prefix, table, shift, at.compute)
  at.output = output
  return output
}

/** Where a checkpoint of tied embeddings holds the output layer alone, that is what they are. To be called first. */
export function adoptTied(config: ModelConfig, weights: Weights, output: string, words: string, isTied: boolean): void {
  if (!bool(config, 'tie_word_embeddings', isTied)) return
  if (weights.has(output) && !weights.has(words)) weights.rename(output, words)
}

function biasOf(at: Weights, untied: boolean, own: string, tied: string, vocabSize: number): Parameter {
  const bias = at.parameter(biasName(at, untied, own, tied), [vocabSize])
  // Nothing reads the shared bias of an untied decoder, but files hold it, and adapters that train every bias.
  if (bias.name !== at.at(tied).prefix && at.has(tied)) at.parameter(tied, [vocabSize])
  return bias
}

/** Both names stand for one tensor while tied; files hold either or both. */
function biasName(at: Weights, untied: boolean, own: string, tied: string): string {
  if (own === tied) return own
  if (untied) return at.has(own) || !at.has(tied) ? own : tied
  if (at.has(own) && !at.has(tied)) at.rename(own, tied)
  return at.differs(own, at.at(tied).prefix) ? own : tied
}
