import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import type { Model, ModelOptions } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { planTraining } from '../../lib/train/plan.ts'
import {
  answers,
  eventsOf,
  hideTokens,
  runToEnd,
  sentences,
  sequences,
  TAGS,
  tinyLora,
  tinyModel,
  tinySeq2seq,
} from './support.ts'

interface Case {
  /** Default: a tiny encoder. */
  make?: (options: Partial<ModelOptions>) => Model
  model: Partial<ModelOptions>
  examples: readonly Example[]
  options?: Partial<TrainOptions>
  full?: boolean
  lora?: object
}

const CASES: Record<string, Case> = {
  'LoRA, classes': { model: {}, examples: sequences(60) },
  'LoRA with a penalty, weights, accumulation': {
    model: {},
    examples: sequences(61),
    options: { accumulate: 2, classWeights: 'balanced', groupByLength: true },
    lora: { regularizer: 1e-3, targetModules: 'all-linear' },
  },
  'by tokens': {
    model: {},
    examples: sequences(61),
    options: { batchSize: undefined, batchTokens: 100, groupByLength: true },
  },
  'full, tags': { model: { task: 'token-classification', labels: TAGS }, examples: sentences(60), full: true },
  'layers that run again': {
    model: {},
    examples: sequences(60),
    options: { gradientCheckpointing: true },
    lora: { targetModules: 'all-linear' },
  },
  'int8 base': { model: { storage: 'int8' }, examples: sequences(60) },
  'nf4 base, every layer adapted': {
    model: { storage: 'nf4' },
    examples: sequences(60),
    lora: { targetModules: 'all-linear' },
  },
  'bf16 base, hidden tokens': {
    model: { task: 'masked-lm', storage: 'bf16' },
    examples: sequences(60).map(({ label: _, ...e }) => e),
    options: { transform: hideTokens, maxSteps: 5 },
  },
  'text to text, every layer adapted': {
    make: tinySeq2seq,
    model: {},
    examples: answers(60),
    lora: { targetModules: 'all-linear' },
  },
  'activations in bf16, every layer adapted': {
    model: { storage: 'bf16', compute: 'bf16' },
    examples: sequences(60),
    lora: { targetModules: 'all-linear' },
  },
  'activations in bf16, text to text': { make: tinySeq2seq, model: { compute: 'bf16' }, examples: answers(60) },
  'full, text to text': { make: tinySeq2seq, model: {}, examples: answers(60), full: true },
}

for (const [name, { make, model: made, examples, options, full, lora }] of Object.entries(CASES))
  test(`the peak is predicted to the byte: ${name}`, async () => {
    const create = make ?? tinyModel
    const data = { train: examples.slice(0, 45), validation: examples.slice(45, 55), test: examples.slice(55) }
    const attached = (model: Model) => (full ? attach(model, fullFineTuning()) : tinyLora(model, lora))
    const settings = { epochs: 2, batchSize: 8, lr: 1e-4, ...options }
    const live = native.live()
    const meta = create({ ...made, device: 'meta' })
    const planned = attached(meta)
    const plan = await planTraining(planned, data, { ...settings })
    planned.detach()
    meta.dispose()
    const model = create(made)
    const method = attached(model)
    const events = await runToEnd(method, data, { ...settings })
    const { memory } = eventsOf(events, 'end')[0]!
    assert.is(plan.peakBytes, memory.peak)
    const start = eventsOf(events, 'start')[0]!
    for (const key of ['trainable', 'total', 'stepsPerEpoch', 'totalSteps'] as const) assert.is(plan[key], start[key])
    assert.is(plan.matched.length, method.matched.length)
    assert.ok(plan.rssBytes > plan.peakBytes)
    method.detach()
    model.dispose()
    assert.is(native.live(), live)
  })

test('a plan wants a model on the meta device, and checks what train checks', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const wrong = planTraining(method, { train: sequences(8) })
  await wrong.then(
    () => assert.unreachable(),
    e => assert.match(e.message, /is on cpu; load it with device 'meta'/),
  )
  model.dispose()
  const meta = tinyModel({ device: 'meta' })
  const plan = await planTraining(tinyLora(meta), { train: sequences(24) }, { lr: 2e-5, batchSize: 4, epochs: 3 })
  assert.equal(
    plan.warnings.map(w => w.code),
    ['low-lr'],
  )
  assert.is(plan.totalSteps, 18)
  assert.is(plan.firstBatch.rows.length, 4)
  meta.dispose()
})

test.run()
