import { record } from '../autograd/tape.ts'
import { type DType, native } from '../native.ts'
import { dtypeCode, Tensor } from '../tensor.ts'

/**
 * Rows ids (i32[N], checked on the host) of table [V, D], as activations of `dtype`; of activations, it selects rows.
 * The row `paddingIdx`, if any, gets no gradient: PyTorch's padding_idx.
 */
export function embedding(table: Tensor, ids: Tensor, dtype = activationsOf(table), paddingIdx?: number): Tensor {
  const { rows, columns: width } = table
  const stored = dtypeCode(table.dtype)
  return record(new Tensor(native.embedding(table.handle, ids.handle, dtypeCode(dtype))), [table], [ids], dy => {
    const dtable = new Tensor(native.embeddingBackward(dy.handle, ids.handle, rows, stored))
    if (paddingIdx !== undefined && paddingIdx < rows) native.fill(dtable.view(paddingIdx * width, [width]).handle, 0)
    return [dtable]
  })
}

/** What a table gives unasked: f32, whatever narrower dtype it is stored in. */
function activationsOf(table: Tensor): DType {
  return table.dtype === 'f64' ? 'f64' : 'f32'
}
