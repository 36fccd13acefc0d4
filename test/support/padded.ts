// What transformers was given and gave, padded as it is in the files of test/golden.

import * as assert from 'uvu/assert'
import type { SafetensorsFile } from '../../lib/io/safetensors.ts'
import type { Model } from '../../lib/model.ts'
import { type PackedBatch, upload } from '../../lib/nn/batch.ts'
import { scope, type Tensor } from '../../lib/tensor.ts'
import { compare } from './compare.ts'

/** Whole numbers of a file. */
export const ints = (file: SafetensorsFile, name: string) => new Int32Array(file.read(name).buffer as ArrayBuffer)

/** Rows of a padded [B, T, …] array without its padding. */
export function unpad<A extends Int32Array | Float32Array>(padded: A, lengths: number[], width = 1): A {
  const T = padded.length / width / lengths.length
  const pieces = lengths.map((length, row) => padded.subarray(row * T * width, (row * T + length) * width))
  const out = new (padded.constructor as { new (n: number): A })(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    out.set(piece as never, at)
    at += piece.length
  }
  return out
}

/** The inputs of a file, packed. */
export function batchOf(io: SafetensorsFile, lengths: number[]): PackedBatch {
  const cuSeqlens = Int32Array.from([0, ...lengths].map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0)))
  return {
    ids: unpad(ints(io, 'input_ids'), lengths),
    typeIds: io.has('token_type_ids') ? unpad(ints(io, 'token_type_ids'), lengths) : undefined,
    cuSeqlens,
    maxLength: Math.max(...lengths),
  }
}

/** Every hidden state of the model against those of a file. */
export async function checkHidden(model: Model, io: SafetensorsFile, batch: PackedBatch, lengths: number[]) {
  const seen: Tensor[] = []
  scope(() => {
    const on = upload(batch, model.device, model.backbone)
    const observe = (hidden: Tensor) => {
      seen.push(hidden)
    }
    model.backbone.forward(on, { observe })
    for (const hidden of seen) hidden.keep()
  })
  assert.is(seen.length, model.backbone.layers + 1)
  for (const [i, hidden] of seen.entries()) {
    const expected = unpad(io.readF32(`hidden.${i}`), lengths, io.info(`hidden.${i}`).shape[2])
    compare(`hidden state ${i}`, await hidden.data(), expected, { relative: 1e-5 })
    hidden.dispose()
  }
}
