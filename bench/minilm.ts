// LoRA on all-MiniLM-L6-v2: this project's side of bench/peers/minilm.py, on the splits and with the settings it wrote.
//   npm run bench:minilm -- --model DIR --work DIR [--results FILE] [--seeds 0,1,2] [--compute f32|bf16] [--threads 1]
// --work holds settings.json and {train,dev,test}.jsonl as minilm.py leaves them. Prints one JSON line a seed.

import { appendFileSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Example } from '../lib/data/example.ts'
import { labelMap } from '../lib/data/labels.ts'
import { itemAt, type List } from '../lib/data/list.ts'
import { toRows } from '../lib/data/row.ts'
import { check } from '../lib/errors.ts'
import { entityReport } from '../lib/metrics/entities.ts'
import { loadModel, type Model } from '../lib/model.ts'
import { native } from '../lib/native.ts'
import { attach } from '../lib/peft/attach.ts'
import { lora } from '../lib/peft/lora.ts'
import { encodeRows } from '../lib/tasks/encode.ts'
import type { ItemsPrediction } from '../lib/tasks/items.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'
import { evaluate, predict } from '../lib/train/evaluate.ts'
import { type FitSettings, fit } from './fit.ts'
import { resetPeak, resident, round } from './machine.ts'

interface PeerSettings {
  readonly settings: {
    readonly task: 'seq' | 'tok'
    readonly r: number
    readonly alpha: number
    readonly dropout: number
    readonly targets: string
    readonly lr: number
    readonly batch: number
    readonly epochs: number
    readonly warmup: number
    readonly weight_decay: number
    readonly clip: number
    readonly max_length: number
  }
  readonly labels: readonly string[]
}

type Splits = Record<'train' | 'dev' | 'test', List<Example>>

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    work: { type: 'string' },
    results: { type: 'string' },
    seeds: { type: 'string', default: '0,1,2' },
    compute: { type: 'string', default: 'f32' },
    threads: { type: 'string', default: '1' },
    epochs: { type: 'string' },
  },
})

async function readSplits(model: string, work: string, { settings, labels }: PeerSettings): Promise<Splits> {
  const tokenizer = await loadTokenizer(model)
  const isTagging = settings.task === 'tok'
  const spec = {
    task: isTagging ? 'token-classification' : 'sequence-classification',
    columns: isTagging ? { tokens: 'tokens', tags: 'ner_tags' } : { text: 'text', label: 'label' },
    labels: labelMap(labels),
    maxLength: settings.max_length,
  } as const
  const read = (name: string) => {
    const lines = readFileSync(join(work, `${name}.jsonl`), 'utf8')
      .trim()
      .split('\n')
    return encodeRows(toRows(lines.map(line => JSON.parse(line))), tokenizer, spec).examples
  }
  return { train: read('train'), dev: read('dev'), test: read('test') }
}

/** Scores of a split under the names of the Python side. */
async function scores(model: Model, examples: List<Example>): Promise<Record<string, number>> {
  if (model.task === 'sequence-classification') {
    const { metrics } = await evaluate(model, examples, { batchSize: 64 })
    return { accuracy: metrics.accuracy!, macro_f1: metrics.f1! }
  }
  return entityScores(model, examples)
}

/** Over whole sentences: words past the length limit count as tagged O. */
async function entityScores(model: Model, examples: List<Example>): Promise<Record<string, number>> {
  const gold = examples.map(({ row }) => row.values.ner_tags as string[])
  const predicted: string[][] = []
  for await (const prediction of predict<ItemsPrediction>(model, examples, { batchSize: 64 })) {
    const example = itemAt(examples, predicted.length)
    const tags: string[] = new Array(example.words!.length).fill('O')
    prediction.positions.forEach((at, k) => {
      tags[example.wordIds![at]!] = model.labels[prediction.predicted[k]!]!
    })
    predicted.push(tags)
  }
  const { micro, tokenAccuracy } = entityReport(gold, predicted)
  const strict = entityReport(gold, predicted, { mode: 'strict' })
  const { precision, recall, f1 } = micro
  return { precision, recall, f1, strict_f1: strict.micro.f1, tag_accuracy: tokenAccuracy }
}

async function load(dir: string, peer: PeerSettings, seed: number): Promise<Model> {
  const compute = options.compute as 'f32' | 'bf16'
  check(['f32', 'bf16'].includes(compute), 'ERR_OPTION', () => `compute: "${compute}", expected f32 or bf16`)
  const task = peer.settings.task === 'seq' ? 'sequence-classification' : 'token-classification'
  return await loadModel(dir, { task, labels: peer.labels, compute, seed })
}

async function runSeed(dir: string, peer: PeerSettings, splits: Splits, seed: number): Promise<object> {
  const { settings: s } = peer
  resetPeak()
  using model = await load(dir, peer, seed)
  const targetModules = s.targets === 'all-linear' ? s.targets : s.targets.split(',')
  // Named, though none: a pooler of the checkpoint stays frozen, as in PEFT, and the classifier trains in any case.
  const method = lora({ r: s.r, alpha: s.alpha, dropout: s.dropout, targetModules, modulesToSave: [] })
  const attached = attach(model, method, { seed })
  const settings: FitSettings = {
    epochs: Number(options.epochs ?? s.epochs),
    batchSize: s.batch,
    lr: s.lr,
    warmup: s.warmup,
    weightDecay: s.weight_decay,
    clip: s.clip,
    seed,
  }
  const beforeDev = await scores(model, splits.dev)
  const dev = async () => {
    const found = await scores(model, splits.dev)
    console.error(`seed ${seed} ${JSON.stringify(found)}`)
    return found
  }
  const score = s.task === 'seq' ? 'accuracy' : 'f1'
  const done = await fit(model, attached.trainable, splits.train, settings, dev, score)
  const test = await scores(model, splits.test)
  attached.detach()
  return {
    side: 'lowrank',
    task: s.task,
    compute: options.compute,
    seed,
    lr: s.lr,
    targets: s.targets,
    r: s.r,
    steps: done.steps,
    best_epoch: done.bestEpoch,
    dev: done.epochs[done.bestEpoch - 1],
    test,
    before_dev: beforeDev,
    epochs: done.epochs,
    trainable: done.trained,
    cpu_s: round(done.cpu, 2),
    wall_s: round(done.wall, 2),
    eval_cpu_s: round(done.evalCpu, 2),
    rss_peak: Math.round(resident('VmHWM')),
    threads: native.info().threads,
    isa: native.info().isa,
  }
}

async function main(): Promise<void> {
  const { model, work, results } = options
  if (!model || !work) {
    console.error('usage: npm run bench:minilm -- --model DIR --work DIR [--results FILE] [--seeds 0,1,2]')
    process.exitCode = 2
    return
  }
  native.setThreads(Number(options.threads))
  const peer = JSON.parse(readFileSync(join(work, 'settings.json'), 'utf8')) as PeerSettings
  const splits = await readSplits(model, work, peer)
  for (const seed of options.seeds.split(',').map(Number)) {
    const line = JSON.stringify(await runSeed(model, peer, splits, seed))
    console.log(line)
    if (!results) continue
    mkdirSync(dirname(results), { recursive: true })
    appendFileSync(results, `${line}\n`)
  }
}

await main()
