// WordPiece encoding for the pretraining run: words are looked up once, then remembered.
import { bertWords } from './pretokenize.ts'

const MAX_WORD = 100

/** Encodes text without special tokens, ids as in `vocabulary`. */
export class WordPieceEncoder {
  readonly #ids: Map<string, number>
  readonly #unknown: number
  readonly #known = new Map<string, readonly number[]>()

  constructor(vocabulary: readonly string[]) {
    this.#ids = new Map(vocabulary.map((piece, id) => [piece, id]))
    this.#unknown = this.#ids.get('[UNK]') ?? 0
  }

  encode(text: string): number[] {
    return bertWords(text).flatMap(word => this.cut(word))
  }

  /** The ids of one word. */
  cut(word: string): readonly number[] {
    let ids = this.#known.get(word)
    if (ids === undefined) {
      ids = this.#cut(word)
      this.#known.set(word, ids)
    }
    return ids
  }

  /** Greedy: always the longest piece that fits; a word with no cut is one unknown. */
  #cut(word: string): number[] {
    const characters = [...word]
    if (characters.length > MAX_WORD) return [this.#unknown]
    const ids: number[] = []
    for (let start = 0; start < characters.length; ) {
      let end = characters.length
      let id: number | undefined
      for (; end > start; end--) {
        const piece = characters.slice(start, end).join('')
        id = this.#ids.get(start === 0 ? piece : `##${piece}`)
        if (id !== undefined) break
      }
      if (id === undefined) return [this.#unknown]
      ids.push(id)
      start = end
    }
    return ids
  }
}
