// A score for each answer, by which the better one of two is to have more.

import type { Example } from '../data/example.ts'
import type { Targets } from '../data/targets.ts'
import { check } from '../errors.ts'
import type { HeadLayers, Reads } from '../models/family.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { type Head, type HeadKind, type Problem, rowsRead, wide } from './head.ts'

const REGRESSION = 'regression'

export const rewardHead = {
  task: 'reward',
  aliases: ['reward-model', 'reward-modeling'],
  sits: 'sequence',
  isLabelled: true,
  peftType: 'SEQ_CLS',
  classSuffix: 'ForSequenceClassification',
  problemTypes: { single: REGRESSION, multi: REGRESSION, regression: REGRESSION },
  make: (layers: HeadLayers, outputs: number, _: Problem, reads: Reads) => reward(layers, outputs, reads),
} as const satisfies HeadKind

/** Pairs of answers, the better one first; undefined where answers stand alone. */
function answerPairs(examples: readonly Example[]): Targets | undefined {
  const pairs = examples.filter(({ other }) => other).length
  if (pairs === 0) return undefined
  check(pairs === examples.length, 'ERR_DATA', () => 'batches: answers with and without another in one batch')
  return pairTargets(pairs)
}

/** The first of each two rows of logits is to be told from the other: its class is 0. */
function pairTargets(pairs: number): Targets {
  const slice = (from: number, to: number) => pairTargets((to - from) / 2)
  return { rows: undefined, values: new Int32Array(2 * pairs), width: 1, weight: pairs, slice }
}

/** −log σ of how much more the better answer has (Bradley and Terry 1952), the mean over pairs. */
function reward(layers: HeadLayers, outputs: number, reads: Reads): Head {
  check(outputs === 1, 'ERR_OPTION', () => `labels: ${outputs} of them, and a reward is one number; give one`)
  return {
    task: rewardHead.task,
    problem: REGRESSION,
    outputs,
    collate: answerPairs,
    rows: batch => rowsRead(reads, batch),
    logits: hidden => wide(layers(hidden)),
    loss(hidden, targets, { total, labelSmoothing = 0 }) {
      check(labelSmoothing === 0, 'ERR_OPTION', () => {
        return `labelSmoothing: ${labelSmoothing} has no effect on a reward model; leave it out`
      })
      const logits = wide(layers(hidden))
      const pairs = logits.rows / 2
      // Softmax of two scores is σ of their difference.
      return crossEntropy(logits.view(0, [pairs, 2]), targets.view(0, [pairs]), { scale: 1 / total })
    },
  }
}
