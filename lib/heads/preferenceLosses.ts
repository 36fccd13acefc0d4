// Losses of preferences, each from the log-probabilities of two answers and those that a reference gives them.

import type { Preference } from '../data/example.ts'
import { check, fail } from '../errors.ts'
import { activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { bce } from '../ops/bce.ts'
import { log1mexp } from '../ops/log1mexp.ts'
import { mse } from '../ops/mse.ts'
import { scale } from '../ops/scale.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import type { LossOptions } from './head.ts'

/** The two answers of an example. */
export interface AnswerPair {
  /** Minus their log-probabilities in nats, [1]. */
  readonly surprises: readonly [Tensor, Tensor]
  /** How many tokens they have. */
  readonly tokens: readonly [number, number]
  readonly preference: Preference
}

/** A pair in the terms of a loss. */
interface Pair {
  /** Log-probability of each answer less that under the reference, where the loss has one, [1]. */
  readonly ratios: readonly [Tensor, Tensor]
  readonly tokens: readonly [number, number]
  readonly beta: number
  readonly smoothing: number
  /** 1 / the weight of the step. */
  readonly share: number
}

/** β times what the first answer is ahead by. */
const marginOf = ({ ratios: [better, worse], beta }: Pair) => add(scale(better, beta), scale(worse, -beta))

/** Of pairs, whose first answer is the better one. */
const PAIR_LOSSES: Readonly<Record<string, (pair: Pair) => Tensor>> = {
  // Rafailov et al. 2023, equation 7; with label smoothing Mitchell 2023 (conservative DPO).
  dpo(pair) {
    const margin = marginOf(pair)
    return bce(square(margin), square(constant(margin, 1 - pair.smoothing)), pair.share)
  },
  // Azar et al. 2023, equation 17, of log-ratios by token.
  ipo({ ratios: [better, worse], tokens: [n, m], beta, share }) {
    const gap = add(scale(better, 1 / n), scale(worse, -1 / m))
    return mse(square(gap), square(constant(gap, 1 / (2 * beta))), share)
  },
  // Zhao et al. 2023 (SLiC).
  hinge: pair => scale(activation(plus(scale(marginOf(pair), -1), 1), 'relu'), pair.share),
  // Hong et al. 2024, equations 6 and 7: the chosen answer is learned, and its odds held against those of the other,
  // all by token.
  orpo({ ratios: [better, worse], tokens: [n, m], beta, share }) {
    const [chosen, rejected] = [scale(better, 1 / n), scale(worse, 1 / m)]
    const gap = add(logOdds(chosen), scale(logOdds(rejected), -1))
    return add(scale(chosen, -share), bce(square(gap), square(constant(gap, 1)), beta * share))
  },
}

/** log(p / (1 − p)) of log p. */
const logOdds = (logProb: Tensor) => add(logProb, scale(log1mexp(logProb), -1))

/** Names of the losses of pairs, the usual one first, and of answers that stand alone. */
export const pairLosses: readonly string[] = Object.keys(PAIR_LOSSES)
export const loneLosses: readonly string[] = ['kto']

/** Losses that hold answers against each other alone: nobody has to know what a reference says. */
const ALONE: readonly string[] = ['orpo']

/** Whether a loss asks a reference model. */
export const asksReference = (loss: string): boolean => !ALONE.includes(loss)

/**
 * The sum over examples divided by `total`, [1]. Undefined where a reference is not known.
 * @throws ERR_OPTION for label smoothing where the loss has none
 */
export function preferenceLoss(examples: readonly AnswerPair[], options: LossOptions): Tensor | undefined {
  const { total, labelSmoothing: smoothing = 0 } = options
  const { loss } = nth(examples, 0).preference.goal
  if (asksReference(loss) && examples.some(({ preference }) => !preference.reference)) return undefined
  check(smoothing === 0 || loss === 'dpo', 'ERR_OPTION', () => {
    return `labelSmoothing: ${smoothing} has no effect on loss ${loss}; leave it out, or take dpo`
  })
  const share = 1 / total
  if (loneLosses.includes(loss)) return sumOf(loneLossesOf(examples, share))
  const lossOf = PAIR_LOSSES[loss] ?? fail('ERR_OPTION', `loss: "${loss}" is unknown; use ${pairLosses.join(', ')}`)
  return sumOf(
    examples.map(example => {
      const { tokens, preference } = example
      const ratios = [ratioOf(example, 0), ratioOf(example, 1)] as const
      return lossOf({ ratios, tokens, beta: preference.goal.beta, smoothing, share })
    }),
  )
}

/**
 * Ethayarajh et al. 2024, equation 7: an answer's value is held against how far the model has moved from its reference,
 * which answers to other prompts of the micro-batch tell. That has no gradient.
 */
function loneLossesOf(examples: readonly AnswerPair[], share: number): Tensor[] {
  const moved = sumOf(examples.map(example => scale(ratioOf(example, 1), 1 / examples.length)))
  const divergence = activation(moved, 'relu')
  return examples.map(example => {
    const { goal, wanted } = example.preference
    const sign = wanted ? 1 : -1
    const value = scale(add(ratioOf(example, 0), scale(divergence, -1)), sign * goal.beta)
    const weight = goal.weights[wanted ? 0 : 1] * share
    // 1 − σ(x) = (1 − tanh(x / 2)) / 2
    return plus(scale(activation(scale(value, 0.5), 'tanh'), -weight / 2), weight / 2)
  })
}

const NONE = [0, 0] as const

/** Log-probability of an answer less that under the reference. */
function ratioOf({ surprises, preference }: AnswerPair, answer: 0 | 1): Tensor {
  return plus(scale(surprises[answer], -1), -(preference.reference ?? NONE)[answer])
}

const sumOf = (parts: readonly Tensor[]) => parts.reduce((sum, part) => add(sum, part))

const square = (x: Tensor) => x.view(0, [1, 1])

const plus = (x: Tensor, value: number) => add(x, constant(x, value))

function constant({ dtype, device }: Tensor, value: number): Tensor {
  return Tensor.from(dtype === 'f64' ? Float64Array.of(value) : Float32Array.of(value), [1], { device })
}
