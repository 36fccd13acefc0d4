// Sequences that a head reads for their values alone go forward by themselves, and never backward.

import { unrecorded } from '../autograd/tape.ts'
import { type Targets, uploadTargets } from '../data/targets.ts'
import type { PackedBatch } from '../nn/batch.ts'
import { noiseFor } from '../nn/noise.ts'
import { countingFrom } from '../ops/random.ts'
import { type Device, scope, type Tensor } from '../tensor.ts'
import type { BatchPart, Head } from './head.ts'

/** What makes hidden rows: a model. */
interface Rows {
  readonly head: Head
  readonly device: Device
  onRows<T>(batch: PackedBatch, targets: Targets | undefined, body: (hidden: Tensor) => T): T
}

/**
 * Runs `body` on what is to be learned of a batch, with what the rest of it says; on all of it where a head reads
 * nothing aside.
 */
export function onLearned<T>(model: Rows, batch: PackedBatch, targets: Targets, body: (own: BatchPart) => T): T {
  const { aside, outputs } = model.head
  const divided = aside?.divide(batch, targets)
  if (!aside || !divided) return body({ batch, targets })
  const { learned, read } = divided
  const values = (hidden: Tensor) => {
    return aside.values(hidden, uploadTargets(read.targets, hidden.rows, outputs, model.device), read.targets)
  }
  const run = () => countingFrom(learned.batch.ids.length, () => model.onRows(read.batch, read.targets, values))
  const others = unrecorded(() => scope(() => noiseFor(read.batch.cuSeqlens, run)))
  const own = { batch: learned.batch, targets: aside.joined(learned.targets, others) }
  return noiseFor(own.batch.cuSeqlens, () => body(own))
}
