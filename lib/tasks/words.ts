// Scores of what a language model says, where its answers were generated.

import { type BootstrapInterval, pairedBootstrap } from '../metrics/compare.ts'
import { bleu, chrf, isExact, rougeL, rougeN, type TextStatistics, textStatistics } from '../metrics/texts.ts'
import { nth } from '../tuple.ts'
import type { Prediction, Words } from './task.ts'

type Worded = Pick<Prediction, 'words'>

/** Of one answer. */
interface Scores {
  readonly exactMatch: number
  readonly rouge1: number
  readonly rouge2: number
  readonly rougeL: number
  readonly statistics: TextStatistics
}

type Name = 'exactMatch' | 'rouge1' | 'rouge2' | 'rougeL' | 'bleu' | 'chrf'
const NAMES: readonly Name[] = ['exactMatch', 'rougeL', 'rouge1', 'rouge2', 'bleu', 'chrf']

function scoresOf({ said, wanted }: Words): Scores {
  return {
    exactMatch: isExact(said, wanted) ? 1 : 0,
    rouge1: rougeN(said, wanted, 1).f1,
    rouge2: rougeN(said, wanted, 2).f1,
    rougeL: rougeL(said, wanted).f1,
    statistics: textStatistics(said, wanted),
  }
}

function total(name: Name, scores: readonly Scores[]): number {
  const statistics = () => scores.map(one => one.statistics)
  if (name === 'bleu') return bleu(statistics())
  if (name === 'chrf') return chrf(statistics())
  return scores.reduce((sum, one) => sum + one[name], 0) / scores.length
}

/** Exact match, ROUGE, BLEU and chrF of the answers that were generated; none where none was. */
export function wordScores(predictions: readonly Worded[]): Record<string, number> {
  const scores = predictions.flatMap(({ words }) => (words ? [scoresOf(words)] : []))
  return scores.length === 0 ? {} : Object.fromEntries(NAMES.map(name => [name, total(name, scores)]))
}

/** What chance explains of the differences between two models' answers to the same examples. */
export function wordIntervals(
  before: readonly Worded[],
  after: readonly Worded[],
  seed: number,
): Record<string, BootstrapInterval> {
  const pairs = after.flatMap(({ words }, i) => {
    const was = before[i]?.words
    return words && was ? [[scoresOf(was), scoresOf(words)] as const] : []
  })
  if (pairs.length === 0) return {}
  const interval = (name: Name) => {
    const score = (sample: Uint32Array) => ({
      before: total(
        name,
        Array.from(sample, i => nth(pairs, i)[0]),
      ),
      after: total(
        name,
        Array.from(sample, i => nth(pairs, i)[1]),
      ),
    })
    // A corpus of hundreds of texts is summed anew each time.
    const options = { seed, resamples: pairs.length > 200 ? 500 : 1000 }
    return pairedBootstrap(name, pairs.length, score, options)
  }
  return Object.fromEntries(NAMES.map(name => [name, interval(name)]))
}
