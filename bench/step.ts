// One training step of a model with random weights: the same shapes and fields as bench/peers/train_step.py.
//   npm run bench:step -- --case bert --method qv|all|full|fwd --dtype fp32|bf16 [--steps 5] [--threads N] --json
// Prints one JSON line; cpu_min is the fewest process CPU seconds of a step, the figure to compare on a shared machine.

import { readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { packExamples } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/encode.ts'
import { random } from '../lib/data/random.ts'
import { check } from '../lib/errors.ts'
import { createModel, type Model } from '../lib/heads/model.ts'
import type { ModelConfig } from '../lib/io/config.ts'
import { native } from '../lib/native.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { fullFineTuning } from '../lib/peft/full.ts'
import { lora } from '../lib/peft/lora.ts'
import type { Method } from '../lib/peft/method.ts'
import { scope } from '../lib/tensor.ts'
import { trainStep } from '../lib/train/step.ts'

const CASES = { bert: { B: 16, S: 128, r: 8, config: { model_type: 'bert', vocab_size: 28996 } } }
const TARGETS = { qv: ['query', 'value'], all: ['query', 'key', 'value', 'dense'] }
/** Base weights, and what products are computed in. bf16: both bf16; activations and all that trains stay f32. */
const DTYPES = {
  fp32: { storage: 'f32', compute: 'f32' },
  bf16: { storage: 'bf16', compute: 'bf16' },
} as const

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 'bert' },
    method: { type: 'string', default: 'all' },
    dtype: { type: 'string', default: 'fp32' },
    steps: { type: 'string', default: '5' },
    warm: { type: 'string', default: '2' },
    threads: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const rss = (field: string) =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024

/** Resets the peak of resident memory, where the system allows it. */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    console.error('rss_peak includes building the model: /proc/self/clear_refs is not writable')
  }
}

function methodOf(name: string, r: number): Method | undefined {
  if (name === 'full') return fullFineTuning()
  if (name === 'fwd') return undefined
  const targetModules = TARGETS[name as keyof typeof TARGETS]
  check(targetModules, 'ERR_OPTION', () => `method: "${name}", expected qv, all, full or fwd`)
  return lora({ r, alpha: 2 * r, targetModules, modulesToSave: [] })
}

interface Timing {
  wall: number
  cpu: number
}

/** Runs one step, waits for it and times it. */
async function timed(work: () => Promise<void>): Promise<Timing> {
  const before = process.cpuUsage()
  const start = performance.now()
  await work()
  const { user, system } = process.cpuUsage(before)
  return { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 }
}

function stepOf(model: Model, optimizer: AdamW | undefined, B: number, S: number) {
  const draw = random(0, 'bench')
  const vocabulary = model.backbone.limits.vocabSize
  const examples: Example[] = Array.from({ length: B }, (_, line) => ({
    ids: Int32Array.from({ length: S }, () => draw.below(vocabulary)),
    label: draw.below(2),
    truncated: false,
    row: { values: {}, file: 'random', line },
  }))
  const batch = packExamples(examples, Int32Array.from(examples.keys()))
  let index = 0
  return async (): Promise<void> => {
    if (!optimizer) {
      const loss = scope(() => model.loss(batch, batch.labels!, { total: B }).loss)
      await loss.item()
      return loss.dispose()
    }
    const result = trainStep(
      model,
      optimizer,
      { microBatches: [batch], total: B },
      { seed: 0, index: index++, lr: 1e-4 },
    )
    await result.squaredGradNorm.item()
    result.loss.dispose()
    result.squaredGradNorm.dispose()
  }
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
const round = (value: number, digits = 4) => Number(value.toFixed(digits))

async function main(): Promise<void> {
  const { B, S, r, config } = CASES[options.case as keyof typeof CASES]
  if (options.threads) native.setThreads(Number(options.threads))
  const started = performance.now()
  const modelConfig: ModelConfig = { path: 'config of the case', modelType: config.model_type, values: config }
  const dtype = DTYPES[options.dtype as keyof typeof DTYPES]
  check(dtype, 'ERR_OPTION', () => `dtype: "${options.dtype}", expected fp32 or bf16`)
  const model = createModel(modelConfig, { task: 'sequence-classification', labels: ['0', '1'], ...dtype })
  const attached = methodOf(options.method, r)?.attach(model)
  const optimizer = attached && new AdamW(new Arena(attached.trainable, model.device))
  const step = stepOf(model, optimizer, B, S)
  await model.device.synchronize()
  const build = (performance.now() - started) / 1000
  const built = rss('VmRSS')
  resetPeak()
  model.device.resetPeak()
  for (let i = 0; i < Number(options.warm); i++) await timed(step)
  const times: Timing[] = []
  for (let i = 0; i < Number(options.steps); i++) times.push(await timed(step))
  const info = native.info()
  const seconds = times.map(t => t.wall)
  const total = [...model.parameters.values()].reduce((sum, p) => sum + p.size, 0)
  const result = {
    case: options.case,
    method: options.method,
    dtype: options.dtype,
    B,
    S,
    r,
    params_M: round(total / 1e6, 1),
    train_M: round((optimizer?.arena.size ?? 0) / 1e6, 3),
    step_med: round(median(seconds)),
    step_min: round(Math.min(...seconds)),
    tok_s: round((B * S) / median(seconds), 1),
    tok_s_best: round((B * S) / Math.min(...seconds), 1),
    cpu_s: round(median(times.map(t => t.cpu)), 3),
    cpu_min: round(Math.min(...times.map(t => t.cpu)), 3),
    rss_built: Math.round(built),
    rss_peak: Math.round(rss('VmHWM')),
    pool_peak: Math.round(model.device.memory().peak / 2 ** 20),
    t_build: round(build, 2),
    n_all: times.length,
    threads: info.threads,
    isa: info.isa,
    load: round(loadavg()[0]!, 2),
  }
  console.log(options.json ? JSON.stringify(result) : result)
}

await main()
