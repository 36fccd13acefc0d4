import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { codeOf, Tensor } from '../tensor.ts'
import { COMPUTE, type Compute } from './matmul.ts'

/** x[N, in] w[out, in]^T + bias[out]. A frozen weight may be stored as bf16 and gets no gradient. */
export function linear(x: Tensor, w: Tensor, bias: Tensor | undefined, compute: Compute = 'f32'): Tensor {
  const c = COMPUTE.indexOf(compute)
  const y = new Tensor(native.linear(x.handle, w.handle, bias?.handle ?? 0, c))
  const saved = w.requiresGrad ? [x, w] : [w]
  return record(y, bias ? [x, w, bias] : [x, w], saved, (dy, needs) => [
    needs[0] ? new Tensor(native.matmul(dy.handle, w.handle, false, false, c, codeOf(dy.dtype))) : undefined,
    needs[1] ? new Tensor(native.matmul(dy.handle, x.handle, true, false, c, codeOf(w.dtype))) : undefined,
    needs[2] ? new Tensor(native.sumRows(dy.handle)) : undefined,
  ])
}
