// Preferences between answers of a language model: its log-probability of each answer, beside that of a reference.

import { type Example, learnedTokens, type Preference, sequencesOf } from '../data/example.ts'
import { check, fail } from '../errors.ts'
import type { LmLayers } from '../models/family.ts'
import { countingFrom } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import type { Head, HeadKind, Judged, LossOptions } from './head.ts'
import { causalHead } from './languageModel.ts'
import { type AnswerPair, preferenceLoss } from './preferenceLosses.ts'
import { nextTokens, type Targets } from './targets.ts'

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
}

/** The tokens after each token of an answer, as a language model's, and what is wanted of the answers. */
const answerTokens = (examples: readonly Example[]): PreferenceTargets | undefined =>
  examples.some(({ preference }) => preference) ? targetsOf(examples) : undefined

function targetsOf(examples: readonly Example[]): PreferenceTargets {
  const wanted = examples.map(({ preference, other }) => {
    check(preference && other, 'ERR_DATA', () => 'batches: an example lacks what its answer is compared with')
    return preference
  })
  const sequences = examples.flatMap(sequencesOf)
  const bounds = new Int32Array(sequences.length + 1)
  sequences.forEach(({ label }, i) => {
    bounds[i + 1] = nth(bounds, i) + learnedTokens(label)
  })
  const tokens = nextTokens(sequences) ?? { rows: new Int32Array(), values: new Int32Array(), width: 1 }
  const slice = (from: number, to: number) => targetsOf(examples.slice(from / 2, to / 2))
  return { ...tokens, weight: examples.length, bounds, wanted, slice }
}

function isPreference(targets: Targets | undefined): targets is PreferenceTargets {
  return targets !== undefined && 'bounds' in targets
}

/** The mean over examples of what their answers lose. */
function preference(layers: LmLayers): Head {
  const { likeliest: _, ...words } = causalHead(layers)
  const judge = (hidden: Tensor, targets: Tensor, options: LossOptions, given: Targets | undefined): Judged => {
    check(isPreference(given), 'ERR_DATA', () => 'preference: the targets hold no preferences; make them of its task')
    const sequences = surprises(words, hidden, targets, given)
    return { sequences, loss: preferenceLoss(comparedOf(sequences, given), options) }
  }
  return {
    ...words,
    task: preferenceHead.task,
    collate: answerTokens,
    judge,
    loss(hidden, targets, options, _, given) {
      const { loss } = judge(hidden, targets, options, given)
      return loss ?? fail('ERR_DATA', 'preference: log-probabilities of the reference are not known; see withReference')
    },
  }
}

/** Minus the log-probability of each answer, [1]: that of its own rows, so that all logits never exist. */
function surprises(words: Pick<Head, 'loss'>, hidden: Tensor, targets: Tensor, given: PreferenceTargets): Tensor[] {
  const { columns: width } = hidden
  return Array.from(given.bounds.subarray(0, -1), (begin, i) => {
    const count = nth(given.bounds, i + 1) - begin
    const rows = hidden.view(begin * width, [count, width])
    // Of an answer to another prompt the value alone is read.
    if (i % 2 === 1 && nth(given.wanted, (i - 1) / 2).wanted !== undefined) rows.requiresGrad = false
    return countingFrom(begin, () => words.loss(rows, targets.view(begin, [count]), { total: 1 }, NO_BATCH))
  })
}

/** The loss of a language model does not ask where sequences begin. */
const NO_BATCH = { ids: new Int32Array(), positions: new Int32Array(), cuSeqlens: Int32Array.of(0), maxLength: 0 }

function comparedOf(sequences: readonly Tensor[], { bounds, wanted }: PreferenceTargets): AnswerPair[] {
  const tokens = (i: number) => nth(bounds, i + 1) - nth(bounds, i)
  return wanted.map((preference, i) => ({
    surprises: [nth(sequences, 2 * i), nth(sequences, 2 * i + 1)],
    tokens: [tokens(2 * i), tokens(2 * i + 1)],
    preference,
  }))
}
