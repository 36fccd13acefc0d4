// What the tests run in processes of their own: node scenarios.ts NAME.

import type { Worker } from 'node:worker_threads'
import type { LowrankError } from '../../lib/errors.ts'
import { add } from '../../lib/ops/add.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { startWorker } from './child.ts'
import { enqueue, lookUpNowhere } from './work.ts'

const REPETITIONS = 20

function callsTheOp(): void {
  lookUpNowhere()
}

const scenarios: Record<string, () => unknown> = {
  async sync() {
    let error: Error | undefined
    try {
      callsTheOp()
    } catch (e) {
      error = e as Error
    }
    const y = scope(() => {
      const x = Tensor.from(Float32Array.of(1, 2), [2])
      return add(x, x)
    })
    console.log(JSON.stringify({ message: error?.message, stack: error?.stack, after: [...(await y.data())] }))
  },

  open() {
    try {
      Device.get('cpu')
      console.log('opened')
    } catch (error) {
      console.log((error as LowrankError).code, (error as LowrankError).message)
    }
  },

  async limit() {
    const small = Tensor.zeros([1024])
    let error: LowrankError | undefined
    try {
      Tensor.zeros([1 << 20])
    } catch (e) {
      error = e as LowrankError
    }
    // Blocks of another size are given back to make room.
    for (const size of [60_000, 120_000, 180_000, 240_000]) Tensor.zeros([size]).dispose()
    const { reserved } = Device.get('cpu').memory()
    const sum = await small.data()
    console.log(JSON.stringify({ code: error?.code, message: error?.message, reserved, first: sum[0] }))
  },

  async 'idle queue'() {
    enqueue(3)
    await Device.get('cpu').synchronize()
    console.log('done')
  },

  'pending read'() {
    enqueue(20)
    const x = Tensor.from(Float32Array.of(42), [1])
    void x.item().then(value => console.log('read', value))
  },

  'queued work'() {
    enqueue(400)
  },

  'process.exit'() {
    enqueue(400)
    setTimeout(() => process.exit(3), 5)
  },

  'process.exit at once'() {
    enqueue(400)
    void Device.get('cpu').synchronize()
    process.exit(3)
  },

  'uncaught error'() {
    enqueue(400)
    throw new Error('uncaught')
  },

  async 'terminate workers'() {
    for (let i = 0; i < REPETITIONS; i++) {
      const workers = [0, 1].map(() => startWorker({ mode: 'busy' }))
      await Promise.all(workers.map(worker => new Promise(resolve => worker.once('message', resolve))))
      await Promise.all(workers.map(worker => worker.terminate()))
    }
    console.log('done')
  },

  async 'terminate workers that read'() {
    await endWorkers('reads', (worker, i) => setTimeout(() => void worker.terminate(), i % 10))
  },

  async 'terminate workers that train'() {
    await endWorkers('train', (worker, i) => setTimeout(() => void worker.terminate(), 5 * i))
  },

  async 'workers that read exit'() {
    await endWorkers('reads and exit', () => undefined)
  },

  async 'workers that read throw'() {
    await endWorkers('reads and throw', () => undefined)
  },

  async 'workers end with queued work'() {
    for (let i = 0; i < REPETITIONS; i++) {
      const worker = startWorker({ mode: i % 2 ? 'leave' : 'exit' })
      const code = await new Promise(resolve => worker.once('exit', resolve))
      if (code !== (i % 2 ? 0 : 5)) throw new Error(`exit code ${code}`)
    }
    console.log('done')
  },
}

/** A hundred workers, four at a time, each ended at another moment of its work. */
async function endWorkers(mode: string, end: (worker: Worker, i: number) => unknown): Promise<void> {
  for (let i = 0; i < 100; i += 4) {
    const ended = [0, 1, 2, 3].map(async k => {
      const worker = startWorker({ mode, seed: (i + k) % 13, outputDir: temporaryFolder() })
      worker.on('error', () => undefined)
      worker.once('message', () => end(worker, i + k))
      await new Promise(resolve => worker.once('exit', resolve))
    })
    await Promise.all(ended)
  }
  console.log('done')
}

await scenarios[process.argv[2]!]!()
