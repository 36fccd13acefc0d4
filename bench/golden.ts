// Replays training traces made by PyTorch + PEFT in float64 (layout and bars: the README beside the traces) and prints
// how far this engine is from them. Exit 1 past a bar.
//   npm run golden -- DIR… [--weights DIR] [--compute f32|bf16]

import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type MicroBatch, offsetsAfter, packExamples } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import { check, fail } from '../lib/errors.ts'
import { openSafetensors, type SafetensorsFile } from '../lib/io/safetensors.ts'
import { loadModel, type Model } from '../lib/model.ts'
import type { Parameter } from '../lib/nn/module.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { learningRate } from '../lib/optim/schedule.ts'
import type { Adapter } from '../lib/peft/adapter.ts'
import { attach } from '../lib/peft/attach.ts'
import { lora } from '../lib/peft/lora.ts'
import { scope } from '../lib/tensor.ts'
import { Stepper } from '../lib/train/step.ts'
import { type Metrics, overBars, printMetrics, relative, type Snapshot } from './goldenMetrics.ts'

const TASK = { seq: 'sequence-classification', tok: 'token-classification', mlm: 'masked-lm', lm: 'causal-lm' } as const

interface Meta {
  base_model: string
  kind: string
  mode: 'lora' | 'full'
  labels: string[] | null
  pad_id: number
  steps: number
  grad_accumulation: number
  lora: {
    r: number
    alpha: number
    use_rslora: boolean
    rank_pattern: Record<string, number>
    alpha_pattern: Record<string, number>
    target_modules: string[] | string
  } | null
  optimizer: {
    lr: number
    betas: [number, number]
    eps: number
    weight_decay: number
    clip_global_norm: number | null
    schedule: string
  }
  eval_logits: { rows: number }
  stored_rows?: string[]
  not_stored?: string[]
}

interface Trace {
  dir: string
  meta: Meta
  losses: { loss: number[]; lr: number[]; grad_norm: number[] }
  batches: SafetensorsFile
}

function open(dir: string): Trace {
  check(
    existsSync(join(dir, 'meta.json')),
    'ERR_DATA',
    () => `golden: ${dir} holds no meta.json; give folders of traces`,
  )
  const json = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8'))
  return {
    dir,
    meta: json('meta.json'),
    losses: json('losses.json'),
    batches: openSafetensors(join(dir, 'batches.safetensors')),
  }
}

const ints = (file: SafetensorsFile, name: string) => new Int32Array(file.read(name).buffer as ArrayBuffer)

/**
 * The rows of a split; padded positions are dropped. Where a class is read from the last token, the trace read it from
 * the last that is no padding id, so what follows that, which nothing looks at, is dropped too.
 */
function examplesOf({ batches, meta }: Trace, split: string, { family }: Model): Example[] {
  const readsLast = meta.kind === 'seq' && family.heads.sequence?.reads === 'last'
  const lengths = ints(batches, `${split}_len`)
  const ids = ints(batches, `${split}_ids`)
  const labels = ints(batches, `${split}_labels`)
  const width = ids.length / lengths.length
  return Array.from(lengths, (given, i) => {
    let length = given
    while (readsLast && length > 1 && ids[i * width + length - 1] === meta.pad_id) length--
    return {
      ids: ids.slice(i * width, i * width + length),
      label: meta.kind === 'seq' ? labels[i]! : labels.slice(i * width, i * width + length),
      truncated: false,
      row: { values: {}, file: 'batches.safetensors', line: i },
    }
  })
}

/** A trained tensor's name in the trace → its name when PEFT saves it. */
const savedName = (name: string) => name.replace('.modules_to_save.default', '').replace('.default', '')

function values(dir: string, file: string): Snapshot {
  const opened = openSafetensors(join(dir, `${file}.safetensors`))
  const found: Snapshot = new Map()
  for (const name of opened.names()) found.set(savedName(name), opened.readF32(name))
  opened.close()
  return found
}

/** Parameters under the names of the trace. */
function trainables(model: Model, trace: Trace): Map<string, Parameter> {
  const { meta, dir } = trace
  if (existsSync(join(dir, 'frozen_extra.safetensors'))) restore(model.parameters, frozenExtra(model, dir))
  if (meta.mode === 'full') return new Map(model.parameters)
  const attached = attachLora(model, trace)
  const trained = new Set(attached.trainable)
  return new Map([...attached.tensors()].filter(([, parameter]) => trained.has(parameter)))
}

/** What the model here does not have is named: whether it mattered, the metrics tell. */
function frozenExtra(model: Model, dir: string): Snapshot {
  const found: Snapshot = new Map()
  for (const [long, data] of values(dir, 'frozen_extra')) {
    const name = long.replace(/^base_model\.model\./, '')
    if (model.parameters.has(name)) found.set(name, data)
    else console.error(`${basename(dir)}: the model here has no ${name} (frozen_extra)`)
  }
  return found
}

function attachLora(model: Model, { meta, dir }: Trace): Adapter {
  const { r, alpha, use_rslora, rank_pattern, alpha_pattern, target_modules } = meta.lora!
  const modulesToSave = wholeModules(dir).filter(path => !model.headModules.some(head => within(path, head)))
  const options = { r, alpha, useRslora: use_rslora, targetModules: target_modules, modulesToSave }
  // PEFT passes over a pattern that names no target; here that is an error.
  const bare = attach(model, lora(options))
  const paths = bare.matched.map(({ path }) => path)
  bare.detach()
  const naming = (patterns: Record<string, number>) =>
    Object.fromEntries(Object.entries(patterns).filter(([key]) => paths.some(path => isNamed(path, key))))
  const [rankPattern, alphaPattern] = [naming(rank_pattern), naming(alpha_pattern)]
  return attach(model, lora({ ...options, rankPattern, alphaPattern }))
}

const within = (path: string, module: string) => path === module || path.startsWith(`${module}.`)

/** PEFT's rule for the keys of patterns. */
const isNamed = (path: string, key: string) => new RegExp(`^(.*\\.)?(${key})$`).test(path)

/** Modules that the trace trains whole. */
function wholeModules(dir: string): string[] {
  const file = openSafetensors(join(dir, 'init.safetensors'))
  const found = file.names().flatMap(name => name.match(/^base_model\.model\.(.+)\.modules_to_save\./)?.[1] ?? [])
  file.close()
  return [...new Set(found)]
}

function restore(parameters: ReadonlyMap<string, Parameter>, init: Snapshot): void {
  for (const [name, data] of init) {
    const parameter = parameters.get(name) ?? fail('ERR_DATA', `golden: there is no ${name} here`)
    const { size } = parameter
    check(size === data.length, 'ERR_DATA', () => `golden: ${name} has ${data.length} values, here ${size}`)
    parameter.tensor.upload(data as Float32Array)
  }
}

/** In LoRA, what trains here is what the trace trains; in mode full the trace names only what the base file lacks. */
function checkTrained(parameters: ReadonlyMap<string, Parameter>, init: Snapshot, { meta, dir }: Trace): void {
  const unstored = new Set(meta.not_stored?.map(savedName))
  const more = [...parameters.keys()].filter(name => !init.has(name) && !unstored.has(name))
  check(meta.mode === 'full' || more.length === 0, 'ERR_DATA', () => {
    return `golden: ${more.join(', ')} would train here, but not in ${dir}`
  })
}

/** [rows, columns] as files hold it: [columns, rows]. */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(x, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!)
}

/** Copies of parameters or gradients; of stored rows only those rows, without what the trace leaves out. */
async function snapshot(
  parameters: Map<string, Parameter>,
  trace: Trace,
  what: 'tensor' | 'gradient',
): Promise<Snapshot> {
  const { meta, batches } = trace
  const found: Snapshot = new Map()
  for (const [name, parameter] of parameters) {
    if (meta.not_stored?.map(savedName).includes(name)) continue
    const [rows = 1, columns = 1] = parameter.shape
    const held = (await parameter[what]!.data()) as Float32Array
    const data = parameter.isTransposed ? transposed(held, rows, columns) : held
    if (!meta.stored_rows?.map(savedName).includes(name)) found.set(name, data)
    else {
      const width = parameter.shape[1]!
      const rows = ints(batches, 'embedding_rows')
      const kept = new Float32Array(rows.length * width)
      rows.forEach((row, i) => {
        kept.set(data.subarray(row * width, (row + 1) * width), i * width)
      })
      found.set(`${name}[rows]`, kept)
    }
  }
  return found
}

async function logitsOf(model: Model, examples: Example[]): Promise<Float32Array> {
  const batch = packExamples(examples, Int32Array.from(examples.keys()), { collate: model.head.collate })
  const logits = scope(() => model.logits(batch))
  const data = (await logits.data()) as Float32Array
  logits.dispose()
  return data
}

/** The trace's logits without padded positions. */
function expectedLogits(
  { dir, meta }: Trace,
  examples: Example[],
  outputs: number,
  when: 'before' | 'after',
): Float32Array {
  const padded = values(dir, 'eval_logits_first').get(when)! as Float32Array
  if (meta.kind === 'seq') return padded
  const width = padded.length / examples.length / outputs
  return Float32Array.from(
    examples.flatMap(({ ids }, i) => [...padded.subarray(i * width * outputs, (i * width + ids.length) * outputs)]),
  )
}

function logitError(got: Float32Array, expected: Float32Array): number {
  return relative(new Map([['logits', got]]), new Map([['logits', expected]])).all
}

async function train(model: Model, parameters: Map<string, Parameter>, trace: Trace): Promise<Partial<Metrics>> {
  const { meta, losses, dir, batches } = trace
  const { lr, betas, eps, weight_decay, clip_global_norm, schedule } = meta.optimizer
  const arena = new Arena([...parameters.values()], model.device)
  const options = {
    beta1: betas[0],
    beta2: betas[1],
    eps,
    weightDecay: weight_decay,
    clip: clip_global_norm ?? 0,
  }
  const stepper = new Stepper(model, new AdamW(arena, options), { seed: 0, dropout: false })
  const examples = examplesOf(trace, 'train', model)
  const order = ints(batches, 'order')
  const size = batches.info('order').shape[1]!
  const start = await snapshot(parameters, trace, 'tensor')
  const metrics: Partial<Metrics> = { loss: 0 }
  const plan = { lr, schedule: schedule.includes('cos') ? 'cosine' : 'linear', totalSteps: meta.steps } as const
  const warmupSteps = Math.max(1, Math.floor(meta.steps / 10))
  for (let t = 0; t < meta.steps; t++) {
    const microBatches: MicroBatch[] = []
    for (let k = 0; k < meta.grad_accumulation; k++) {
      const at = (t * meta.grad_accumulation + k) * size
      const last = microBatches.at(-1)
      const offsets = last && offsetsAfter(last)
      microBatches.push(packExamples(examples, order.slice(at, at + size), { collate: model.head.collate, offsets }))
    }
    const total = microBatches.reduce((sum, { targets }) => sum + targets!.weight, 0)
    const rate = learningRate(t, { ...plan, warmupSteps })
    const { loss } = await (await stepper.launch({ microBatches, total }, t, rate)).numbers
    metrics.loss = Math.max(metrics.loss!, Math.abs(loss - losses.loss[t]!) / losses.loss[t]!)
    if (t === 0) {
      const { all, worst } = relative(await snapshot(parameters, trace, 'gradient'), values(dir, 'grads_step0'))
      Object.assign(metrics, { grads: all, grads_tensor: worst })
    }
    if (t === 9) {
      const { all, worst } = relative(await snapshot(parameters, trace, 'tensor'), values(dir, 'after_step10'), start)
      Object.assign(metrics, { step10: all, step10_tensor: worst })
    }
  }
  const { all, worst } = relative(await snapshot(parameters, trace, 'tensor'), values(dir, 'final'), start)
  arena.dispose()
  return { ...metrics, final: all, final_tensor: worst }
}

async function replay(dir: string, weights: string, compute: 'f32' | 'bf16'): Promise<Metrics> {
  const trace = open(dir)
  const { meta } = trace
  const task =
    TASK[meta.kind as keyof typeof TASK] ??
    fail(
      'ERR_UNSUPPORTED',
      `golden: kind "${meta.kind}" of ${dir} is unknown; known are ${Object.keys(TASK).join(', ')}`,
    )
  const labels = meta.labels ?? undefined
  const model = await loadModel(join(weights, meta.base_model), { task, labels, compute })
  const parameters = trainables(model, trace)
  const init = values(dir, 'init')
  restore(parameters, init)
  checkTrained(parameters, init, trace)
  const evaluated = examplesOf(trace, 'test', model).slice(0, meta.eval_logits.rows)
  const { outputs } = model.head
  const before = logitError(await logitsOf(model, evaluated), expectedLogits(trace, evaluated, outputs, 'before'))
  const metrics = await train(model, parameters, trace)
  const after = logitError(await logitsOf(model, evaluated), expectedLogits(trace, evaluated, outputs, 'after'))
  model.dispose()
  return { ...metrics, logits: Math.max(before, after) } as Metrics
}

async function main(): Promise<void> {
  const { positionals, values: options } = parseArgs({
    allowPositionals: true,
    options: { weights: { type: 'string' }, compute: { type: 'string', default: 'f32' } },
  })
  check(
    positionals.length > 0,
    'ERR_OPTION',
    () => 'golden: no folder given; usage: npm run golden -- DIR… [--weights DIR]',
  )
  const results = new Map<string, Metrics>()
  for (const dir of positionals) {
    const weights = options.weights ?? join(dirname(dir), '../weights')
    try {
      results.set(basename(dir), await replay(dir, weights, options.compute as 'f32'))
    } catch (error) {
      // The others are still worth their numbers.
      console.error(`${basename(dir)}: ${(error as Error).stack}`)
    }
  }
  printMetrics(results)
  const isWhole = results.size === new Set(positionals.map(dir => basename(dir))).size
  process.exitCode = isWhole && ![...results.values()].some(overBars) ? 0 : 1
}

await main()
