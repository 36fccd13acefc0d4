// Texts as the encoder and its teacher read them.
import { readCorpus } from './corpus.ts'
import { WordPieceEncoder } from './encode.ts'
import { bertWords } from './pretokenize.ts'
import { shuffled } from './random.ts'
import { SOURCES } from './sources.ts'

/** Most words of a text that are read. */
const LONGEST = 96

/** A text as a model reads it: ids with [CLS] and [SEP], and the word of each id between them, counted from 0. */
export interface Reading {
  readonly ids: Int32Array
  readonly words: readonly number[]
}

/** Reads words with a vocabulary. */
export function reader(vocabulary: readonly string[]): (words: readonly string[]) => Reading {
  const encoder = new WordPieceEncoder(vocabulary)
  const [cls, sep] = [vocabulary.indexOf('[CLS]'), vocabulary.indexOf('[SEP]')]
  return words => {
    const cut = words.map(word => encoder.cut(word))
    return { ids: Int32Array.from([cls, ...cut.flat(), sep]), words: cut.flatMap((ids, word) => ids.map(() => word)) }
  }
}

/** The texts of the corpus in the order of a training; a source counts as often as its weight says. */
export function texts(seed: number): string[] {
  const weights = new Map<string, number>(SOURCES.map(({ id, weight }) => [id, weight]))
  const all = readCorpus().flatMap(({ source, text }) => Array<string>(weights.get(source) ?? 1).fill(text))
  return shuffled(all, seed)
}

/** The first words of a text. */
export function wordsOf(text: string): string[] {
  return bertWords(text).slice(0, LONGEST)
}
