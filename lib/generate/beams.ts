// Beam search as transformers has it: the best `beams` continuations go on, those that end are kept by their score over
// their length.

import { lastOf, nth } from '../tuple.ts'
import type { Decoding } from './options.ts'
import { adjust, type Logits, mostOf } from './penalties.ts'

export interface Beam {
  /** Prompt and what was generated. */
  readonly ids: readonly number[]
  /** Sum of log probabilities; of one that ended divided by length ^ lengthPenalty. */
  readonly score: number
}

interface Candidate extends Beam {
  readonly parent: number
}

/** The state of one search; `advance` takes the logits of every running beam, in their order. */
export class BeamSearch {
  running: readonly Beam[]
  readonly #choice: Decoding
  readonly #begin: number
  readonly #longest: number
  #ended: Beam[] = []
  #isOver = false

  constructor(prompt: readonly number[], longest: number, choice: Decoding) {
    this.running = [{ ids: prompt, score: 0 }]
    this.#choice = choice
    this.#begin = prompt.length
    this.#longest = longest
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** What ended, best first. */
  get ended(): readonly Beam[] {
    return this.#ended
  }

  /** Which of the running beams each of the next ones continues. */
  advance(logits: readonly Logits[]): Int32Array {
    const { beams, ends, lengthPenalty } = this.#choice
    const kept = Math.max(2, 1 + ends.size) * beams
    const best = this.#best(logits, kept)
    const length = nth(best, 0).ids.length - this.#begin
    const isFull = nth(best, 0).ids.length >= this.#longest
    const doesEnd = ({ ids }: Candidate) => isFull || ends.has(lastOf(ids))
    const ended = best.slice(0, beams).filter(doesEnd)
    const scored = ended.map(({ ids, score }) => ({ ids, score: score / length ** lengthPenalty }))
    this.#ended = [...this.#ended, ...scored].sort((a, b) => b.score - a.score).slice(0, beams)
    const next = best.filter(candidate => !doesEnd(candidate)).slice(0, beams)
    this.running = next
    const bound = (next[0]?.score ?? Number.NEGATIVE_INFINITY) / length ** lengthPenalty
    const isBeaten = this.#ended.length === beams && bound <= lastOf(this.#ended).score
    this.#isOver = next.length === 0 || isBeaten
    return Int32Array.from(next, ({ parent }) => parent)
  }

  /** The `count` best continuations of all beams. */
  #best(logits: readonly Logits[], count: number): Candidate[] {
    const top: { parent: number; id: number; score: number }[] = []
    for (const [parent, beam] of this.running.entries()) {
      const scores = logSoftmax(nth(logits, parent))
      adjust(scores, { ids: beam.ids, begin: this.#begin }, this.#choice)
      for (let id = 0; id < scores.length; id++) {
        const score = Math.fround(nth(scores, id) + beam.score)
        if (top.length === count && score <= lastOf(top).score) continue
        let at = top.length
        while (at > 0 && nth(top, at - 1).score < score) at--
        top.splice(at, 0, { parent, id, score })
        if (top.length > count) top.pop()
      }
    }
    return top.map(({ parent, id, score }) => ({ parent, score, ids: [...nth(this.running, parent).ids, id] }))
  }
}

function logSoftmax(logits: Logits): Float32Array {
  const most = mostOf(logits)
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - most)
  const offset = most + Math.log(sum)
  return Float32Array.from<number>(logits, logit => logit - offset)
}
