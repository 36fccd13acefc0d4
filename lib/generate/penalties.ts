// What changes the scores of tokens by those that are there already.

import { nth } from '../tuple.ts'
import type { Decoding } from './options.ts'

/** Logits or log probabilities of all tokens. */
export type Logits = Float32Array | Float64Array

/** Tokens of a sequence: `begin` of them are the prompt. */
interface History {
  readonly ids: readonly number[]
  readonly begin: number
}

/** Whether scores have to be looked at before one is drawn. */
export function isAdjusted(choice: Decoding): boolean {
  const { repetitionPenalty, frequencyPenalty, presencePenalty, noRepeatNgram, minP, temperature } = choice
  const isPenalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0
  return isPenalised || noRepeatNgram > 0 || (minP > 0 && temperature > 0)
}

/**
 * Changes scores in place, as transformers (repetition penalty and n-grams, over the whole sequence) and OpenAI
 * (frequency and presence, over what was generated) do.
 */
export function adjust(scores: Logits, { ids, begin }: History, choice: Decoding): void {
  const { repetitionPenalty: penalty, frequencyPenalty, presencePenalty, noRepeatNgram } = choice
  if (penalty !== 1)
    for (const id of new Set(ids)) {
      const score = nth(scores, id)
      scores[id] = score < 0 ? score * penalty : score / penalty
    }
  if (frequencyPenalty !== 0 || presencePenalty !== 0) {
    for (const id of ids.slice(begin)) scores[id]! -= frequencyPenalty
    for (const id of new Set(ids.slice(begin))) scores[id]! -= presencePenalty
  }
  if (noRepeatNgram > 0) for (const id of repeating(ids, noRepeatNgram)) scores[id] = Number.NEGATIVE_INFINITY
}

/** Tokens that would make a run of `size` come twice. */
function repeating(ids: readonly number[], size: number): Set<number> {
  const found = new Set<number>()
  const from = ids.length - size + 1
  for (let at = 0; at < from; at++) {
    let same = 0
    while (same < size - 1 && ids[at + same] === ids[from + same]) same++
    if (same === size - 1) found.add(nth(ids, at + same))
  }
  return found
}

/** How many tokens have at least `minP` times the probability of the likeliest at a temperature. */
export function countAbove(scores: Logits, minP: number, temperature: number): number {
  const least = mostOf(scores) + temperature * Math.log(minP)
  let count = 0
  for (const score of scores) if (score >= least) count++
  return count
}

export function mostOf(scores: Logits): number {
  let most = Number.NEGATIVE_INFINITY
  for (const score of scores) if (score > most) most = score
  return most
}
