// Gives the student a masked-LM head, a transform trained over its frozen layers with the decoder tied to the
// embeddings, and makes assets/encoder of the two.
//   node dist/scripts/pretrain/lmHead.js [--steps N] [--threads 2]

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { batches } from '../../lib/data/batches.ts'
import type { Example } from '../../lib/data/example.ts'
import { maskTokens } from '../../lib/data/maskedLm.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { learningRate } from '../../lib/optim/schedule.ts'
import { Stepper } from '../../lib/train/step.ts'
import { reader, texts, wordsOf } from './reading.ts'
import { TAUGHT } from './student.ts'
import { saveWeights } from './teaching.ts'
import { ENCODER, readVocabulary, SPECIALS } from './wordpiece.ts'

const SEED = 2
const STEPS = 150
const BATCH = 48
const PEAK_LR = 2e-3
const HEAD = 'cls.predictions.'
const TRANSFORM = `${HEAD}transform.dense.weight`

/** The transform starts as the identity: a state is nearest to the embedding it came from. */
function startFromIdentity(model: Model): void {
  const { tensor, shape } = model.parameters.get(TRANSFORM)!
  const size = shape[0]!
  tensor.upload(Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0)))
}

/** Writes assets/encoder: the student and its head. */
async function save(model: Model): Promise<void> {
  await saveWeights(model, ENCODER, () => true)
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'pretrain.json'])
    await writeFileAtomic(join(ENCODER, file), readFileSync(join(TAUGHT, file)))
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { threads: { type: 'string' }, steps: { type: 'string' } } })
  const totalSteps = Number(values.steps ?? STEPS)
  if (values.threads) native.setThreads(Number(values.threads))
  const model = await loadModel(TAUGHT, { task: 'masked-lm', compute: 'bf16', seed: SEED })
  startFromIdentity(model)
  const vocabulary = readVocabulary(TAUGHT)
  const read = reader(vocabulary)
  const lines = texts(SEED).slice(0, totalSteps * BATCH)
  const examples = lines.map((line, at) => {
    const { ids } = read(wordsOf(line))
    return { ids, truncated: false, row: { values: {}, line: at } } as unknown as Example
  })
  const masking = {
    maskId: SPECIALS.indexOf('[MASK]'),
    specialIds: new Set(SPECIALS.keys()),
    vocabSize: vocabulary.length,
  }
  const { collate } = model.head
  const steps = batches(examples, { batchSize: BATCH, seed: SEED, transform: maskTokens(masking), collate })
  const arena = new Arena(
    [...model.parameters.values()].filter(({ name }) => name.startsWith(HEAD)),
    model.device,
  )
  const stepper = new Stepper(model, new AdamW(arena), { seed: SEED, dropout: false })
  for (const step of steps) {
    const lr = learningRate(step.index, { schedule: 'linear', lr: PEAK_LR, warmupSteps: 10, totalSteps })
    const { loss } = await (await stepper.launch(step, step.index, lr)).numbers
    if (step.index % 10 === 9) console.log(`step ${step.index + 1}  loss ${loss.toFixed(3)}`)
  }
  await save(model)
}

await main()
