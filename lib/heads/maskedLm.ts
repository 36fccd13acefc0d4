import { check } from '../errors.ts'
import type { HeadLayers } from '../models/family.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { IGNORED } from '../ops/ignored.ts'
import { Tensor } from '../tensor.ts'
import { checkClasses, type Head } from './head.ts'

/** The vocabulary's logits, only for tokens that have a label: the [tokens, vocabulary] matrix is never made whole. */
export function maskedLm(layers: HeadLayers, vocabSize: number): Head {
  return {
    task: 'masked-lm',
    problem: 'single',
    outputs: vocabSize,
    logits: layers,

    select(_, labels) {
      if (!labels) return 'all'
      const rows: number[] = []
      labels.forEach((label, i) => {
        if (label !== IGNORED) rows.push(i)
      })
      return Int32Array.from(rows)
    },

    targets(batch, labels, device) {
      const tokens = batch.ids.length
      check(labels.length === tokens, 'ERR_DATA', () => `labels: ${labels.length} for ${tokens} tokens`)
      checkClasses(labels, vocabSize)
      const kept = Int32Array.from(labels).filter(label => label !== IGNORED)
      check(kept.length > 0, 'ERR_DATA', () => 'labels: no token of the batch is masked; raise maskProbability')
      return Tensor.from(kept, [kept.length], { device })
    },

    loss: (logits, targets, { total }) => crossEntropy(logits, targets, { scale: 1 / total }),
  }
}
