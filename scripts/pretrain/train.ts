// Pretrains the bundled encoder by masked language modelling, on the CPU, with this project's own engine.
//   npm run pretrain            all of it: sources, corpus, vocabulary, embeddings, then this
//   node dist/scripts/pretrain/train.js [--steps 3600] [--threads 2] [--resume]

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { batches } from '../../lib/data/batches.ts'
import type { Example } from '../../lib/data/example.ts'
import { maskTokens } from '../../lib/data/maskedLm.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { type ModelConfig, readModelConfig } from '../../lib/io/config.ts'
import { encodeF32, openSafetensors, writeSafetensors } from '../../lib/io/safetensors.ts'
import { createModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { learningRate } from '../../lib/optim/schedule.ts'
import { type StepNumbers, Stepper } from '../../lib/train/step.ts'
import { readEmbeddings } from './embeddings.ts'
import { CACHE } from './sources.ts'
import { readTokens } from './tokens.ts'
import { ENCODER, SPECIALS } from './wordpiece.ts'

const SEED = 1
const BATCH = 96
const PEAK_LR = 1.5e-3
const WARMUP = 300
const STEPS = 3600
const STATE = join(CACHE, 'pretrain-state.safetensors')
const PROGRESS = join(CACHE, 'pretrain-progress.json')
const WORD_EMBEDDINGS = 'bert.embeddings.word_embeddings.weight'

interface Progress {
  step: number
  /** Of training, over all runs. */
  seconds: number
  tokens: number
  losses: [step: number, loss: number][]
}

async function examplesOf(): Promise<Example[]> {
  const { ids, starts, sources } = await readTokens()
  const [cls, sep] = [SPECIALS.indexOf('[CLS]'), SPECIALS.indexOf('[SEP]')]
  const examples: Example[] = []
  for (const { weight, first, end } of sources)
    for (let d = first; d < end; d++) {
      const example = {
        ids: Int32Array.from([cls, ...ids.subarray(starts[d]!, starts[d + 1]!), sep]),
        truncated: false,
        row: { values: {}, line: d },
      } as unknown as Example
      for (let k = 0; k < weight; k++) examples.push(example)
    }
  return examples
}

/** A run this short sees no text often enough to need dropout. */
function withoutDropout(config: ModelConfig): ModelConfig {
  return { ...config, values: { ...config.values, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 } }
}

async function saveState(optimizer: AdamW, progress: Progress): Promise<void> {
  const { params, m, v } = optimizer.arena
  const tensors = []
  for (const [name, tensor] of Object.entries({ params, m, v }))
    tensors.push({ name, dtype: 'F32' as const, shape: [...tensor.shape], data: new Uint8Array(await tensor.bytes()) })
  await writeSafetensors(STATE, tensors)
  await writeFileAtomic(PROGRESS, JSON.stringify(progress))
}

function resume(optimizer: AdamW): Progress {
  const file = openSafetensors(STATE)
  const { params, m, v } = optimizer.arena
  for (const [name, tensor] of Object.entries({ params, m, v })) tensor.upload(file.readF32(name))
  file.close()
  const progress = JSON.parse(readFileSync(PROGRESS, 'utf8')) as Progress
  optimizer.steps = progress.step
  return progress
}

async function saveEncoder(model: Model): Promise<void> {
  const tensors = []
  for (const parameter of model.parameters.values()) {
    const data = encodeF32((await parameter.tensor.data()) as Float32Array, 'BF16')
    tensors.push({ name: parameter.name, dtype: 'BF16' as const, shape: [...parameter.shape], data })
  }
  await writeSafetensors(join(ENCODER, 'model.safetensors'), tensors, { format: 'pt' })
}

function report({ loss }: StepNumbers, progress: Progress): void {
  progress.losses.push([progress.step, Number(loss.toFixed(4))])
  const speed = Math.round(progress.tokens / progress.seconds)
  console.log(
    `step ${progress.step}  loss ${loss.toFixed(3)}  ${speed} tokens/s  ${(progress.seconds / 60).toFixed(1)} min`,
  )
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { threads: { type: 'string' }, resume: { type: 'boolean' }, steps: { type: 'string' } },
  })
  const totalSteps = Number(values.steps ?? STEPS)
  if (values.threads) native.setThreads(Number(values.threads))
  mkdirSync(CACHE, { recursive: true })
  const config = withoutDropout(readModelConfig(ENCODER, ['bert']))
  const model = createModel(config, { task: 'masked-lm', seed: SEED, compute: 'bf16' })
  const words = model.parameters.get(WORD_EMBEDDINGS)!
  words.tensor.upload(readEmbeddings(words.shape[1]!))
  const parameters = [...model.parameters.values()]
  const arena = new Arena(parameters, model.device, p => ({ decay: p.shape.length > 1 ? 1 : 0 }))
  const optimizer = new AdamW(arena, { weightDecay: 0.01, eps: 1e-6, beta2: 0.98, clip: 1 })
  const stepper = new Stepper(model, optimizer, { seed: SEED })
  const fresh: Progress = { step: 0, seconds: 0, tokens: 0, losses: [] }
  const progress = values.resume && existsSync(STATE) ? resume(optimizer) : fresh
  const examples = await examplesOf()
  const maskId = SPECIALS.indexOf('[MASK]')
  const specialIds = new Set(SPECIALS.keys())
  const transform = maskTokens({ maskId, specialIds, vocabSize: model.backbone.limits.vocabSize })
  console.log(
    `${arena.size} parameters, ${examples.length} texts, ${native.info().isa}, ${native.info().threads} threads`,
  )
  const perEpoch = Math.floor(examples.length / BATCH)
  const { collate } = model.head
  const plain = { batchSize: BATCH, shuffle: true, seed: SEED, dropLast: true, transform, collate }
  let plan = { epoch: -1, steps: undefined as unknown as ReturnType<typeof batches> }
  let saved = performance.now()
  while (progress.step < totalSteps) {
    const started = performance.now()
    const epoch = Math.floor(progress.step / perEpoch)
    if (plan.epoch !== epoch)
      plan = {
        epoch,
        steps: batches(examples, { ...plain, epoch }),
      }
    const step = plan.steps.at(progress.step % perEpoch)
    const lr = learningRate(progress.step, { schedule: 'linear', lr: PEAK_LR, warmupSteps: WARMUP, totalSteps })
    const numbers = await (await stepper.launch(step, progress.step, lr)).numbers
    progress.step++
    progress.tokens += step.tokens
    progress.seconds += (performance.now() - started) / 1000
    if (progress.step % 50 === 0) report(numbers, progress)
    if (performance.now() - saved > 300_000) {
      await saveState(optimizer, progress)
      await saveEncoder(model)
      saved = performance.now()
    }
  }
  await saveState(optimizer, progress)
  await saveEncoder(model)
  await writeFileAtomic(
    join(ENCODER, 'pretrain.json'),
    `${JSON.stringify({ seed: SEED, batch: BATCH, peakLr: PEAK_LR, isa: native.info().isa, ...progress }, null, 1)}\n`,
  )
}

await main()
