// Exact match and F1 of answers, by the rules of SQuAD (Rajpurkar et al. 2016, 2018): case, punctuation, articles and
// spaces don't count, and of several right answers the nearest does.

/** How near an answer is to the right ones; both are in [0, 1]. */
export interface AnswerScore {
  readonly exact: number
  readonly f1: number
}

/** Exact match and F1 over questions, and over those with and without an answer where there are both. */
export interface AnswerReport extends AnswerScore {
  readonly total: number
  readonly hasAnswer?: AnswerScore & { readonly total: number }
  readonly noAnswer?: AnswerScore & { readonly total: number }
}

// Python's string.punctuation, and the characters at which its str.split() cuts.
const PUNCTUATION = /[!-/:-@[-`{-~]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: Python cuts at the separators of ASCII too
const SPACES = /[^\S\ufeff]|[\x1c-\x1f\x85]/
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu

/** The words of an answer that count. */
function answerWords(text: string): string[] {
  const plain = text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLES, ' ')
  return plain.split(SPACES).filter(word => word !== '')
}

/** An answer against the right ones; `''` stands for none, and no right ones say that there is none. */
export function answerScore(answer: string, golds: readonly string[]): AnswerScore {
  const said = answerWords(answer)
  const right = golds.map(answerWords).filter(words => words.length > 0)
  const scores = (right.length > 0 ? right : [[]]).map(gold => ({
    exact: said.join(' ') === gold.join(' ') ? 1 : 0,
    f1: overlap(said, gold),
  }))
  return { exact: Math.max(...scores.map(s => s.exact)), f1: Math.max(...scores.map(s => s.f1)) }
}

/** F1 of two bags of words; where one of them is empty, whether both are. */
function overlap(said: readonly string[], gold: readonly string[]): number {
  if (said.length === 0 || gold.length === 0) return said.length === gold.length ? 1 : 0
  const left = new Map<string, number>()
  for (const word of gold) left.set(word, (left.get(word) ?? 0) + 1)
  let same = 0
  for (const word of said) {
    const count = left.get(word) ?? 0
    if (count > 0) same++
    left.set(word, count - 1)
  }
  return same === 0 ? 0 : (2 * same) / (said.length + gold.length)
}

/** Means over questions; `answered` says which of them have an answer. */
export function answerReport(scores: readonly AnswerScore[], answered: readonly boolean[]): AnswerReport {
  const part = (of: readonly AnswerScore[]) => ({
    exact: of.reduce((total, s) => total + s.exact, 0) / of.length,
    f1: of.reduce((total, s) => total + s.f1, 0) / of.length,
    total: of.length,
  })
  const has = scores.filter((_, i) => answered[i])
  const no = scores.filter((_, i) => !answered[i])
  if (has.length === 0 || no.length === 0) return part(scores)
  return { ...part(scores), hasAnswer: part(has), noAnswer: part(no) }
}
