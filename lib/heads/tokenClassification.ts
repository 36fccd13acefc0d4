import { check } from '../errors.ts'
import type { HeadLayers } from '../models/family.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { Tensor } from '../tensor.ts'
import { checkClasses, type Head } from './head.ts'

/** A class for every token; labels of -100 count for nothing. */
export function tokenClassification(layers: HeadLayers, outputs: number): Head {
  return {
    task: 'token-classification',
    problem: 'single',
    outputs,
    logits: layers,
    select: () => 'all',

    targets(batch, labels, device) {
      const tokens = batch.ids.length
      check(labels.length === tokens, 'ERR_DATA', () => `labels: ${labels.length} for ${tokens} tokens`)
      checkClasses(labels, outputs)
      return Tensor.from(Int32Array.from(labels), [tokens], { device })
    },

    loss: (logits, targets, { total, classWeights, labelSmoothing }) =>
      crossEntropy(logits, targets, { scale: 1 / total, weights: classWeights, smoothing: labelSmoothing ?? 0 }),
  }
}
