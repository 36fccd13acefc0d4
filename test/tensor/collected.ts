// Run by scope.test.ts with --expose-gc: what becomes of tensors that nobody disposed.

import { native } from '../../lib/native.ts'
import { Tensor } from '../../lib/tensor.ts'

const kept = Tensor.from(Float32Array.of(7), [1])
const disposed = Array.from({ length: 1000 }, () => Tensor.zeros([4]))
for (const tensor of disposed.splice(0)) tensor.dispose()
for (let i = 0; i < 1000; i++) Tensor.zeros([4])
const made = native.live()

for (let i = 0; i < 50 && native.live() > 1; i++) {
  ;(globalThis as unknown as { gc(): void }).gc()
  await new Promise(resolve => setTimeout(resolve, 5))
}
const collected = native.live()
console.log(JSON.stringify({ made, collected, value: await kept.item() }))
kept.dispose()
