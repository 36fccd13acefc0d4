// Preferences between answers of a language model: its log-probability of each answer, beside that of a reference.

import { type Example, learnedTokens, type Preference, sequencesOf } from '../data/example.ts'
import { nextTokens, type Targets } from '../data/targets.ts'
import { check, fail } from '../errors.ts'
import type { LmLayers } from '../models/family.ts'
import { type PackedBatch, sequencesIn } from '../nn/batch.ts'
import { countingFrom } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple, nth } from '../tuple.ts'
import type { Head, HeadKind, Judged, LossOptions } from './head.ts'
import { causalHead } from './languageModel.ts'
import { type AnswerPair, preferenceLoss } from './preferenceLosses.ts'

export const preferenceHead = {
  task: 'preference',
  aliases: ['dpo', 'ipo', 'orpo', 'kto', 'preference-tuning', 'preference-optimization'],
  sits: 'causalLm',
  isLabelled: false,
  peftType: 'CAUSAL_LM',
  classSuffix: 'ForCausalLM',
  make: (layers: LmLayers) => preference(layers),
} as const satisfies HeadKind

/** The tokens of answers, and what is wanted of these. */
interface PreferenceTargets extends Targets {
  /** First row of logits of each sequence, and their number at the end. */
  readonly bounds: Int32Array
  /** One for each example. */
  readonly wanted: readonly Preference[]
  /** Of answers that stand alone: targets of these, and of the answers to other prompts. */
  readonly apart?: readonly [AnswerTargets, AnswerTargets]
  /** Minus the log-probability of each answer to another prompt, [1], where it was asked for by itself. */
  readonly others?: readonly Tensor[]
}

type AnswerTargets = Targets & Pick<PreferenceTargets, 'bounds'>

/** The tokens after each token of an answer, as a language model's, and what is wanted of the answers. */
const answerTokens = (examples: readonly Example[]): PreferenceTargets | undefined =>
  examples.some(({ preference }) => preference) ? targetsOf(examples) : undefined

function targetsOf(examples: readonly Example[]): PreferenceTargets {
  const wanted = examples.map(({ preference, other }) => {
    check(preference && other, 'ERR_DATA', () => 'batches: an example lacks what its answer is compared with')
    return preference
  })
  const sequences = examples.map(sequencesOf)
  const slice = (from: number, to: number) => targetsOf(examples.slice(from / 2, to / 2))
  const apart = mapTuple([0, 1], side => answersOf(sequences.map(both => nth(both, side))))
  const isAlone = wanted.every(each => each.wanted !== undefined)
  return { ...answersOf(sequences.flat()), weight: examples.length, wanted, slice, ...(isAlone && { apart }) }
}

/** The tokens of these answers, and where each begins. */
function answersOf(sequences: ReturnType<typeof sequencesOf>): AnswerTargets {
  const bounds = new Int32Array(sequences.length + 1)
  sequences.forEach(({ label }, i) => {
    bounds[i + 1] = nth(bounds, i) + learnedTokens(label)
  })
  const none = { rows: new Int32Array(), values: new Int32Array(), width: 1, weight: 0 }
  const slice = (from: number, to: number) => answersOf(sequences.slice(from, to))
  return { ...(nextTokens(sequences) ?? none), slice, bounds }
}

function isPreference(targets: Targets | undefined): targets is PreferenceTargets {
  return targets !== undefined && 'bounds' in targets
}

/** The mean over examples of what their answers lose. */
function preference(layers: LmLayers): Head {
  const { likeliest: _, ...words } = causalHead(layers)
  const judge = (hidden: Tensor, targets: Tensor, options: LossOptions, given: Targets | undefined): Judged => {
    check(isPreference(given), 'ERR_DATA', () => 'preference: the targets hold no preferences; make them of its task')
    const sequences = given.others
      ? interleaved(surprises(words, hidden, targets, given.bounds), given.others)
      : surprises(words, hidden, targets, given.bounds, i => i % 2 === 0 || !given.apart)
    return { sequences, loss: preferenceLoss(comparedOf(sequences, given), options) }
  }
  return {
    ...words,
    task: preferenceHead.task,
    collate: answerTokens,
    judge,
    aside: {
      divide: dividedOf,
      values: (hidden, uploaded, read) => surprises(words, hidden, uploaded, boundsOf(read)),
      joined: (learned, others) => ({ ...learned, others }),
    },
    loss(hidden, targets, options, _, given) {
      const { loss } = judge(hidden, targets, options, given)
      return loss ?? fail('ERR_DATA', 'preference: log-probabilities of the reference are not known; see withReference')
    },
  }
}

/** Answers that stand alone without those to other prompts, whose values alone are read, and these. */
function dividedOf(batch: PackedBatch, targets: Targets) {
  if (!isPreference(targets) || !targets.apart) return undefined
  const { apart, weight, wanted } = targets
  const [learned, read] = mapTuple([0, 1], side => {
    const which = wanted.map((_, i) => 2 * i + side)
    return { batch: sequencesIn(batch, which), targets: { ...nth(apart, side), weight, wanted } }
  })
  return { learned, read }
}

function boundsOf(targets: Targets): Int32Array {
  check(isPreference(targets), 'ERR_DATA', () => 'preference: the targets hold no answers; make them of its task')
  return targets.bounds
}

const interleaved = <T>(first: readonly T[], second: readonly T[]): T[] =>
  first.flatMap((each, i) => [each, nth(second, i)])

/**
 * Minus the log-probability of each answer, [1]: that of its own rows, so that all logits never exist. `learns`: which
 * have a gradient; default all.
 */
function surprises(
  words: Pick<Head, 'loss'>,
  hidden: Tensor,
  targets: Tensor,
  bounds: Int32Array,
  learns: (answer: number) => boolean = () => true,
): Tensor[] {
  const { columns: width } = hidden
  return Array.from(bounds.subarray(0, -1), (begin, i) => {
    const count = nth(bounds, i + 1) - begin
    const rows = hidden.view(begin * width, [count, width])
    if (!learns(i)) rows.requiresGrad = false
    return countingFrom(begin, () => words.loss(rows, targets.view(begin, [count]), { total: 1 }, NO_BATCH))
  })
}

/** The loss of a language model does not ask where sequences begin. */
const NO_BATCH = { ids: new Int32Array(), cuSeqlens: Int32Array.of(0), maxLength: 0 }

function comparedOf(sequences: readonly Tensor[], { bounds, wanted, others }: PreferenceTargets): AnswerPair[] {
  // The losses of answers that stand alone ask for no counts, and those of the others are not known here.
  const tokens = (i: number) => (others ? 0 : nth(bounds, i + 1) - nth(bounds, i))
  return wanted.map((preference, i) => ({
    surprises: [nth(sequences, 2 * i), nth(sequences, 2 * i + 1)],
    tokens: [tokens(2 * i), tokens(2 * i + 1)],
    preference,
  }))
}
