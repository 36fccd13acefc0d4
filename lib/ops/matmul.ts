import { record } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { dtypeCode, Tensor } from '../tensor.ts'

/**
 * Products in f32, or with operands rounded to bf16, or to TF32 (10 bits of mantissa; CUDA alone); accumulation is f32
 * always. In the order of the native enum.
 */
export const COMPUTE = ['f32', 'bf16', 'tf32'] as const

/** Precision of products; sums are f32 always. `tf32` on CUDA alone. */
export type Compute = (typeof COMPUTE)[number]

/** a[m, k] b[k, n], in a's dtype. */
export function matmul(a: Tensor, b: Tensor, compute: Compute = 'f32'): Tensor {
  const c = COMPUTE.indexOf(compute)
  const [ta, tb] = [dtypeCode(a.dtype), dtypeCode(b.dtype)]
  return record(new Tensor(native.matmul(a.handle, b.handle, false, false, c, ta)), [a, b], [a, b], (dy, needs) => [
    needs[0] ? new Tensor(native.matmul(dy.handle, b.handle, false, true, c, ta)) : undefined,
    needs[1] ? new Tensor(native.matmul(a.handle, dy.handle, true, false, c, tb)) : undefined,
  ])
}

/** a[k, m]ᵀ b[k, n], in a's dtype, of what has no gradient. */
export function matmulInner(a: Tensor, b: Tensor): Tensor {
  return new Tensor(native.matmul(a.handle, b.handle, true, false, 0, dtypeCode(a.dtype)))
}

/** x[m, n]ᵀ, as a product with the identity of the shorter side. */
export function transpose(x: Tensor): Tensor {
  const { rows, columns } = x
  const isWide = rows <= columns
  const size = Math.min(rows, columns)
  const data = new Float32Array(size * size)
  for (let i = 0; i < size; i++) data[i * (size + 1)] = 1
  const one = Tensor.from(data, [size, size], { device: x.device, dtype: x.dtype })
  const code = dtypeCode(x.dtype)
  const turned = (t: Tensor, wide: boolean) => {
    const [a, b] = wide ? [t, one] : [one, t]
    return new Tensor(native.matmul(a.handle, b.handle, wide, !wide, 0, code))
  }
  return record(turned(x, isWide), [x], [one], dy => [turned(dy, !isWide)])
}
