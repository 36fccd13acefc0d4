// A batch decoded: what the model sees, and which of it the loss looks at.

import type { MicroBatch } from '../data/batches.ts'
import { nth } from '../tuple.ts'
import type { Reader, Supervision, Task } from './task.ts'

/** One sequence of a batch. */
export interface SequenceView extends Supervision {
  /** As the vocabulary has them. */
  readonly tokens: readonly string[]
}

/** What is needed to read a batch. */
interface BatchReader extends Omit<Reader, 'columns'> {
  readonly task: Task
  readonly classWeights?: readonly number[] | undefined
}

/** The sequences of a micro-batch, decoded. */
export function viewBatch(batch: MicroBatch, reader: BatchReader): SequenceView[] {
  const { tokenizer, task, classWeights } = reader
  return Array.from({ length: batch.cuSeqlens.length - 1 }, (_, i) => {
    const [start, end] = [nth(batch.cuSeqlens, i), nth(batch.cuSeqlens, i + 1)]
    const tokens = Array.from(batch.ids.subarray(start, end), id => tokenizer.token(id) ?? `#${id}`)
    return { tokens, ...(batch.targets ? task.view(batch, i, reader, classWeights) : { weight: 0 }) }
  })
}
