// Heads over a vocabulary. The [tokens, vocabulary] matrix is never made whole: only supervised tokens have rows, and
// their loss goes through pieces of it where nothing of the output layer trains.

import { decoderTokens, hiddenTokens, nextTokens } from '../data/targets.ts'
import type { LmLayers } from '../models/family.ts'
import { activation } from '../ops/activation.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { linearCrossEntropy, linearCrossEntropyParts } from '../ops/linearCrossEntropy.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { type Head, type HeadKind, type LossOptions, rowsRead, wide } from './head.ts'
import { likeliestRows } from './likeliest.ts'
import { lossInPieces } from './pieces.ts'

export const maskedLmHead = {
  task: 'masked-lm',
  aliases: ['fill-mask', 'mlm', 'masked-language-modeling'],
  sits: 'maskedLm',
  isLabelled: false,
  classSuffix: 'ForMaskedLM',
  make: (layers: LmLayers) => maskedLm(layers),
} as const satisfies HeadKind

export const causalLmHead = {
  task: 'causal-lm',
  aliases: ['text-generation', 'clm', 'language-modeling', 'causal-language-modeling', 'chat'],
  sits: 'causalLm',
  isLabelled: false,
  peftType: 'CAUSAL_LM',
  classSuffix: 'ForCausalLM',
  make: (layers: LmLayers) => causalHead(layers),
} as const satisfies HeadKind

export const seq2seqLmHead = {
  task: 'seq2seq-lm',
  aliases: ['text2text-generation', 'summarization', 'translation', 'seq2seq'],
  sits: 'seq2seqLm',
  isLabelled: false,
  peftType: 'SEQ_2_SEQ_LM',
  classSuffix: 'ForConditionalGeneration',
  make: (layers: LmLayers) => seq2seqLm(layers),
} as const satisfies HeadKind

/** The ids of hidden tokens, from their own rows. */
function maskedLm(layers: LmLayers): Head {
  return { ...languageModel(layers), task: maskedLmHead.task, collate: hiddenTokens }
}

/** The id of the next token, from the row of each token. */
export function causalHead(layers: LmLayers): Head {
  return { ...languageModel(layers), task: causalLmHead.task, collate: nextTokens }
}

/** The id of each token that a decoder says, from the row of the one before it. */
function seq2seqLm(layers: LmLayers): Head {
  return { ...languageModel(layers), task: seq2seqLmHead.task, collate: decoderTokens }
}

function languageModel(layers: LmLayers): Omit<Head, 'task' | 'collate'> {
  const { transform, output, softcap = 0 } = layers
  const capped = (logits: Tensor) => (softcap ? scale(activation(scale(logits, 1 / softcap), 'tanh'), softcap) : logits)
  const logitsOf = (rows: Tensor) => wide(capped(wide(output.apply(rows))))
  const isFrozen = () => !(output.weight.trains || output.bias?.trains || output.isAdapted)
  return {
    problem: 'single',
    outputs: output.outFeatures,
    rows: (batch, targets) => targets?.rows ?? rowsRead('every', batch),
    logits: hidden => logitsOf(transform(hidden)),

    loss(hidden, targets, { total, labelSmoothing: smoothing = 0 }: LossOptions) {
      const rows = transform(hidden)
      const { weight, bias, compute } = output
      const options = { scale: 1 / total, smoothing }
      if (!isFrozen())
        return lossInPieces(rows, [targets], output.outFeatures, (part, [ids]) => {
          return crossEntropy(logitsOf(part), ids, options)
        })
      return linearCrossEntropy(rows, weight.tensor, targets, { ...options, bias: bias?.tensor, softcap, compute })
    },

    together: {
      rows: hidden => (isFrozen() ? transform(hidden) : undefined),
      losses(rows, ids, parts, { labelSmoothing: smoothing = 0 }) {
        const { weight, bias, compute } = output
        return linearCrossEntropyParts(rows, weight.tensor, ids, parts, {
          smoothing,
          bias: bias?.tensor,
          softcap,
          compute,
        })
      },
    },

    likeliest: hidden => likeliestRows(transform(hidden), output.outFeatures, logitsOf),
  }
}
