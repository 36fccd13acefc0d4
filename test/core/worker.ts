// A worker with its own queue, pool and handles.

import { parentPort, workerData } from 'node:worker_threads'
import { native } from '../../lib/native.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'
import { enqueue } from './work.ts'

const { mode, seed } = workerData as { mode: string; seed?: number }

async function compute(start: number): Promise<{ sums: number[]; live: number; peak: number }> {
  const cpu = Device.get('cpu')
  const sums: number[] = []
  for (let round = 0; round < 30; round++) {
    const y = scope(() => {
      const x = Tensor.from(
        Float64Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i * start + round)),
        [64, 64],
      )
      return matmul(matmul(x, x), x)
    })
    const values = (await y.data()) as Float64Array
    sums.push(values.reduce((a, b) => a + b, 0))
    y.dispose()
  }
  return { sums, live: native.live(), peak: cpu.memory().peak }
}

if (mode === 'compute') parentPort!.postMessage(await compute(seed!))
if (mode === 'busy') {
  enqueue(400)
  void Device.get('cpu').synchronize()
  parentPort!.postMessage('busy')
  setInterval(() => undefined, 1000)
}
if (mode === 'leave') enqueue(400)
if (mode === 'exit') {
  enqueue(400)
  void Device.get('cpu').synchronize()
  process.exit(5)
}
