import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** Rows ids (i32[N], checked on the host) of table [V, D]; of activations, it selects rows. */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  const rows = table.shape[0]!
  return record(new Tensor(native.embedding(table.handle, ids.handle)), [table], [ids], dy => [
    new Tensor(native.embeddingBackward(dy.handle, ids.handle, rows)),
  ])
}
