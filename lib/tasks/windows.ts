// Rows that are longer than a model reads: windows that overlap by a quarter, whose predictions are put together.

import type { Example } from '../data/example.ts'
import type { Row } from '../data/row.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth, under } from '../tuple.ts'
import type { ItemsPrediction } from './items.ts'

/** Share of a window that the next one reads again. */
const OVERLAP = 1 / 4

/** A text in windows, each between the tokens that the tokenizer puts around it. */
export function textWindows(row: Row, text: string, tokenizer: Tokenizer, maxLength: number): Example[] {
  const { ids } = tokenizer.encode(text)
  const tokens = tokenizer.tokens(text)
  const room = maxLength - (ids.length - tokens.length)
  const before = Math.max(0, ids.indexOf(tokens[0] ?? -1))
  const around = [ids.subarray(0, before), ids.subarray(before + tokens.length)] as const
  const step = Math.max(1, Math.ceil(room * (1 - OVERLAP)))
  const windows: Example[] = []
  for (let start = 0; start === 0 || start + room - step < tokens.length; start += step) {
    const part = tokens.slice(start, start + room)
    windows.push({ ids: Int32Array.of(...around[0], ...part, ...around[1]), truncated: false, row })
  }
  return windows
}

/** A tagged sentence in windows; `words` are those of the sentence, `wordIds` count in it. */
export function wordWindows(row: Row, words: readonly string[], tokenizer: Tokenizer, maxLength: number): Example[] {
  const windows: Example[] = []
  for (let start = 0; start < words.length; ) {
    const { ids, typeIds, wordIds } = tokenizer.encodeWords(words.slice(start), { maxLength })
    const kept = Math.max(
      1,
      wordIds.reduce((most, word) => Math.max(most, word + 1), 0),
    )
    const placed = wordIds.map(word => (word < 0 ? word : word + start))
    windows.push({ ids, typeIds, words, wordIds: placed, truncated: false, row })
    if (start + kept >= words.length) break
    start += Math.max(1, kept - Math.floor(kept * OVERLAP))
  }
  return windows
}

/** The answer for each word from the window in which it stands farther from an edge. */
export function mergeWords(predictions: readonly ItemsPrediction[], windows: readonly Example[]): ItemsPrediction {
  const [first] = predictions
  if (predictions.length === 1) return must(first, 'first')
  const best = new Map<number, { window: number; item: number; edge: number }>()
  windows.forEach(({ wordIds }, window) => {
    const { positions } = nth(predictions, window)
    const words = Array.from(positions, t => nth(must(wordIds, 'wordIds'), t))
    words.forEach((word, item) => {
      const isFirst = window === 0
      const isLast = window === windows.length - 1
      const edge = Math.min(
        isFirst ? Number.POSITIVE_INFINITY : item,
        isLast ? Number.POSITIVE_INFINITY : words.length - 1 - item,
      )
      if (edge > (best.get(word)?.edge ?? -1)) best.set(word, { window, item, edge })
    })
  })
  const order = [...best.keys()].sort((a, b) => a - b).map(word => under(best, word))
  const pick = (of: 'positions' | 'predicted' | 'probabilities') =>
    order.map(({ window, item }) => nth(nth(predictions, window)[of], item))
  return {
    positions: Int32Array.from(pick('positions')),
    gold: undefined,
    predicted: Int32Array.from(pick('predicted')),
    probabilities: Float32Array.from(pick('probabilities')),
  }
}

/** The mean of rows of numbers. */
export function meanOf(rows: readonly Float32Array[]): Float32Array {
  return Float32Array.from(nth(rows, 0), (_, c) => rows.reduce((sum, row) => sum + nth(row, c), 0) / rows.length)
}
