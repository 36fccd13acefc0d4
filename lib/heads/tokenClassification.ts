import { tokenClasses } from '../data/targets.ts'
import type { HeadLayers } from '../models/family.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { type Head, type HeadKind, wide } from './head.ts'

export const tokenHead = {
  task: 'token-classification',
  aliases: ['ner', 'named-entity-recognition', 'tagging', 'pos-tagging'],
  sits: 'token',
  isLabelled: true,
  peftType: 'TOKEN_CLS',
  classSuffix: 'ForTokenClassification',
  make: (layers: HeadLayers, outputs: number) => tokenClassification(layers, outputs),
} as const satisfies HeadKind

/** A class for every token; labels of -100 count for nothing. */
export function tokenClassification(layers: HeadLayers, outputs: number): Head {
  return {
    task: tokenHead.task,
    problem: 'single',
    outputs,
    collate: tokenClasses,
    rows: () => undefined,
    logits: hidden => wide(layers(hidden)),

    loss: (hidden, targets, { total, classWeights: weights, labelSmoothing: smoothing = 0 }) =>
      crossEntropy(wide(layers(hidden)), targets, { scale: 1 / total, weights, smoothing }),
  }
}
