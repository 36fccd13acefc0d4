// Extractive question answering: the first and the last token of the answer, each told from the tokens of its sequence.

import type { Example } from '../data/example.ts'
import { type Collate, perToken } from '../data/targets.ts'
import { check } from '../errors.ts'
import type { HeadLayers } from '../models/family.ts'
import type { PackedBatch } from '../nn/batch.ts'
import { add } from '../ops/add.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { embedding } from '../ops/embedding.ts'
import { multiply } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import { sum } from '../ops/sum.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { type Head, type HeadKind, wide } from './head.ts'

export const questionHead = {
  task: 'question-answering',
  aliases: ['qa', 'extractive-qa', 'squad'],
  sits: 'span',
  isLabelled: false,
  outputs: 2,
  peftType: 'QUESTION_ANS',
  classSuffix: 'ForQuestionAnswering',
  make: (layers: HeadLayers) => questionAnswering(layers),
} as const satisfies HeadKind

/** Takes columns out of a softmax, and stays a number in f32. */
const NEVER = -1e30

/** 1 at the token where an answer starts, in the first column, and at that where it ends, in the second; else 0. */
export const answerSpans: Collate = examples => {
  const known = examples.filter(({ label }) => label !== undefined)
  if (known.length === 0) return undefined
  check(known.length === examples.length, 'ERR_DATA', () => 'batches: examples with and without labels in one batch')
  const values = new Float32Array(2 * examples.reduce((total, { ids }) => total + ids.length, 0))
  let before = 0
  for (const example of examples) {
    const [start, end] = spanOf(example)
    values[2 * (before + start)] = 1
    values[2 * (before + end) + 1] = 1
    before += example.ids.length
  }
  return perToken(values, 2, answersIn)
}

/** Each answer has a start and an end. */
function answersIn(values: Iterable<number>): number {
  let ends = 0
  for (const one of values) ends += one
  return ends / 2
}

function spanOf({ label, ids }: Example): readonly [number, number] {
  check(label instanceof Int32Array && label.length === 2, 'ERR_DATA', () => {
    return 'batches: a label is no pair of first and last token, which this task expects'
  })
  const [start = -1, end = -1] = label
  check(start >= 0 && start <= end && end < ids.length, 'ERR_DATA', () => {
    return `labels: an answer from token ${start} to ${end} of ${ids.length}; give places inside the sequence`
  })
  return [start, end]
}

/** The mean of the two cross entropies over the tokens of each sequence, as transformers. */
function questionAnswering(layers: HeadLayers): Head {
  return {
    task: questionHead.task,
    problem: 'single',
    outputs: questionHead.outputs,
    collate: answerSpans,
    rows: () => undefined,
    logits: hidden => wide(layers(hidden)),

    loss(hidden, targets, { total, labelSmoothing: smoothing = 0 }, batch) {
      const logits = wide(layers(hidden))
      const [device, dtype] = [logits.device, logits.dtype]
      const part = 1 / (2 * total)
      // log Σ exp over each sequence is the cross entropy with its first token plus the logit of that. What is left,
      // first less target, is linear in the logits, and smoothing changes no more than its factors.
      const { rows, first, spread } = arrange(batch, device, dtype)
      const zeros = Tensor.from(new Int32Array(2 * sequences(batch)), [2 * sequences(batch)], { device })
      const near = crossEntropy(rows(logits), zeros, { scale: part })
      const wanted = smoothing > 0 ? add(scale(targets, 1 - smoothing), scale(spread(), smoothing)) : targets
      const factors = add(first, scale(wanted, -1))
      return add(near, scale(sum(multiply(logits, factors)), part))
    },
  }
}

const sequences = ({ cuSeqlens }: PackedBatch) => cuSeqlens.length - 1

/** Logits [N, 2] by sequence: rows of their starts and of their ends, as long as the longest sequence. */
function arrange(batch: PackedBatch, device: Tensor['device'], dtype: Tensor['dtype']) {
  const { cuSeqlens, maxLength } = batch
  const count = sequences(batch)
  const size = nth(cuSeqlens, count)
  const index = new Int32Array(2 * count * maxLength)
  const bar = new Float32Array(index.length)
  const first = new Float32Array(2 * size)
  const share = new Float32Array(2 * size)
  for (let i = 0; i < count; i++) {
    const [start, end] = [nth(cuSeqlens, i), nth(cuSeqlens, i + 1)]
    first.fill(1, 2 * start, 2 * start + 2)
    share.fill(1 / (end - start), 2 * start, 2 * end)
    for (let column = 0; column < 2; column++)
      for (let t = 0; t < maxLength; t++) {
        const at = (2 * i + column) * maxLength + t
        const isInside = start + t < end
        index[at] = 2 * (isInside ? start + t : start) + column
        if (!isInside) bar[at] = NEVER
      }
  }
  const rows = (logits: Tensor) => {
    const places = Tensor.from(index, [index.length], { device })
    const found = embedding(logits.view(0, [2 * size, 1]), places, dtype).view(0, [2 * count, maxLength])
    return add(found, Tensor.from(bar, [2 * count, maxLength], { device, dtype }))
  }
  return {
    rows,
    first: Tensor.from(first, [size, 2], { device, dtype }),
    spread: () => Tensor.from(share, [size, 2], { device, dtype }),
  }
}
