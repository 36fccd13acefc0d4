import { sequenceClasses, sequenceNumbers } from '../data/targets.ts'
import type { HeadLayers, Reads } from '../models/family.ts'
import { add } from '../ops/add.ts'
import { bce } from '../ops/bce.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { mse } from '../ops/mse.ts'
import { Tensor } from '../tensor.ts'
import { type Head, type HeadKind, type Problem, rowsRead, wide } from './head.ts'

export const sequenceHead = {
  task: 'sequence-classification',
  aliases: ['text-classification', 'sentiment-analysis', 'classification', 'multi-label-classification', 'regression'],
  sits: 'sequence',
  isLabelled: true,
  peftType: 'SEQ_CLS',
  classSuffix: 'ForSequenceClassification',
  problemTypes: {
    single: 'single_label_classification',
    multi: 'multi_label_classification',
    regression: 'regression',
  },
  make: (layers: HeadLayers, outputs: number, problem: Problem, reads: Reads) =>
    sequenceClassification(layers, outputs, problem, reads),
} as const satisfies HeadKind

/** One row of logits a sequence, from its first or last token: a class, several classes, or numbers. */
export function sequenceClassification(
  layers: HeadLayers,
  outputs: number,
  problem: Problem,
  reads: Reads = 'first',
): Head {
  return {
    task: sequenceHead.task,
    problem,
    outputs,
    collate: problem === 'single' ? sequenceClasses : sequenceNumbers,
    rows: batch => rowsRead(reads, batch),
    logits: hidden => wide(layers(hidden)),

    loss(hidden, targets, { total, classWeights: weights, labelSmoothing: smoothing = 0 }) {
      const logits = wide(layers(hidden))
      const scale = 1 / total
      if (problem === 'single') return crossEntropy(logits, targets, { scale, weights, smoothing })
      if (problem === 'regression') return mse(logits, targets, scale)
      return smoothBce(logits, targets, { scale, weights, smoothing })
    },
  }
}

/** Targets t become t (1 − ε) + ε / 2: since the loss is linear in them, that is a sum of two. */
function smoothBce(
  logits: Tensor,
  targets: Tensor,
  { scale, weights, smoothing }: { scale: number; weights?: Tensor | undefined; smoothing: number },
): Tensor {
  if (smoothing === 0) return bce(logits, targets, scale, weights)
  const half = Tensor.from(new Float32Array(targets.size).fill(0.5), targets.shape, { device: targets.device })
  return add(bce(logits, targets, scale * (1 - smoothing), weights), bce(logits, half, scale * smoothing, weights))
}
