import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/**
 * Rows ids (i32[N], checked on the host) of table [V, D]; of activations, it selects rows. The row `fixed`, if any,
 * gets no gradient: PyTorch's padding_idx.
 */
export function embedding(table: Tensor, ids: Tensor, fixed?: number): Tensor {
  const [rows, width] = table.shape as [number, number]
  return record(new Tensor(native.embedding(table.handle, ids.handle)), [table], [ids], dy => {
    const dtable = new Tensor(native.embeddingBackward(dy.handle, ids.handle, rows))
    if (fixed !== undefined && fixed < rows) native.fill(dtable.view(fixed * width, [width]).handle, 0)
    return [dtable]
  })
}
