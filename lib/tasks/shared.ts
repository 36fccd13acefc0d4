// What several tasks share: classes, strata, shares of right answers.

import type { Columns } from '../data/columns.ts'
import { contentText, conversationOf } from '../data/conversation.ts'
import type { Example } from '../data/example.ts'
import { changed, type List } from '../data/list.ts'
import { type Row, textOf } from '../data/row.ts'
import { check } from '../errors.ts'
import { type ClassificationReport, classificationReport } from '../metrics/classification.ts'
import { type BootstrapInterval, pairedBootstrap } from '../metrics/compare.ts'
import type { Scores } from '../metrics/scores.ts'
import { nth, under } from '../tuple.ts'
import type { LabelWarning, Reader, Scored, TextRun } from './task.ts'

/** Scores of an average under their names: `microF1` and its like, or without a prefix `f1`. */
export function named(prefix: string, { precision, recall, f1 }: Scores): Record<string, number> {
  if (prefix === '') return { precision, recall, f1 }
  return { [`${prefix}Precision`]: precision, [`${prefix}Recall`]: recall, [`${prefix}F1`]: f1 }
}

/** Scores of one class an item. */
export function classScores(gold: ArrayLike<number>, predicted: ArrayLike<number>, labels: readonly string[]): Scored {
  const report: ClassificationReport = classificationReport(gold, predicted, labels)
  const { accuracy, micro, macro, weighted, binary, matthews } = report
  const metrics = {
    accuracy,
    ...named('', macro),
    ...named('micro', micro),
    ...named('weighted', weighted),
    ...(binary ? named('binary', binary) : {}),
    matthews,
  }
  return { metrics, reports: { classification: report } }
}

/** Titles of an average. */
export function averageTitles(average: string): Readonly<Record<string, string>> {
  return { precision: `precision (${average})`, recall: `recall (${average})`, f1: `F1 (${average})` }
}

/** Bootstrap of a difference of shares, each example bringing right answers and how many it has. */
export function bootstrapShares(
  before: readonly (readonly [number, number])[],
  after: readonly (readonly [number, number])[],
  seed: number,
): BootstrapInterval {
  const share = (parts: readonly (readonly [number, number])[], sample: Uint32Array) => {
    let [right, all] = [0, 0]
    for (const i of sample) {
      right += nth(parts, i)[0]
      all += nth(parts, i)[1]
    }
    return all === 0 ? 0 : right / all
  }
  const score = (sample: Uint32Array) => ({ before: share(before, sample), after: share(after, sample) })
  return pairedBootstrap('accuracy', after.length, score, { seed })
}

/** The rarest name of each list: what it is stratified by. */
export function rarest(lists: List<readonly string[]>): List<string> {
  const counts = new Map<string, number>()
  for (const list of lists) for (const name of new Set(list)) counts.set(name, (counts.get(name) ?? 0) + 1)
  const rank = (name: string): number => under(counts, name)
  return changed(lists, list => {
    if (list.length === 0) return ''
    return list.reduce((a, b) => (rank(b) < rank(a) || (rank(b) === rank(a) && b < a) ? b : a))
  })
}

/** n / (classes · count) for each class that occurs, 0 for the others, as scikit-learn. */
export function balancedWeights(counts: Int32Array): number[] {
  const total = counts.reduce((a, b) => a + b, 0)
  const present = counts.filter(count => count > 0).length
  return Array.from(counts, count => (count > 0 ? total / (present * count) : 0))
}

/** @throws ERR_DATA where the training split has one class alone */
export function oneClass(split: string, counts: Int32Array, labels: readonly string[]): LabelWarning[] {
  const present = [...counts.keys()].filter(id => nth(counts, id) > 0)
  if (present.length !== 1 || counts.length < 2) return []
  const message = `all labels of the ${split} split are "${labels[nth(present, 0)] ?? present[0]}"`
  check(split !== 'train', 'ERR_DATA', () => `train: ${message}; there is nothing to tell apart, add other rows`)
  return [{ code: 'one-class', message, cure: 'shuffle or stratify the split; its metrics mean little' }]
}

/** What an example was made from, to be shown. */
export function textFor({ row, words, ids }: Example, { tokenizer, columns }: Omit<Reader, 'labels'>): string {
  if (words) return words.join(' ')
  if (columns.messages !== undefined || columns.prompt !== undefined) {
    const { messages, from } = conversationOf(row, columns)
    return contentText(
      messages.findLast((message, i) => i < (from || messages.length) && message.role === 'user') ?? nth(messages, 0),
    )
  }
  if (columns.text === undefined) return tokenizer.decode(ids)
  const first = textOf(row, columns.text)
  return columns.text2 === undefined ? first : `${first} | ${textOf(row, columns.text2)}`
}

/** Rows that hold texts. @throws ERR_DATA where they hold words */
export function textRows(rows: List<Row>, columns: Columns): { rows: List<Row>; columns: Columns } {
  check(columns.text !== undefined, 'ERR_DATA', () => 'predict: the rows hold words, the adapter reads texts')
  return { rows, columns }
}

/** A share for a line: dim, with one decimal. */
export function shareRun(share: number, width = 0): TextRun {
  return { text: `${(100 * share).toFixed(1).padStart(width)} %`, style: 'dim' }
}
