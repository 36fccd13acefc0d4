// What the bundled encoder is worth on the bundled sample: head only, LoRA on a random base, LoRA and full fine-tuning
// at 500, 1000 and all training rows, three seeds each, beside the baselines of bench/baselines.
//   npm run bench:model-card -- [--encoder DIR] [--methods head,random,lora,full] [--rows 500,1000,8000] [--fresh]
//   npm run bench:model-card -- --tune METHOD --lr 1e-3,2e-3 [--epochs N] [--batch N]
// Adds what is missing to bench/results/model-card.json and writes the table of docs/model-card.md. --tune prints
// validation accuracies at 1000 rows with seed 0 and writes nothing; CHOICES is what came of it.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Example } from '../lib/data/example.ts'
import { labelMap } from '../lib/data/labels.ts'
import { toRows } from '../lib/data/row.ts'
import { check, fail } from '../lib/errors.ts'
import { writeFileAtomic } from '../lib/io/atomic.ts'
import { readModelConfig } from '../lib/io/config.ts'
import { packageRoot } from '../lib/io/package.ts'
import { createModel, loadModel, type Model } from '../lib/model.ts'
import { native } from '../lib/native.ts'
import { attach } from '../lib/peft/attach.ts'
import { fullFineTuning } from '../lib/peft/full.ts'
import { lora } from '../lib/peft/lora.ts'
import type { Method } from '../lib/peft/method.ts'
import { encodeRows } from '../lib/tasks/encode.ts'
import { loadTokenizer, type Tokenizer } from '../lib/tokenizer/tokenizer.ts'
import { train } from '../lib/train/train.ts'
import { type Row, readSample, TOPICS } from '../scripts/pretrain/sample.ts'
import { SEEDS, subsample } from './baselines/subsample.ts'
import { cpuSeconds, deviation, type Machine, machine, mean, resetPeak, resident, round } from './machine.ts'

const OUTPUT = join(packageRoot, 'bench/results/model-card.json')
const BASELINES = join(packageRoot, 'bench/results/baselines.json')
const CARD = join(packageRoot, 'docs/model-card.md')
const MAX_LENGTH = 64

type Name = 'head' | 'random' | 'lora' | 'full'

const TITLES: Record<Name, string> = {
  head: 'head only',
  random: 'LoRA on a random base',
  lora: 'LoRA',
  full: 'full fine-tuning',
}

/**
 * Peak learning rate, and how many times the epochs of EPOCHS: what was best on the validation rows at 1000 training
 * rows with seed 0. Tried, with validation accuracy at 12 epochs:
 * - head: 1e-3 0.407, 3e-3 0.453, 5e-3 0.453 (40 epochs 0.484), 1e-2 0.426, 3e-2 0.083
 * - random: 3e-4 0.078, 6e-4 0.116 (30 epochs 0.158), 1e-3 0.142, 3e-3 and 6e-3 learn nothing
 * - lora: 1e-3 0.620, 2e-3 0.644, 3e-3 0.662, 4e-3 0.662, 5e-3 0.664, 8e-3 diverges; 3e-3 for its distance to that
 * - full: 2e-4 0.630, 3e-4 0.640, 4e-4 0.641, 6e-4 0.659, 1.2e-3 0.602
 */
const CHOICES: Record<Name, { readonly lr: number; readonly longer: number }> = {
  head: { lr: 5e-3, longer: 3 },
  random: { lr: 1e-3, longer: 2 },
  lora: { lr: 3e-3, longer: 1 },
  full: { lr: 6e-4, longer: 1 },
}
/** By rows; the best epoch on the validation rows counts. */
const EPOCHS: Record<number, number> = { 500: 16, 1000: 12, 8000: 5 }
const BATCH = 16
const R = 8

interface Result {
  readonly method: Name
  readonly rows: number
  readonly seed: number
  readonly lr: number
  readonly epochs: number
  readonly bestEpoch: number
  readonly validationAccuracy: number
  readonly accuracy: number
  readonly macroF1: number
  readonly trainable: number
  /** CPU seconds of the whole run, evaluations included. */
  readonly cpu: number
  /** MiB. */
  readonly rssPeak: number
}

interface Settings {
  readonly rows: number
  readonly seed: number
  readonly lr: number
  readonly epochs: number
  readonly batchSize: number
}

const { values: options } = parseArgs({
  options: {
    encoder: { type: 'string', default: join(packageRoot, 'assets/encoder') },
    methods: { type: 'string', default: 'head,random,lora,full' },
    rows: { type: 'string', default: '500,1000,8000' },
    threads: { type: 'string', default: '2' },
    tune: { type: 'string' },
    lr: { type: 'string' },
    epochs: { type: 'string' },
    batch: { type: 'string', default: String(BATCH) },
    fresh: { type: 'boolean', default: false },
  },
})

function methodOf(name: Name): Method {
  if (name === 'full') return fullFineTuning()
  // No layer and no embedding: pooler and classifier are left.
  if (name === 'head') return fullFineTuning({ freezeEmbeddings: true, layers: [] })
  return lora({ r: R, alpha: 2 * R, targetModules: 'all-linear' })
}

async function modelFor(name: Name, seed: number): Promise<Model> {
  const settings = { task: 'sequence-classification', labels: TOPICS, seed } as const
  if (name !== 'random') return await loadModel(options.encoder, settings)
  return createModel(readModelConfig(options.encoder, ['bert']), settings)
}

/** Rows of the sample as examples, each encoded once. */
class Sample {
  readonly train = readSample('train')
  readonly validation: Example[]
  readonly test: Example[]
  readonly #encode: (rows: readonly Row[]) => Example[]

  constructor(tokenizer: Tokenizer) {
    const labels = labelMap(TOPICS)
    const columns = { text: 'text', label: 'label' }
    const spec = { task: 'sequence-classification', columns, labels, maxLength: MAX_LENGTH } as const
    this.#encode = rows => [...encodeRows(toRows(rows), tokenizer, spec).examples]
    this.validation = this.#encode(readSample('validation'))
    this.test = this.#encode(readSample('test'))
  }

  chosen(rows: number, seed: number): Example[] {
    return this.#encode(subsample(this.train, rows, seed))
  }
}

/** One training run; without `withTest` the test rows stay unread. */
async function run(name: Name, sample: Sample, settings: Settings, withTest: boolean): Promise<Result> {
  const { rows, seed, lr, epochs, batchSize } = settings
  const start = cpuSeconds()
  resetPeak()
  using model = await modelFor(name, seed)
  const method = attach(model, methodOf(name), { seed })
  const { validation } = sample
  const data = { train: sample.chosen(rows, seed), validation, ...(withTest && { test: sample.test }) }
  const trainable = method.trainable.reduce((sum, p) => sum + p.size, 0)
  const found = { bestEpoch: 0, validationAccuracy: 0, accuracy: Number.NaN, macroF1: Number.NaN }
  const plan = { epochs, batchSize, lr, seed, evaluateBefore: false, evalBatchSize: 64 }
  for await (const event of train(method, data, plan)) {
    if (event.type !== 'evaluation') continue
    const { accuracy, f1 } = event.metrics
    if (event.when === 'epoch' && event.best) {
      found.bestEpoch = Math.round(event.epoch)
      found.validationAccuracy = accuracy!
    }
    if (event.when === 'after' && event.split === 'test') Object.assign(found, { accuracy, macroF1: f1 })
  }
  method.detach()
  const cpu = round(cpuSeconds() - start, 1)
  return { method: name, rows, seed, lr, epochs, ...found, trainable, cpu, rssPeak: Math.round(resident('VmHWM')) }
}

function epochsFor(name: Name, rows: number): number {
  const epochs = EPOCHS[rows] ?? fail('ERR_OPTION', `rows: ${rows}, expected ${Object.keys(EPOCHS).join(', ')}`)
  return epochs * CHOICES[name].longer
}

function nameOf(name: string): Name {
  check(name in TITLES, 'ERR_OPTION', () => `method: "${name}", expected ${Object.keys(TITLES).join(', ')}`)
  return name as Name
}

async function tune(sample: Sample, name: Name): Promise<void> {
  const rows = Number(options.rows.split(',').find(n => n === '1000') ?? options.rows)
  for (const lr of (options.lr ?? String(CHOICES[name].lr)).split(',').map(Number)) {
    const epochs = Number(options.epochs ?? epochsFor(name, rows))
    console.log(
      JSON.stringify(await run(name, sample, { rows, seed: 0, lr, epochs, batchSize: Number(options.batch) }, false)),
    )
  }
}

function encoderHash(): string {
  const weights = readFileSync(join(options.encoder, 'model.safetensors'))
  return createHash('sha256').update(weights).digest('hex')
}

interface Means {
  readonly method: Name
  readonly rows: number
  readonly seeds: number
  readonly accuracy: number
  readonly accuracySd: number
  readonly macroF1: number
}

function meansOf(results: readonly Result[]): Means[] {
  const keys = new Set(results.map(({ method, rows }) => JSON.stringify([method, rows])))
  return [...keys].map(key => {
    const [method, rows] = JSON.parse(key) as [Name, number]
    const own = results.filter(result => result.method === method && result.rows === rows)
    const accuracies = own.map(result => result.accuracy)
    return {
      method,
      rows,
      seeds: own.length,
      accuracy: mean(accuracies),
      accuracySd: deviation(accuracies),
      macroF1: mean(own.map(result => result.macroF1)),
    }
  })
}

async function save(at: Machine, encoder: string, results: readonly Result[]): Promise<void> {
  const means = meansOf(results)
  const settings = { choices: CHOICES, epochs: EPOCHS, batch: BATCH, r: R, alpha: 2 * R, maxLength: MAX_LENGTH }
  const content = { machine: at, encoder, settings, means, results }
  await writeFileAtomic(OUTPUT, `${JSON.stringify(content, null, 1)}\n`)
  if (existsSync(CARD)) await writeFileAtomic(CARD, fillCard(readFileSync(CARD, 'utf8'), means))
}

/** The card with the rows of these methods filled in; what is not measured stays as it is. */
function fillCard(card: string, means: readonly Means[]): string {
  const cells = (name: Name, of: (m: Means) => string) =>
    Object.keys(EPOCHS).map(rows => {
      const found = means.find(m => m.method === name && m.rows === Number(rows))
      return found ? of(found) : '**[to fill]**'
    })
  return (Object.entries(TITLES) as [Name, string][]).reduce((text, [name, title]) => {
    const line = [
      title,
      ...cells(name, m => `${m.accuracy.toFixed(3)} ± ${m.accuracySd.toFixed(3)}`),
      ...cells(name, m => m.macroF1.toFixed(3)),
    ]
    return text.replace(new RegExp(`^\\| ${title} \\|.*$`, 'm'), `| ${line.join(' | ')} |`)
  }, card)
}

async function main(): Promise<void> {
  native.setThreads(Number(options.threads))
  const sample = new Sample(await loadTokenizer(options.encoder))
  if (options.tune) return tune(sample, nameOf(options.tune))
  const encoder = encoderHash()
  const before = existsSync(OUTPUT) && !options.fresh ? JSON.parse(readFileSync(OUTPUT, 'utf8')) : undefined
  const isKept = before?.encoder === encoder
  const results: Result[] = isKept ? before.results : []
  let at: Machine = isKept ? before.machine : machine()
  for (const rows of options.rows.split(',').map(Number))
    for (const name of options.methods.split(',').map(nameOf))
      for (const seed of SEEDS) {
        const { lr } = CHOICES[name]
        const settings = { rows, seed, lr, epochs: epochsFor(name, rows), batchSize: BATCH }
        if (results.some(r => r.method === name && r.rows === rows && r.seed === seed)) continue
        const result = await run(name, sample, settings, true)
        console.log(JSON.stringify(result))
        results.push(result)
        at = machine()
        await save(at, encoder, results)
      }
  await save(at, encoder, results)
  const baselines = JSON.parse(readFileSync(BASELINES, 'utf8')).means as Means[]
  console.table([...baselines, ...meansOf(results)])
}

await main()
