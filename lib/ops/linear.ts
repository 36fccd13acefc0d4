import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { dtypeCode, Tensor } from '../tensor.ts'
import { COMPUTE, type Compute } from './matmul.ts'
import { type RopeInput, ropeArguments, ropeTensors, rotateBack } from './rope.ts'

/**
 * x[N, in] w[out, in]^T + bias[out], with `rope` turned by it as it is written. A frozen weight may be stored as bf16
 * and gets no gradient.
 */
export function linear(
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
  compute: Compute = 'f32',
  rope?: RopeInput,
): Tensor {
  const c = COMPUTE.indexOf(compute)
  const y = new Tensor(native.linear(x.handle, w.handle, bias?.handle ?? 0, c, ...ropeArguments(rope)))
  const saved = [...(w.requiresGrad ? [x, w] : [w]), ...ropeTensors(rope)]
  return record(y, bias ? [x, w, bias] : [x, w], saved, (rotated, needs) => {
    const dy = rotateBack(rotated, rope)
    return [
      needs[0] ? new Tensor(native.matmul(dy.handle, w.handle, false, false, c, dtypeCode(dy.dtype))) : undefined,
      needs[1] ? new Tensor(native.matmul(dy.handle, x.handle, true, false, c, dtypeCode(w.dtype))) : undefined,
      needs[2] ? new Tensor(native.sumRows(dy.handle)) : undefined,
    ]
  })
}
