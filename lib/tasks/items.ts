// Answers for tokens: one for each word of a tagged sentence, or for each hidden token.

import type { MicroBatch } from '../data/batches.ts'
import { type Example, IGNORED } from '../data/example.ts'
import { must, nth } from '../tuple.ts'
import { type Answers, argmax, type LogitRows, largest, softmax, softmaxAt } from './logits.ts'
import type { Answer, Prediction, Supervision } from './task.ts'

/** One item for each word or token that has an answer. */
export interface ItemsPrediction extends Prediction {
  /** The token in the example's ids: the first piece of each word. */
  readonly positions: Int32Array
  readonly gold: Int32Array | undefined
  readonly predicted: Int32Array
  /** Of what was predicted. */
  readonly probabilities: Float32Array
  /** Likeliest ids of each item with their probabilities, where they were asked for. */
  readonly top?: readonly (readonly { readonly id: number; readonly probability: number }[])[]
}

/** Where the answers of an example stand: `rows` in the logits, `positions` in its ids. */
interface Items {
  readonly rows: ArrayLike<number>
  readonly positions: Int32Array
}

/** Answers of a batch; `itemsOf` says where those of an example stand. */
export function readItems(
  answers: Answers,
  examples: readonly Example[],
  itemsOf: (example: Example, i: number) => Items,
  top = 0,
): ItemsPrediction[] {
  return examples.map((example, i) => {
    const { rows, positions } = itemsOf(example, i)
    const { label } = example
    const gold = label instanceof Int32Array ? positions.map(t => nth(label, t)) : undefined
    if ('ids' in answers) {
      const predicted = Int32Array.from(rows, row => nth(answers.ids, row))
      return {
        positions,
        gold,
        predicted,
        probabilities: Float32Array.from(rows, row => nth(answers.probabilities, row)),
      }
    }
    const predicted = Int32Array.from(rows, row => argmax(answers, row))
    const probabilities = Float32Array.from(rows, (row, k) => softmaxAt(answers, row, nth(predicted, k)))
    if (top === 0) return { positions, gold, predicted, probabilities }
    return { positions, gold, predicted, probabilities, top: Array.from(rows, row => ranked(answers, row, top)) }
  })
}

/** As {@link readItems}, where there are logits for the items alone, one after the other. */
export function readSupervised(
  answers: Answers,
  examples: readonly Example[],
  positionsOf: (example: Example) => Int32Array,
  top?: number,
): ItemsPrediction[] {
  let before = 0
  const itemsOf = (example: Example): Items => {
    const positions = positionsOf(example)
    const rows = positions.map((_, k) => before + k)
    before += positions.length
    return { positions, rows }
  }
  return readItems(answers, examples, itemsOf, top)
}

function ranked(logits: LogitRows, row: number, count: number) {
  const probabilities = softmax(logits, row)
  return largest(probabilities, count).map(id => ({ id, probability: nth(probabilities, id) }))
}

/** Whether every item is right. */
export function rightItems({ gold, predicted }: Answer<ItemsPrediction>): boolean {
  return predicted.every((id, i) => id === must(gold, 'gold')[i])
}

/** How sure the model was of its surest wrong item. */
export function wrongItem({ gold, predicted, probabilities }: ItemsPrediction): number | undefined {
  let most: number | undefined
  predicted.forEach((id, i) => {
    if (id !== must(gold, 'gold')[i]) most = Math.max(most ?? 0, nth(probabilities, i))
  })
  return most
}

/** Right items of an example, and how many it has. */
export function shareOfItems({ gold, predicted }: Answer<ItemsPrediction>): readonly [number, number] {
  return [predicted.reduce((sum, id, i) => sum + (id === must(gold, 'gold')[i] ? 1 : 0), 0), predicted.length]
}

/** What the loss looks at in the tokens of sequence `i`. */
export function viewItems(
  { targets, cuSeqlens }: MicroBatch,
  i: number,
  nameOf: (id: number) => string,
  weights?: readonly number[],
): Supervision {
  const { rows, values } = must(targets, 'targets')
  const known = rows && new Map(Array.from(rows, (token, row) => [token, nth(values, row)]))
  const [start, end] = [nth(cuSeqlens, i), nth(cuSeqlens, i + 1)]
  const ids = Array.from({ length: end - start }, (_, t) => {
    return known ? (known.get(start + t) ?? IGNORED) : nth(values, start + t)
  })
  return {
    tokenLabels: ids.map(id => (id === IGNORED ? null : nameOf(id))),
    weight: ids.reduce((sum, id) => sum + (id === IGNORED ? 0 : (weights?.[id] ?? 1)), 0),
  }
}
