// TF-IDF over words and word pairs, with the formulas of scikit-learn's TfidfVectorizer.

import type { Pieces } from '../io/turn.ts'
import { nth } from '../tuple.ts'

/** Rows in compressed sparse form: row r holds `columns[i]`, `values[i]` for i in `starts[r] … starts[r + 1]`. */
export interface Features {
  readonly starts: Int32Array
  readonly columns: Int32Array
  readonly values: Float64Array
  readonly width: number
}

/** Words of two characters and more in lower case, and pairs of neighbours. */
function terms(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? []
  return [...words, ...words.slice(1).map((word, i) => `${words[i]} ${word}`)]
}

/**
 * Fitted on `texts`, with the `most` terms that stand in most of them: tf = 1 + ln(count),
 * idf = 1 + ln((1 + n) / (1 + df)), rows of unit length; unknown terms are left out. Returns the transform.
 */
export function* tfidf(
  texts: Iterable<string>,
  most = Number.POSITIVE_INFINITY,
): Pieces<(texts: Iterable<string>) => Pieces<Features>> {
  let columns = new Map<string, number>()
  let documents: number[] = []
  let count = 0
  for (const text of texts) {
    yield
    count++
    for (const term of new Set(terms(text))) {
      const column = columns.get(term) ?? columns.size
      columns.set(term, column)
      documents[column] = (documents[column] ?? 0) + 1
    }
  }
  if (columns.size > most) [columns, documents] = frequent(columns, documents, most)
  const idf = documents.map(own => 1 + Math.log((1 + count) / (1 + own)))
  return rows => compress(rows, text => weigh(text, columns, idf), idf.length)
}

/** The terms that stand in most texts, in their order; of equals the first. */
function frequent(
  columns: ReadonlyMap<string, number>,
  documents: readonly number[],
  most: number,
): [Map<string, number>, number[]] {
  const kept = new Set(
    [...documents.keys()].sort((a, b) => nth(documents, b) - nth(documents, a) || a - b).slice(0, most),
  )
  const terms = [...columns].filter(([, column]) => kept.has(column))
  return [new Map(terms.map(([term], i) => [term, i])), terms.map(([, column]) => nth(documents, column))]
}

function weigh(text: string, columns: ReadonlyMap<string, number>, idf: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const term of terms(text)) {
    const column = columns.get(term)
    if (column !== undefined) counts.set(column, (counts.get(column) ?? 0) + 1)
  }
  let square = 0
  for (const [column, count] of counts) {
    const weight = (1 + Math.log(count)) * idf[column]!
    counts.set(column, weight)
    square += weight * weight
  }
  for (const [column, weight] of counts) counts.set(column, weight / Math.sqrt(square))
  return counts
}

/** Rows one after another, none of them kept as it is. */
function* compress(
  texts: Iterable<string>,
  weigh: (text: string) => ReadonlyMap<number, number>,
  width: number,
): Pieces<Features> {
  let [columns, values, starts] = [new Int32Array(1 << 10), new Float64Array(1 << 10), new Int32Array(1 << 10)]
  let [at, rows] = [0, 0]
  for (const text of texts) {
    yield
    const row = weigh(text)
    if (at + row.size > columns.length) {
      columns = grown(columns, at + row.size, Int32Array)
      values = grown(values, at + row.size, Float64Array)
    }
    for (const [column, value] of row) {
      columns[at] = column
      values[at++] = value
    }
    if (++rows === starts.length) starts = grown(starts, rows + 1, Int32Array)
    starts[rows] = at
  }
  return {
    starts: starts.subarray(0, rows + 1),
    columns: columns.subarray(0, at),
    values: values.subarray(0, at),
    width,
  }
}

function grown<A extends Int32Array | Float64Array>(array: A, least: number, kind: { new (length: number): A }): A {
  const larger = new kind(Math.max(least, array.length + (array.length >> 1)))
  larger.set(array)
  return larger
}
