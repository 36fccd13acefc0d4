// Learns WordPiece pieces by frequency: byte-pair merges over the words of the corpus, pieces inside a word marked ##.

/** Words and how often each occurs. */
export type WordCounts = ReadonlyMap<string, number>

interface Word {
  symbols: number[]
  readonly count: number
}

/** All pairs with their counts and the words they occur in; a heap of candidates that is corrected when read. */
class Pairs {
  readonly #counts = new Map<number, number>()
  readonly #places = new Map<number, Set<number>>()
  readonly #heap: { key: number; count: number }[] = []

  add(key: number, word: number, count: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count)
    const places = this.#places.get(key)
    if (places) places.add(word)
    else this.#places.set(key, new Set([word]))
  }

  remove(key: number, count: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) - count)
  }

  /** Makes `key` a candidate at its present count. */
  offer(key: number): void {
    const heap = this.#heap
    heap.push({ key, count: this.#counts.get(key) ?? 0 })
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!before(heap[at]!, heap[parent]!)) break
      swap(heap, at, parent)
      at = parent
    }
  }

  /** The most frequent pair (ties: the smaller key) and the words that may hold it; undefined when none is left. */
  take(): { key: number; count: number; words: Iterable<number> } | undefined {
    for (let top = this.#pop(); top; top = this.#pop()) {
      const count = this.#counts.get(top.key) ?? 0
      if (count <= 0) continue
      if (count === top.count) {
        const words = this.#places.get(top.key) ?? []
        this.#counts.delete(top.key)
        this.#places.delete(top.key)
        return { ...top, words }
      }
      if (count < top.count) this.offer(top.key)
    }
    return undefined
  }

  #pop(): { key: number; count: number } | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (heap.length > 0) heap[0] = last!
    for (let at = 0; ; ) {
      let best = at
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < heap.length && before(heap[child]!, heap[best]!)) best = child
      if (best === at) return top
      swap(heap, at, best)
      at = best
    }
  }
}

/** Two symbols in one number: ids stay below 2²⁰. */
const BASE = 2 ** 20

/**
 * Learns pieces until there are `size`: first every character that occurs at least `minCount` times and printable
 * ASCII (upper case aside), alone and, where seen inside words, as `##` continuation, then one merge after the other,
 * always the most frequent pair. Pairs seen once are left alone.
 */
export function learnPieces(words: WordCounts, size: number, minCount: number): string[] {
  const pieces = alphabet(words, minCount)
  const ids = new Map(pieces.map((piece, i) => [piece, i]))
  const list = spell(words, ids)
  const pairs = new Pairs()
  const first = new Set<number>()
  for (const [at, { symbols, count }] of list.entries())
    for (let i = 0; i + 1 < symbols.length; i++) {
      const key = symbols[i]! * BASE + symbols[i + 1]!
      pairs.add(key, at, count)
      first.add(key)
    }
  for (const key of first) pairs.offer(key)
  while (pieces.length < size) {
    const best = pairs.take()
    if (!best || best.count < 2) break
    const left = Math.floor(best.key / BASE)
    const right = best.key % BASE
    const piece = pieces[left]! + pieces[right]!.replace(/^##/, '')
    let id = ids.get(piece)
    if (id === undefined) {
      id = pieces.push(piece) - 1
      ids.set(piece, id)
    }
    merge(list, best.words, left, right, id, pairs)
  }
  return pieces
}

/** Replaces the pair in every word that holds it and moves the counts of its neighbours. */
function merge(list: Word[], places: Iterable<number>, left: number, right: number, id: number, pairs: Pairs): void {
  const touched = new Set<number>()
  for (const at of places) {
    const word = list[at]!
    const old = word.symbols
    const next: number[] = []
    for (let i = 0; i < old.length; i++)
      if (old[i] === left && old[i + 1] === right) {
        next.push(id)
        i++
      } else next.push(old[i]!)
    if (next.length === old.length) continue
    for (let i = 0; i + 1 < old.length; i++) pairs.remove(old[i]! * BASE + old[i + 1]!, word.count)
    for (let i = 0; i + 1 < next.length; i++) {
      const key = next[i]! * BASE + next[i + 1]!
      pairs.add(key, at, word.count)
      if (next[i] === id || next[i + 1] === id) touched.add(key)
    }
    word.symbols = next
  }
  for (const key of touched) pairs.offer(key)
}

function alphabet(words: WordCounts, minCount: number): string[] {
  const counts = new Map<string, number>()
  for (const [word, count] of words)
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count)
  for (let code = 0x21; code < 0x7f; code++) {
    const character = String.fromCharCode(code)
    if (!/[A-Z]/.test(character)) counts.set(character, Math.max(minCount, counts.get(character) ?? 0))
  }
  const kept = [...counts].filter(([, count]) => count >= minCount).map(([character]) => character)
  kept.sort()
  const inside = new Set([...words.keys()].flatMap(word => [...word].slice(1)))
  return [...kept, ...kept.filter(character => inside.has(character)).map(character => `##${character}`)]
}

/** Words as symbols; a word with a character outside the alphabet teaches nothing. Sorted, so that ties are settled. */
function spell(words: WordCounts, ids: ReadonlyMap<string, number>): Word[] {
  const out: Word[] = []
  for (const word of [...words.keys()].sort()) {
    const symbols = [...word].map((character, i) => ids.get(i === 0 ? character : `##${character}`))
    if (symbols.every(symbol => symbol !== undefined)) out.push({ symbols, count: words.get(word)! })
  }
  return out
}

function before(a: { key: number; count: number }, b: { key: number; count: number }): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key)
}

function swap<T>(heap: T[], a: number, b: number): void {
  const held = heap[a]!
  heap[a] = heap[b]!
  heap[b] = held
}
