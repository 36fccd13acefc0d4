// Layers of heads that several families have alike, under the names that transformers gives them.

import { type ModelConfig, probability } from '../io/config.ts'
import { activation } from '../ops/activation.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import type { Nonlinearity } from './activations.ts'
import { headDropout } from './encoder.ts'
import type { HeadLayers, HeadSpec, LmLayers } from './family.ts'
import { outputOf } from './lmOutput.ts'

/** Dropout before the classifier of a decoder's tokens. */
export function decoderDropout(config: ModelConfig): number {
  return probability(config, 'classifier_dropout', probability(config, 'hidden_dropout', 0.1))
}

/** One layer on every row, after a dropout. */
export function tokenClassifier(dropoutOf: (config: ModelConfig) => number, name = 'classifier'): HeadSpec<HeadLayers> {
  return {
    modules: [name],
    reads: 'every',
    build(config, weights, { hiddenSize }, labels) {
      const classifier = weights.fresh().linear(name, hiddenSize, labels)
      const [p, where] = [dropoutOf(config), site(name, 'input')]
      return rows => classifier.apply(dropout(rows, p, where))
    },
  }
}

/** One layer on every row: the logits of where an answer starts, and of where it ends. */
export function answerSpan(dropoutOf: (config: ModelConfig) => number = () => 0): HeadSpec<HeadLayers> {
  return tokenClassifier(dropoutOf, 'qa_outputs')
}

/** Two layers on the first row, each after a dropout. */
export function denseClassifier(
  between: 'tanh' | 'gelu',
  name = 'classifier',
  dropoutOf: (config: ModelConfig) => number = headDropout,
): HeadSpec<HeadLayers> {
  return {
    modules: [name],
    output: `${name}.out_proj`,
    reads: 'first',
    build(config, weights, { hiddenSize }, labels) {
      const at = weights.at(name).fresh()
      const [dense, out] = [at.linear('dense', hiddenSize, hiddenSize), at.linear('out_proj', hiddenSize, labels)]
      const p = dropoutOf(config)
      const [first, second] = [site(dense.path, 'input'), site(out.path, 'input')]
      return rows => out.apply(dropout(activation(dense.apply(dropout(rows, p, first)), between), p, second))
    },
  }
}

/** Names of what {@link denseLm} is made of. */
interface DenseLmNames {
  /** The module that holds them; without it they stand alone. */
  readonly at?: string
  readonly dense: string
  readonly norm: string
  readonly output: string
  readonly bias: string
}

/** Of the layers of {@link denseLm}; `width`: of its rows, where they are not as wide as the hidden state. */
interface DenseLmSizes {
  readonly hidden: number
  readonly width?: number
  readonly eps: number
  readonly act: Nonlinearity
}

/** Of encoders: a layer with its activation and norm, then the output layer, tied to the word embeddings. */
export function denseLm(names: DenseLmNames, sizesOf: (config: ModelConfig) => DenseLmSizes): HeadSpec<LmLayers> {
  return {
    modules: [],
    reads: 'every',
    build(config, weights, backbone) {
      const { hidden, width = hidden, eps, act } = sizesOf(config)
      const at = (names.at === undefined ? weights : weights.at(names.at)).fresh()
      const dense = at.linear(names.dense, hidden, width)
      const norm = at.norm(names.norm, width, eps)
      const output = outputOf(config, backbone, at, names.output, { bias: names.bias })
      return { transform: rows => norm.apply(act.after(dense, rows)), output }
    },
  }
}

/** Of decoders: one layer without bias on the last row. */
export const lastTokenScore: HeadSpec<HeadLayers> = {
  modules: ['score'],
  reads: 'last',
  build(_, weights, { hiddenSize }, labels) {
    const score = weights.fresh().linear('score', hiddenSize, labels, false)
    return rows => score.apply(rows)
  },
}

/** Of decoders: the output layer `name` on the hidden state as it is. `isTied`: where the config does not say. */
export function plainLm(name: string, isTied?: boolean): HeadSpec<LmLayers> {
  return {
    modules: [],
    reads: 'every',
    build: (config, weights, backbone) => ({
      transform: rows => rows,
      output: outputOf(config, backbone, weights, name, isTied === undefined ? {} : { isTied }),
    }),
  }
}
