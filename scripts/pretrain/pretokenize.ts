// BERT's normaliser and pre-tokeniser: the words that WordPiece cuts.

const SPACES = /[\p{Zs}\t\n\r]+/gu
const DROPPED = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\ufffd]/gu
const IDEOGRAPHS =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b820}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu
const PUNCTUATION = /[!-/:-@[-`{-~]|\p{P}/u
const PARTS = /[!-/:-@[-`{-~]|\p{P}|(?:(?![!-/:-@[-`{-~]|\p{P})\S)+/gu

/** Cleans, sets ideographs apart and strips accents, as `BertNormalizer` with `strip_accents: true` does. */
export function bertNormalize(text: string): string {
  return text
    .replace(SPACES, ' ')
    .replace(DROPPED, '')
    .replace(IDEOGRAPHS, ' $& ')
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '')
}

/** The words of a text: runs between spaces, each punctuation mark a word of its own (`BertPreTokenizer`). */
export function bertWords(text: string): string[] {
  return bertNormalize(text).match(PARTS) ?? []
}

/** Whether a character is punctuation to `BertPreTokenizer`. */
export function isPunctuation(character: string): boolean {
  return PUNCTUATION.test(character)
}
