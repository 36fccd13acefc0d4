import type { HeadLayers, Reads } from '../models/family.ts'
import { bce } from '../ops/bce.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { mse } from '../ops/mse.ts'
import { type Head, type Problem, rowsRead, wide } from './head.ts'
import { sequenceClasses, sequenceNumbers } from './targets.ts'

/** One row of logits a sequence, from its first or last token: a class, several classes, or numbers. */
export function sequenceClassification(
  layers: HeadLayers,
  outputs: number,
  problem: Problem,
  reads: Reads = 'first',
): Head {
  return {
    task: 'sequence-classification',
    problem,
    outputs,
    collate: problem === 'single' ? sequenceClasses : sequenceNumbers,
    rows: batch => rowsRead(reads, batch),
    logits: hidden => wide(layers(hidden)),

    loss(hidden, targets, { total, classWeights: weights, labelSmoothing: smoothing = 0 }) {
      const logits = wide(layers(hidden))
      const scale = 1 / total
      if (problem === 'single') return crossEntropy(logits, targets, { scale, weights, smoothing })
      return problem === 'multi' ? bce(logits, targets, scale, weights) : mse(logits, targets, scale)
    },
  }
}
