// What the model said before it was trained, in a checkpoint: a run that is resumed is compared with it.

import { existsSync } from 'node:fs'
import { wholeRows } from '../data/example.ts'
import { check } from '../errors.ts'
import { openSafetensors, type SafetensorsFile, type TensorToWrite, writeSafetensors } from '../io/safetensors.ts'
import type { Answer } from '../tasks/task.ts'
import { mapTuple, nth } from '../tuple.ts'
import type { Evaluation } from './evaluate.ts'
import type { Before, HistoryEntry, TrainExamples } from './events.ts'
import { examplesHash } from './fingerprint.ts'

type Split = Before['split']
type Numbers = Int32Array | Uint8Array | Float32Array
type Side = number | Numbers

const SPLITS: readonly Split[] = ['validation', 'test']
const SIDES = ['gold', 'predicted'] as const

/** Of an evaluation, what a comparison needs. */
export function beforeOf(split: Split, { metrics, predictions }: Evaluation): Before {
  return {
    split,
    metrics,
    predictions: predictions.map(({ gold, predicted, words }) => ({ gold, predicted, ...(words ? { words } : {}) })),
  }
}

/** One number for each label, beside the hash of the examples that they belong to. */
export async function writeBefore(path: string, before: readonly Before[], data: TrainExamples): Promise<void> {
  if (before.length === 0) return
  const hashes = before.map(({ split }) => [split, examplesHash(data[split] ?? [])])
  await writeSafetensors(path, before.flatMap(tensorsOf), Object.fromEntries(hashes))
}

function tensorsOf({ split, predictions }: Before): TensorToWrite[] {
  const tensors = SIDES.map(side =>
    tensorOf(
      `${split}.${side}`,
      predictions.map(answer => sideOf(answer, side)),
    ),
  )
  const lengths = Int32Array.from(predictions, answer => lengthOf(sideOf(answer, 'predicted')))
  if (typeof predictions[0]?.predicted === 'number') return tensors
  return [...tensors, { name: `${split}.lengths`, dtype: 'I32', shape: [lengths.length], data: lengths }]
}

/** Answers are numbers: an id, or one or some for each label. */
function sideOf(answer: Answer, side: (typeof SIDES)[number]): Side {
  const value = answer[side]
  const isSide = typeof value === 'number' || isNumbers(value)
  check(isSide, 'ERR_CHECKPOINT', () => `before: an answer is of ${typeof value}, which no checkpoint keeps`)
  return value
}

const isNumbers = (value: unknown): value is Numbers =>
  value instanceof Int32Array || value instanceof Uint8Array || value instanceof Float32Array

const lengthOf = (side: Side) => (typeof side === 'number' ? 1 : side.length)

function tensorOf(name: string, values: readonly Side[]): TensorToWrite {
  const [first] = values
  const lists = values.map(value => (typeof value === 'number' ? [value] : value))
  const shape = [lists.reduce((sum, list) => sum + list.length, 0)]
  const fill = <T extends Numbers>(data: T): T => {
    let at = 0
    for (const list of lists) {
      data.set(list, at)
      at += list.length
    }
    return data
  }
  if (first instanceof Float32Array) return { name, dtype: 'F32', shape, data: fill(new Float32Array(nth(shape, 0))) }
  if (first instanceof Uint8Array) return { name, dtype: 'U8', shape, data: fill(new Uint8Array(nth(shape, 0))) }
  return { name, dtype: 'I32', shape, data: fill(new Int32Array(nth(shape, 0))) }
}

/**
 * What was said of the splits whose examples are still the same, with its metrics from the history.
 * @throws ERR_CHECKPOINT for a file whose parts do not fit
 */
export function readBefore(path: string, history: readonly HistoryEntry[], data: TrainExamples): Before[] {
  if (!existsSync(path)) return []
  const file = openSafetensors(path)
  try {
    return SPLITS.flatMap(split => {
      const examples = data[split] ?? []
      const entry = history.find(e => e.kind === 'evaluation' && e.when === 'before' && e.split === split)
      if (entry?.kind !== 'evaluation' || file.metadata[split] !== examplesHash(examples)) return []
      return [{ split, metrics: entry.metrics, predictions: answersIn(path, file, split, wholeRows(examples).length) }]
    })
  } finally {
    file.close()
  }
}

function answersIn(path: string, file: SafetensorsFile, split: Split, count: number): Answer[] {
  const lengths = file.has(`${split}.lengths`) ? Int32Array.from(numbersIn(file, `${split}.lengths`)) : undefined
  const [gold, predicted] = mapTuple(SIDES, side => numbersIn(file, `${split}.${side}`))
  const total = lengths ? lengths.reduce((sum, length) => sum + length, 0) : count
  const sound = (lengths?.length ?? count) === count && gold.length === total && predicted.length === total
  check(sound && !lengths?.some(length => length < 0), 'ERR_CHECKPOINT', () => {
    return `${path}: the answers for ${split} are not one for each of ${count} examples; use another checkpoint`
  })
  if (!lengths) return Array.from(predicted, (one, i) => ({ gold: nth(gold, i), predicted: one }))
  let end = 0
  return Array.from(lengths, length => {
    const start = end
    end += length
    return { gold: gold.subarray(start, end), predicted: predicted.subarray(start, end) }
  })
}

function numbersIn(file: SafetensorsFile, name: string): Numbers {
  const { dtype } = file.info(name)
  if (dtype === 'F32') return file.readF32(name)
  const bytes = file.read(name).slice()
  check(dtype === 'I32' || dtype === 'U8', 'ERR_CHECKPOINT', () => {
    return `${file.path}: ${name} is ${dtype}, expected I32, U8 or F32; use another checkpoint`
  })
  return dtype === 'U8' ? bytes : new Int32Array(bytes.buffer)
}
