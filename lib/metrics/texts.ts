// Scores of generated texts against what was wanted: exact match, ROUGE, BLEU and chrF, equal to those of rouge-score
// and sacrebleu.

import { mapTuple, nth } from '../tuple.ts'

/** A score of a text: each in [0, 1]. */
export interface RougeScore {
  readonly precision: number
  readonly recall: number
  readonly f1: number
}

type Counts = ReadonlyMap<string, number>

function ngrams(items: readonly string[], size: number): Counts {
  const counts = new Map<string, number>()
  for (let i = 0; i + size <= items.length; i++) {
    const key = items.slice(i, i + size).join('\u0000')
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

const sizeOf = (counts: Counts) => [...counts.values()].reduce((a, b) => a + b, 0)

function shared(a: Counts, b: Counts): number {
  let sum = 0
  for (const [key, count] of a) sum += Math.min(count, b.get(key) ?? 0)
  return sum
}

function rougeOf(hits: number, said: number, wanted: number): RougeScore {
  const [precision, recall] = [said === 0 ? 0 : hits / said, wanted === 0 ? 0 : hits / wanted]
  return { precision, recall, f1: hits === 0 ? 0 : (2 * precision * recall) / (precision + recall) }
}

/** Words as ROUGE counts them: lower case, a to z and digits alone. */
function rougeWords(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(word => word !== '')
}

/** Overlap of runs of `size` words (ROUGE-1, ROUGE-2; Lin 2004), without stemming. */
export function rougeN(said: string, wanted: string, size: number): RougeScore {
  const [a, b] = [ngrams(rougeWords(said), size), ngrams(rougeWords(wanted), size)]
  return rougeOf(shared(a, b), sizeOf(a), sizeOf(b))
}

/** Longest common subsequence of words (ROUGE-L), of the whole text. */
export function rougeL(said: string, wanted: string): RougeScore {
  const [a, b] = [rougeWords(said), rougeWords(wanted)]
  let above = new Int32Array(b.length + 1)
  for (const word of a) {
    const row = new Int32Array(b.length + 1)
    b.forEach((other, j) => {
      row[j + 1] = word === other ? above[j]! + 1 : Math.max(row[j]!, above[j + 1]!)
    })
    above = row
  }
  return rougeOf(above[b.length]!, a.length, b.length)
}

/** What BLEU and chrF of a corpus are computed from: sums over its texts. */
export interface TextStatistics {
  /** Of orders 1 to 4: runs of words that are wanted, and all. */
  readonly bleu: { readonly hits: readonly number[]; readonly all: readonly number[] }
  readonly words: { readonly said: number; readonly wanted: number }
  /** Of orders 1 to 6: runs of characters said, wanted, and both. */
  readonly chrf: readonly (readonly [said: number, wanted: number, both: number])[]
}

/** The statistics of one text. */
export function textStatistics(said: string, wanted: string): TextStatistics {
  const [a, b] = [tokenize13a(said), tokenize13a(wanted)]
  const orders = [1, 2, 3, 4].map(n => [ngrams(a, n), ngrams(b, n)] as const)
  const characters = mapTuple([said, wanted], text => [...text.replace(/\s+/g, '')])
  return {
    bleu: { hits: orders.map(([x, y]) => shared(x, y)), all: orders.map(([x]) => sizeOf(x)) },
    words: { said: a.length, wanted: b.length },
    chrf: [1, 2, 3, 4, 5, 6].map(n => {
      const [x, y] = mapTuple(characters, each => ngrams(each, n))
      // Runs of an order that what is wanted does not have do not count against what is said.
      return [y.size === 0 ? 0 : sizeOf(x), sizeOf(y), shared(x, y)] as const
    }),
  }
}

/** BLEU-4 of a corpus (Papineni et al. 2002) as sacrebleu has it: tokens 13a, exponential smoothing; in [0, 1]. */
export function bleu(statistics: readonly TextStatistics[]): number {
  const [said, wanted] = [sum(statistics, s => s.words.said), sum(statistics, s => s.words.wanted)]
  const hits = [0, 1, 2, 3].map(n => sum(statistics, s => nth(s.bleu.hits, n)))
  const all = [0, 1, 2, 3].map(n => sum(statistics, s => nth(s.bleu.all, n)))
  if (hits.every(count => count === 0) || all.some(count => count === 0)) return 0
  let smooth = 1
  let logs = 0
  for (const [n, count] of hits.entries()) {
    if (count === 0) smooth *= 2
    logs += Math.log((count === 0 ? 1 / smooth : count) / nth(all, n))
  }
  const brevity = said < wanted ? Math.exp(1 - wanted / said) : 1
  return brevity * Math.exp(logs / hits.length)
}

/** chrF2 of a corpus (Popović 2015) with sacrebleu's defaults: runs of 1 to 6 characters, no words; in [0, 1]. */
export function chrf(statistics: readonly TextStatistics[]): number {
  let [precision, recall, orders] = [0, 0, 0]
  for (let n = 0; n < 6; n++) {
    const [said, wanted, both] = mapTuple([0, 1, 2], i => sum(statistics, s => nth(nth(s.chrf, n), i)))
    if (said === 0 || wanted === 0) continue
    precision += both / said
    recall += both / wanted
    orders++
  }
  if (precision + recall === 0) return 0
  return (5 * (precision / orders) * (recall / orders)) / ((4 * precision) / orders + recall / orders)
}

function sum(all: readonly TextStatistics[], of: (one: TextStatistics) => number): number {
  return all.reduce((total, one) => total + of(one), 0)
}

const entities: readonly (readonly [string, string])[] = [
  ['&quot;', '"'],
  ['&amp;', '&'],
  ['&lt;', '<'],
  ['&gt;', '>'],
]

/** Words as mteval-v13a has them, which BLEU is counted in. */
function tokenize13a(text: string): string[] {
  let line = text.replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ')
  for (const [name, sign] of entities) line = line.replaceAll(name, sign)
  return ` ${line} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    .replace(/([^0-9])([.,])/g, '$1 $2 ')
    .replace(/([.,])([^0-9])/g, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ')
    .split(/\s+/)
    .filter(word => word !== '')
}

/** Whether two texts are the same but for white space around them. */
export function isExact(said: string, wanted: string): boolean {
  return said.trim() === wanted.trim()
}
