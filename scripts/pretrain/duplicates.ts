// Two ways in which one text can be found again in another: nearly equal sets of words, and contained word for word.
import { check } from '../../lib/errors.ts'
import { words } from './text.ts'

/** Two texts whose sets of words (numbers left out) overlap by this Jaccard index count as nearly the same. */
export const NEAR = 0.8

/** The shortest held-out text, in words: shorter ones would be found everywhere by chance. */
export const SHORTEST = 5

/**
 * Finds texts nearly equal to one added before. A pair at or above {@link NEAR} shares a word among the
 * `n − ⌈NEAR·n⌉ + 1` rarest of either side, so only these are indexed.
 */
export class NearDuplicates {
  readonly #frequency = new Map<string, number>()
  readonly #sets: Set<string>[] = []
  readonly #index = new Map<string, number[]>()

  constructor(texts: Iterable<string>) {
    for (const text of texts)
      for (const word of wordSet(text)) this.#frequency.set(word, (this.#frequency.get(word) ?? 0) + 1)
  }

  add(text: string): void {
    const set = wordSet(text)
    for (const word of this.#rarest(set)) {
      const list = this.#index.get(word)
      if (list) list.push(this.#sets.length)
      else this.#index.set(word, [this.#sets.length])
    }
    this.#sets.push(set)
  }

  has(text: string): boolean {
    const set = wordSet(text)
    const seen = new Set<number>()
    for (const word of this.#rarest(set))
      for (const at of this.#index.get(word) ?? [])
        if (!seen.has(at)) {
          if (jaccard(set, this.#sets[at]!) >= NEAR) return true
          seen.add(at)
        }
    return false
  }

  #rarest(set: Set<string>): string[] {
    const rank = (word: string) => this.#frequency.get(word) ?? 0
    const sorted = [...set].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
    return sorted.slice(0, set.size - Math.ceil(NEAR * set.size) + 1)
  }
}

/** Finds lines that contain one of the held-out texts word for word (case, accents and punctuation aside). */
export class Contained {
  readonly #starts = new Map<string, string[][]>()

  constructor(heldOut: Iterable<string>) {
    for (const text of heldOut) {
      const list = words(text)
      check(
        list.length >= SHORTEST,
        'ERR_DATA',
        () => `held-out text: ${list.length} words, at least ${SHORTEST}: "${text}"`,
      )
      const start = list.slice(0, SHORTEST).join(' ')
      this.#starts.set(start, [...(this.#starts.get(start) ?? []), list])
    }
  }

  in(line: string): boolean {
    const list = words(line)
    for (let at = 0; at + SHORTEST <= list.length; at++)
      for (const phrase of this.#starts.get(list.slice(at, at + SHORTEST).join(' ')) ?? [])
        if (phrase.every((word, i) => list[at + i] === word)) return true
    return false
  }
}

function wordSet(text: string): Set<string> {
  return new Set(words(text).filter(word => !/^\d+$/.test(word)))
}

function jaccard(a: Set<string>, b: Set<string>): number {
  let both = 0
  for (const word of a) if (b.has(word)) both++
  const either = a.size + b.size - both
  return either === 0 ? 1 : both / either
}
