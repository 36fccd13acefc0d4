// What a tokenizer's model is: the tokens of one word.

import type { Vocabulary } from './vocabulary.ts'

/** Tokens as [id, start, end, id, start, end, …], in units of the word's text; ends are exclusive. */
export type Tokens = readonly number[]

/** Words to tokens. */
export interface SubwordModel {
  readonly vocabulary: Vocabulary
  tokenize(word: string): Tokens
  /** What an entry is that continues the word before it begins with; undefined without such a mark. */
  readonly continuing: string | undefined
  /** The unknown token of a model that keeps the text it stands for; undefined where it has one text always. */
  readonly unknownOfText?: number | undefined
}
