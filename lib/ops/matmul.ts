import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** Products in f32, or with operands rounded to bf16; accumulation is f32 in both. In the order of the native enum. */
export const COMPUTE = ['f32', 'bf16'] as const
export type Compute = (typeof COMPUTE)[number]

/** a[m, k] b[k, n]. */
export function matmul(a: Tensor, b: Tensor, compute: Compute = 'f32'): Tensor {
  const c = COMPUTE.indexOf(compute)
  return record(new Tensor(native.matmul(a.handle, b.handle, false, false, c)), [a, b], [a, b], (dy, needs) => [
    needs[0] ? new Tensor(native.matmul(dy.handle, b.handle, false, true, c)) : undefined,
    needs[1] ? new Tensor(native.matmul(a.handle, dy.handle, true, false, c)) : undefined,
  ])
}
