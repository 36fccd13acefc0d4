// What tasks that compare two answers share: rewards, how often the better one has more, and by how much.

import { type Example, learnedTokens } from '../data/example.ts'
import { asksReference } from '../heads/preferenceLosses.ts'
import { type BootstrapInterval, pairedBootstrap } from '../metrics/compare.ts'
import { nth } from '../tuple.ts'
import { textFor } from './shared.ts'
import type { Answer, Prediction, Scored, Task } from './task.ts'
import { wordIntervals, wordScores } from './words.ts'

/** Of `gold`: a pair, or an answer alone that is wanted or not. */
const PAIR = 2

/** Two answers of an example. */
export interface ComparedPrediction extends Prediction {
  /** 2: a pair; 1: an answer that is wanted, 0: one that is not. Then two log-probabilities under the reference; β. */
  readonly gold: Float32Array
  /** Log-probabilities, in nats, or scores; two places that are 0. */
  readonly predicted: Float32Array
}

type Compared = Answer<ComparedPrediction>

/** A prediction of what is said of both answers of an example; without a reference log-probabilities are by token. */
export function readCompared(example: Example, [first, second]: readonly [number, number]): ComparedPrediction {
  const { label, other, preference } = example
  const { wanted, reference = [0, 0], goal } = preference ?? {}
  const kind = wanted === undefined ? PAIR : Number(wanted)
  const isByToken = goal !== undefined && !asksReference(goal.loss)
  const [n, m] = isByToken ? [learnedTokens(label), learnedTokens(other?.label)] : [1, 1]
  return {
    gold: Float32Array.of(kind, ...reference, goal?.beta ?? 1),
    predicted: Float32Array.of(first / n, second / m, 0, 0),
  }
}

/** The implicit rewards of both answers: β times how much likelier they are than under the reference. */
export function rewardsOf({ gold, predicted }: Compared): readonly [number, number] {
  const reward = (answer: number) => nth(gold, 3) * (nth(predicted, answer) - nth(gold, 1 + answer))
  return [reward(0), reward(1)]
}

/** By how much the better answer is ahead; of one that stands alone its reward, with the other sign if unwanted. */
export function marginOf(prediction: Compared): number {
  const [first, second] = rewardsOf(prediction)
  const [kind] = prediction.gold
  return kind === PAIR ? first - second : kind === 1 ? first : -first
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** A tie counts half: before training, every answer has the reward 0. */
const ahead = (margin: number) => (margin > 0 ? 1 : margin === 0 ? 0.5 : 0)

/** Rewards and log-probabilities of the better answers and of the others; what a split has none of is left out. */
export function scoreCompared(predictions: readonly ComparedPrediction[]): Scored {
  const means = (answers: readonly (readonly [reward: number, logProb: number])[]) =>
    [mean(answers.map(([reward]) => reward)), mean(answers.map(([, logProb]) => logProb))] as const
  const side = (kind: number, answer: 0 | 1) =>
    predictions
      .filter(({ gold }) => gold[0] === kind || gold[0] === PAIR)
      .map(each => {
        const place = each.gold[0] === PAIR ? answer : 0
        return [rewardsOf(each)[place], nth(each.predicted, place)] as const
      })
  const [chosenReward, chosenLogProb] = means(side(1, 0))
  const [rejectedReward, rejectedLogProb] = means(side(0, 1))
  const metrics = {
    ...wordScores(predictions),
    rewardAccuracy: mean(predictions.map(prediction => ahead(marginOf(prediction)))),
    margin: chosenReward - rejectedReward,
    ...{ chosenReward, rejectedReward, chosenLogProb, rejectedLogProb },
  }
  return {
    metrics: Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value))),
    reports: {},
  }
}

/** Intervals of the share of better answers with more reward, and of how much more. */
function compareWith(
  before: readonly Compared[],
  after: readonly Compared[],
  _: readonly string[],
  seed: number,
): Record<string, BootstrapInterval> {
  const [were, are] = [before.map(marginOf), after.map(marginOf)]
  const over = (of: (margin: number) => number) => (sample: Uint32Array) => {
    const meanOf = (margins: readonly number[]) => mean(Array.from(sample, i => of(nth(margins, i))))
    return { before: meanOf(were), after: meanOf(are) }
  }
  const isPaired = after.every(({ gold }) => gold[0] === PAIR)
  return {
    ...wordIntervals(before, after, seed),
    rewardAccuracy: pairedBootstrap('rewardAccuracy', after.length, over(ahead), { seed }),
    ...(isPaired
      ? {
          margin: pairedBootstrap(
            'margin',
            after.length,
            over(value => value),
            { seed },
          ),
        }
      : {}),
  }
}

type Shared = 'score' | 'metric' | 'sample' | 'resample' | 'right' | 'wrong' | 'mistake'

/** What tasks of compared answers have in common. */
export const comparedAnswers: Pick<Task<ComparedPrediction>, Shared> = {
  score: scoreCompared,
  metric: () => 'loss',
  sample: () => ({ gold: Float32Array.of(PAIR, 0, 0, 1), predicted: new Float32Array(4) }),
  resample: compareWith,
  right: prediction => marginOf(prediction) > 0,
  wrong: prediction => (marginOf(prediction) > 0 ? undefined : 1 / (1 + Math.exp(marginOf(prediction)))),
  mistake(prediction, example, reader) {
    const margin = marginOf(prediction).toFixed(3)
    return { text: [{ text: textFor(example, reader) }], gold: 'margin above 0', predicted: `margin ${margin}` }
  },
}
