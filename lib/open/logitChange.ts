// How far two models with the same head are apart on fixed texts: what rounding weights to fewer bits has changed.

import type { Example } from '../data/example.ts'
import { toRow } from '../data/row.ts'
import type { Model } from '../model.ts'
import { scope } from '../tensor.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { packAll, rowsAsked } from '../train/evaluate.ts'
import { nth } from '../tuple.ts'

/** Texts that both models read; of no data set. */
const PROBES = [
  'The train to the coast leaves at seven, and the tickets cost twelve euros each.',
  'I waited forty minutes for a table, but the soup was excellent and the staff apologised.',
  'How many provinces does the country have, and which of them is the largest?',
  'In 1936 the society moved its library from Leipzig to a smaller house on the river.',
]

/** Differences of logits, over all that a head says of the texts. */
export interface LogitChange {
  /** Largest and mean absolute difference, in logits. */
  readonly largest: number
  readonly mean: number
  /** Standard deviation of the first model's logits about their mean. */
  readonly spread: number
}

/** All logits of a model for the fixed texts, one after another; an encoder-decoder says each text to itself. */
export async function probeLogits(model: Model, tokenizer: Tokenizer, maxLength: number): Promise<Float32Array> {
  const examples = PROBES.map((text, i): Example => {
    const { ids, typeIds } = tokenizer.encode(text, { maxLength })
    return {
      ids,
      typeIds,
      target: model.backbone.encode ? ids : undefined,
      asked: Int32Array.from(ids.keys()),
      truncated: false,
      row: toRow({ text }, i + 1),
    }
  })
  // The read is in the queue before the scope frees what it reads.
  const { read } = scope(() => {
    const batch = packAll(model, examples)
    return { read: model.logits(batch, rowsAsked(batch)).floats() }
  })
  return Float32Array.from(await read)
}

/** @param before of the model that is to be kept to; `after` has as many */
export function logitChange(before: Float32Array, after: Float32Array): LogitChange {
  let [largest, total, sum, squares] = [0, 0, 0, 0]
  for (let i = 0; i < before.length; i++) {
    const [x, y] = [nth(before, i), nth(after, i)]
    const change = Math.abs(x - y)
    if (!(change <= largest)) largest = change
    total += change
    sum += x
    squares += x * x
  }
  const n = before.length
  return { largest, mean: total / n, spread: Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2)) }
}
