// Work of a known length, and faults, for the tests of the queue.

import { embedding } from '../../lib/ops/embedding.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'

const SIDE = 192

/** Enqueues `count` products in f64, some milliseconds each. */
export function enqueue(count: number): void {
  scope(() => {
    const x = Tensor.zeros([SIDE, SIDE], { dtype: 'f64' })
    for (let i = 0; i < count; i++) matmul(x, x)
  })
}

/** How many of those take `ms` milliseconds here and now. */
export async function productsFor(ms: number): Promise<number> {
  const cpu = Device.get('cpu')
  enqueue(2)
  await cpu.synchronize()
  const start = performance.now()
  enqueue(8)
  await cpu.synchronize()
  return Math.ceil((8 * ms) / (performance.now() - start))
}

/** An op that fails in the queue: row 7 of a table with 3. */
export function lookUpNowhere(): Tensor {
  return scope(() => embedding(Tensor.zeros([3, 2]), Tensor.from(Int32Array.of(1, 7), [2])))
}
