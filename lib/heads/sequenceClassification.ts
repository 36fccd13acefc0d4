import { check } from '../errors.ts'
import type { HeadLayers } from '../models/family.ts'
import { bce } from '../ops/bce.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { mse } from '../ops/mse.ts'
import { Tensor } from '../tensor.ts'
import { checkClasses, type Head, type Problem } from './head.ts'

/** One row of logits a sequence, from its first token: a class, several classes, or numbers. */
export function sequenceClassification(layers: HeadLayers, outputs: number, problem: Problem): Head {
  return {
    task: 'sequence-classification',
    problem,
    outputs,
    logits: layers,
    select: () => 'first',

    targets(batch, labels, device) {
      const sequences = batch.cuSeqlens.length - 1
      const expected = problem === 'single' ? sequences : sequences * outputs
      check(
        labels.length === expected,
        'ERR_DATA',
        () => `labels: ${labels.length} for ${sequences} sequences, expected ${expected}`,
      )
      if (problem === 'single') {
        checkClasses(labels, outputs)
        return Tensor.from(Int32Array.from(labels), [sequences], { device })
      }
      check(
        labels.every(Number.isFinite),
        'ERR_DATA',
        () => 'labels: a number is NaN or infinite; clean the label column',
      )
      return Tensor.from(Float32Array.from(labels), [sequences, outputs], { device })
    },

    loss(logits, targets, { total, classWeights, labelSmoothing }) {
      if (problem === 'single')
        return crossEntropy(logits, targets, {
          scale: 1 / total,
          weights: classWeights,
          smoothing: labelSmoothing ?? 0,
        })
      const scale = 1 / total
      return problem === 'multi' ? bce(logits, targets, scale, classWeights) : mse(logits, targets, scale)
    },
  }
}
