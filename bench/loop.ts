// How late the event loop is while a model trains in the same process: `npm run bench:loop -- [steps]`.
// The bundled encoder learns the bundled sample with the settings of the command line's quickstart, and is evaluated
// along the way; a timer of one millisecond stands for a server's work. Prints milliseconds past what was asked for.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { bundled } from '../lib/bundled.ts'
import { loadModel } from '../lib/model.ts'
import { attach, lora } from '../lib/peft/index.ts'
import { prepareData } from '../lib/tasks/prepare.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'
import { train } from '../lib/train/train.ts'
import { machine } from './machine.ts'

/** Lateness of the event loop, ms, and over how many steps it was watched. */
export interface LoopDelay {
  readonly steps: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

const RESOLUTION = 1

/** Trains so many steps and watches the loop from the first event to the last, evaluations among them. */
export async function loopDelay(steps: number): Promise<LoopDelay> {
  const data = await prepareData(bundled.sample, await loadTokenizer(bundled.encoder), { maxLength: 48 })
  const model = await loadModel(bundled.encoder, data.head)
  const watch = monitorEventLoopDelay({ resolution: RESOLUTION })
  const start = performance.now()
  let done = 0
  try {
    const adapter = attach(model, lora({ r: 8, alpha: 16, targetModules: 'all-linear' }))
    watch.enable()
    for await (const event of train(adapter, data, { maxSteps: steps, batchSize: 32 }))
      if (event.type === 'step') done++
    watch.disable()
  } finally {
    model.dispose()
  }
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION)
  const seconds = (performance.now() - start) / 1000
  return {
    steps: done,
    seconds,
    p50: late(watch.percentile(50)),
    p99: late(watch.percentile(99)),
    max: late(watch.max),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { steps, seconds, ...late } = await loopDelay(Number(process.argv[2] ?? 200))
  const { cpu, cores, node, commit } = machine()
  console.log(`${steps} steps in ${seconds.toFixed(1)} s; ${cpu}, ${cores} cores, node ${node}, commit ${commit}`)
  for (const [name, value] of Object.entries(late)) console.log(`${name.padEnd(4)} ${value.toFixed(1)} ms late`)
}
