// A worker with its own queue, pool and handles.

import { parentPort, workerData } from 'node:worker_threads'
import { native } from '../../lib/native.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'
import { enqueue } from './work.ts'

const { mode, seed, outputDir } = workerData as { mode: string; seed?: number; outputDir?: string }

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

// Reads without end, as training does: ended from outside, or by itself at some moment.
if (mode === 'reads' || mode === 'reads and exit' || mode === 'reads and throw') {
  parentPort!.postMessage('reading')
  if (mode === 'reads and exit') setTimeout(() => process.exit(5), seed)
  if (mode === 'reads and throw')
    setTimeout(() => {
      throw new Error('thrown in a worker')
    }, seed)
  for (;;) {
    const reads = Array.from({ length: 4 }, (_, i) => {
      const x = scope(() => {
        const y = Tensor.from(Float64Array.from({ length: 32 * 32 }, Math.cos), [32, 32])
        return matmul(y, y)
      })
      const read = x.data()
      x.dispose()
      return i === 3 ? read.then(() => Device.get('cpu').synchronize()) : read
    })
    await Promise.all(reads)
  }
}

// A whole run: loading, evaluating, steps, checkpoints.
if (mode === 'train') {
  parentPort!.postMessage('training')
  const [{ sequences, tinyLora, tinyModel }, { train }] = await Promise.all([
    import('../train/support.ts'),
    import('../../lib/train/train.ts'),
  ])
  const model = tinyModel()
  const data = { train: sequences(60), validation: sequences(20, 8) }
  const options = { epochs: 20, outputDir, checkpointEvery: 1, batchSize: 8 }
  for await (const _ of train(tinyLora(model), data, options));
}
