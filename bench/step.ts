// One training step of a model with random weights: the same shapes and fields as bench/peers/train_step.py.
//   npm run bench:step -- --case bert|bert-base|bert-large|gpt2|tiny-llama|qwen2.5-0.5b|smollm2
//     --method qv|all|full|fwd --dtype fp32|bf16|nf4 [--checkpoint] [--device cpu] [--lora-dropout 0] [--steps 5]
//     [--warm 2] [--max-s 60] [--threads N] [--no-dropout] --json
// Prints one JSON line; cpu_min is the fewest process CPU seconds of a step, the figure to compare on a shared machine,
// over_floor how much that is over what the products would take at the processor's peak (floor.ts).
// Forward and backward have no times of their own: a step is queued whole and waited for once.

import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { packExamples } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { check } from '../lib/errors.ts'
import type { ModelConfig } from '../lib/io/config.ts'
import { createModel, type Model } from '../lib/model.ts'
import { native } from '../lib/native.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { attach } from '../lib/peft/attach.ts'
import { fullFineTuning } from '../lib/peft/full.ts'
import { lora } from '../lib/peft/lora.ts'
import type { Method } from '../lib/peft/method.ts'
import { random } from '../lib/random.ts'
import { scope } from '../lib/tensor.ts'
import { Stepper, supervised } from '../lib/train/step.ts'
import { must } from '../lib/tuple.ts'
import { CASES, forwardGflop, type StepCase } from './cases.ts'
import { floorOf, peakRates } from './floor.ts'
import { cpuSeconds, median, resetPeak, resident, round } from './machine.ts'

/** Base weights, and what products are computed in. bf16: both bf16, and activations; all that trains stays f32. */
const DTYPES = {
  fp32: { storage: 'f32', compute: 'f32' },
  bf16: { storage: 'bf16', compute: 'bf16' },
  nf4: { storage: 'nf4', compute: 'bf16' },
} as const

const { values: options } = parseArgs({
  options: {
    case: { type: 'string', default: 'bert' },
    method: { type: 'string', default: 'all' },
    dtype: { type: 'string', default: 'fp32' },
    steps: { type: 'string', default: '5' },
    warm: { type: 'string', default: '2' },
    threads: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    'lora-dropout': { type: 'string', default: '0' },
    'max-s': { type: 'string', default: '60' },
    'no-dropout': { type: 'boolean', default: false },
    checkpoint: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

function methodOf(name: string, { r, targets }: StepCase): Method | undefined {
  if (name === 'full') return fullFineTuning()
  if (name === 'fwd') return undefined
  const targetModules = targets[name]
  check(targetModules, 'ERR_OPTION', () => `method: "${name}", expected qv, all, full or fwd`)
  return lora({ r, alpha: 2 * r, dropout: Number(options['lora-dropout']), targetModules, modulesToSave: [] })
}

interface Timing {
  readonly wall: number
  readonly cpu: number
  /** Share of a core that other processes used. */
  readonly others: number
  readonly loss: number
}

/** Runs one step, waits for it and times it. */
async function timed(work: () => Promise<number>): Promise<Timing> {
  const [busy, before, start] = [machineBusy(), cpuSeconds(), performance.now()]
  const loss = await work()
  const wall = (performance.now() - start) / 1000
  const cpu = cpuSeconds() - before
  return { wall, cpu, others: Math.max(0, machineBusy() - busy - cpu) / wall, loss }
}

/** CPU seconds that all processes have used, time stolen by other machines included; /proc counts in hundredths. */
function machineBusy(): number {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.trim().split(/\s+/).slice(1, 9).map(Number)
  return (ticks.reduce((sum, t) => sum + t, 0) - ticks[3]! - ticks[4]!) / 100
}

function stepOf(model: Model, optimizer: AdamW | undefined, { task, B, S }: StepCase) {
  const draw = random(0, 'bench')
  const vocabulary = model.backbone.limits.vocabSize
  const examples: Example[] = Array.from({ length: B }, (_, line) => {
    const ids = Int32Array.from({ length: S }, () => draw.below(vocabulary))
    const label = task === 'causal-lm' ? ids : draw.below(2)
    return { ids, label, truncated: false, row: { values: {}, file: 'random', line } }
  })
  const batch = packExamples(examples, Int32Array.from(examples.keys()), { collate: model.head.collate })
  const targets = must(batch.targets, 'targets')
  const [total, objective] = [targets.weight, supervised({ checkpoint: options.checkpoint })]
  const stepper = optimizer && new Stepper(model, optimizer, { seed: 0, objective })
  let index = 0
  return async (): Promise<number> => {
    if (stepper) {
      const { numbers } = await stepper.launch({ microBatches: [batch], total }, index++, 1e-4)
      return (await numbers).loss
    }
    const loss = scope(() => model.loss(batch, targets, { total }))
    const value = await loss.item()
    loss.dispose()
    return value
  }
}

function build() {
  const shape = CASES[options.case]
  check(shape, 'ERR_OPTION', () => `case: "${options.case}", expected ${Object.keys(CASES).join(', ')}`)
  const dtype = DTYPES[options.dtype as keyof typeof DTYPES]
  check(dtype, 'ERR_OPTION', () => `dtype: "${options.dtype}", expected ${Object.keys(DTYPES).join(', ')}`)
  const { task, config, noDropout } = shape
  const values = { ...config, ...(options['no-dropout'] && noDropout) }
  const modelConfig: ModelConfig = { path: 'config of the case', modelType: config.model_type, values }
  const labels = task === 'causal-lm' ? undefined : ['0', '1']
  const model = createModel(modelConfig, { task, labels, device: options.device, ...dtype })
  const linear = [...model.linears.values()].reduce((sum, { weight }) => sum + weight.size, 0)
  const total = [...model.parameters.values()].reduce((sum, p) => sum + p.size, 0)
  const method = methodOf(options.method, shape)
  const attached = method && attach(model, method)
  const optimizer = attached && new AdamW(new Arena(attached.trainable, model.device))
  return { shape, model, optimizer, linear, total, step: stepOf(model, optimizer, shape) }
}

async function measure(step: () => Promise<number>): Promise<{ first: number; timed: Timing[] }> {
  const warm: Timing[] = []
  for (let i = 0; i < Math.max(1, Number(options.warm)); i++) warm.push(await timed(step))
  const times: Timing[] = []
  const start = performance.now()
  const mayGoOn = () => times.length < 2 || performance.now() - start < Number(options['max-s']) * 1000
  while (times.length < Number(options.steps) && mayGoOn()) times.push(await timed(step))
  return { first: warm[0]!.wall, timed: times }
}

async function main(): Promise<void> {
  if (options.threads) native.setThreads(Number(options.threads))
  const started = performance.now()
  const { shape, model, optimizer, linear, total, step } = build()
  await model.device.synchronize()
  const [buildTime, built] = [(performance.now() - started) / 1000, resident('VmRSS')]
  resetPeak()
  model.device.resetPeak()
  const peak = () => (options.device === 'cpu' ? peakRates(options.dtype as keyof typeof DTYPES) : undefined)
  const before = peak()
  const { first, timed: times } = await measure(step)
  const rates = [before, peak()].filter(rate => rate !== undefined)
  const info = native.info()
  const [seconds, cpu] = [times.map(t => t.wall), times.map(t => t.cpu)]
  const { B, S, r } = shape
  const { layers, hiddenSize } = model.backbone
  const forward = forwardGflop(shape, linear, layers, hiddenSize)
  const result = {
    side: 'lowrank',
    device: options.device,
    case: options.case,
    method: options.method,
    dtype: options.dtype,
    checkpoint: options.checkpoint,
    dropout: !options['no-dropout'],
    B,
    S,
    r,
    params_M: round(total / 1e6, 1),
    linear_M: round(linear / 1e6, 2),
    train_M: round((optimizer?.arena.size ?? 0) / 1e6, 3),
    step_med: round(median(seconds)),
    step_min: round(Math.min(...seconds)),
    first: round(first, 3),
    tok_s: round((B * S) / median(seconds), 1),
    tok_s_best: round((B * S) / Math.min(...seconds), 1),
    fwd_gflop: round(forward, 1),
    cpu_s: round(median(cpu), 3),
    cpu_min: round(Math.min(...cpu), 3),
    ...floorOf(options.method, forward, rates, Math.min(...cpu)),
    rss_built: Math.round(built),
    rss_peak: Math.round(resident('VmHWM')),
    pool_peak: Math.round(model.device.memory().peak / 2 ** 20),
    t_build: round(buildTime, 2),
    loss: round(times.at(-1)!.loss),
    n_all: times.length,
    others_share: round(median(times.map(t => t.others))),
    threads: info.threads,
    isa: info.isa,
    load: round(loadavg()[0]!, 2),
  }
  console.log(options.json ? JSON.stringify(result) : result)
}

await main()
