// Adapters trained at once are the adapters that train makes of each alone.

import { createHash } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { createModel, type Model, type ModelOptions } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, createMethod, lora, type Method } from '../../lib/peft/index.ts'
import type { TrainData, TrainEvent, TrainOptions } from '../../lib/train/events.ts'
import { type ManyEvent, type ManyOptions, type TrainMember, trainMany } from '../../lib/train/many.ts'
import { planTraining } from '../../lib/train/plan.ts'
import { counting, eventsOf, runToEnd, sequences, tinyConfig, trainedBytes } from './support.ts'

// Wide enough that a batch is no product of few rows, which add up in another order.
const encoder = (options: Partial<ModelOptions> = {}) => {
  const config = tinyConfig({ num_hidden_layers: 3, hidden_size: 48, intermediate_size: 96 })
  return createModel(config, { task: 'sequence-classification', labels: ['a', 'b', 'c'], seed: 1, ...options })
}
const decoder = () => {
  const values = { ...tinyConfig().values, hidden_size: 48, num_key_value_heads: 2, attention_dropout: 0.1 }
  const config = {
    path: 'config.json',
    modelType: 'llama',
    values: { ...values, model_type: 'llama', eos_token_id: 2 },
  }
  return createModel(config, { task: 'causal-lm', seed: 1 })
}
const data: TrainData = { train: sequences(48, 5, 24), validation: sequences(20, 11), test: sequences(20, 12) }
const common: TrainOptions = { epochs: 2, batchSize: 16, lr: 5e-3, evalBatchSize: 10 }

interface Given {
  readonly method: Method
  readonly options?: TrainOptions
  readonly seed?: number
}

const MIXED: Given[] = [
  { method: lora({ r: 8, alpha: 16, targetModules: 'all-linear', dropout: 0.1 }), options: { seed: 3 } },
  { method: lora({ r: 2, targetModules: ['query'] }), options: { seed: 4, lr: 1e-2, clip: 0.1, weightDecay: 0.1 } },
  { method: lora({ r: 5, targetModules: ['value', 'output.dense'], dropout: 0.25 }), options: { schedule: 'cosine' } },
  { method: lora({ r: 4, layersToTransform: [2], bias: 'lora_only' }), options: { labelSmoothing: 0.1, epochs: 1 } },
  { method: createMethod('svd', { r: 4 }), options: { classWeights: [1, 2, 1], seed: 9 } },
  { method: createMethod('adalora', { initR: 4, targetR: 2 }), options: { accumulate: 2, batchSize: 8 } },
  { method: createMethod('ia3', {}), options: { patience: 1 } },
  { method: lora({ r: 4, useDora: true, dropout: 0.05 }) },
  { method: createMethod('adapter', { reductionFactor: 4 }) },
  { method: createMethod('bitfit', {}), options: { seed: 12 } },
]

/** Trained bytes and everything told of losses and metrics, of each given alone. */
async function alone(make: () => Model, given: readonly Given[], own: TrainData, options: TrainOptions) {
  const found: { bytes: string; told: unknown }[] = []
  for (const { method, options: mine, seed = 1 } of given) {
    const model = make()
    const adapter = attach(model, method, { seed })
    const events = await runToEnd(adapter, own, { ...options, ...mine })
    found.push({ bytes: await digest(adapter), told: tellable(events) })
    model.dispose()
  }
  return found
}

/** Equal only when the trained bytes are. */
const digest = async (adapter: Adapter) =>
  createHash('sha256')
    .update(await trainedBytes(adapter))
    .digest('hex')

function tellable(events: Parameters<typeof eventsOf>[0]) {
  return [
    ...eventsOf(events, 'step').map(({ step, loss, gradNorm, lr }) => ({ step, loss, gradNorm, lr })),
    ...eventsOf(events, 'evaluation').map(({ when, split, metrics }) => ({ when, split, metrics })),
    ...eventsOf(events, 'end').map(({ reason, bestStep, tokens }) => ({ reason, bestStep, tokens })),
  ]
}

async function collect(members: readonly TrainMember[], own: TrainData, options: ManyOptions) {
  const all = new Map<string, ManyEvent[]>(members.map(({ adapter }) => [adapter.name, []]))
  for await (const event of trainMany(members, own, options)) all.get(event.adapter)!.push(event)
  return all
}

const eventsIn = (events: readonly ManyEvent[]) => events.flatMap(each => ('event' in each ? [each.event] : []))

function attachAll(model: Model, given: readonly Given[]): TrainMember[] {
  return given.map(({ method, options, seed = 1 }, i) => ({
    adapter: attach(model, method, { name: `m${i}`, seed }),
    ...(options && { options }),
  }))
}

test('mixed ranks, targets, dropouts, rates, losses and methods: to the byte what each is alone', async () => {
  const expected = await alone(encoder, MIXED, data, common)
  const live = native.live()
  const model = encoder()
  const members = attachAll(model, MIXED)
  const told = await collect(members, data, common)
  for (const [i, { adapter }] of members.entries()) {
    assert.equal(tellable(eventsIn(told.get(adapter.name)!)), expected[i]!.told, `${adapter.method.type} ${i}`)
    assert.is(await digest(adapter), expected[i]!.bytes, `bytes of ${adapter.method.type} ${i}`)
  }
  model.dispose()
  assert.is(native.live(), live)
})

test('layers below the first adapter run once for members that read the same, with the same bytes', async () => {
  const given = [1e-3, 5e-3, 2e-2].map(
    (lr): Given => ({ method: lora({ r: 4, layersToTransform: [2], dropout: 0.1 }), options: { lr, seed: 5 } }),
  )
  const expected = await alone(encoder, given, data, common)
  const model = encoder()
  const members = attachAll(model, given)
  await collect(members, data, common)
  for (const [i, { adapter }] of members.entries()) assert.is(await digest(adapter), expected[i]!.bytes, `member ${i}`)
  model.dispose()
})

test('decoders whose losses are those of one output layer, smoothed alike or not', async () => {
  const own = { train: counting(24), validation: counting(8, 9) }
  const options = { epochs: 1, batchSize: 6, lr: 5e-3 }
  for (const labelSmoothing of [0, 0.1]) {
    const given: Given[] = [
      { method: lora({ r: 4, dropout: 0.1, targetModules: 'all-linear' }), options: { seed: 2, labelSmoothing: 0.1 } },
      { method: lora({ r: 8, targetModules: ['q_proj'] }), options: { seed: 3, labelSmoothing } },
      { method: lora({ r: 2, targetModules: ['v_proj'] }), options: { batchSize: 8, labelSmoothing } },
    ]
    const expected = await alone(decoder, given, own, options)
    const live = native.live()
    const model = decoder()
    const members = attachAll(model, given)
    const told = await collect(members, own, options)
    for (const [i, { adapter }] of members.entries()) {
      assert.equal(tellable(eventsIn(told.get(adapter.name)!)), expected[i]!.told, `member ${i}`)
      assert.is(await digest(adapter), expected[i]!.bytes, `bytes of member ${i}`)
    }
    model.dispose()
    assert.is(native.live(), live)
  }
})

test('a decoder, its layers run again in backward', async () => {
  const own = { train: counting(24), validation: counting(8, 9) }
  const options = { epochs: 2, batchSize: 6, lr: 5e-3, gradientCheckpointing: true }
  const given: Given[] = [
    { method: lora({ r: 4, dropout: 0.1, targetModules: 'all-linear' }), options: { seed: 2 } },
    { method: lora({ r: 8, targetModules: ['q_proj'] }), options: { seed: 3 } },
    { method: lora({ r: 3, targetModules: ['embed_tokens', 'v_proj'] }), options: { seed: 3, lr: 1e-3 } },
  ]
  const expected = await alone(decoder, given, own, options)
  const model = decoder()
  const members = attachAll(model, given)
  await collect(members, own, options)
  for (const [i, { adapter }] of members.entries()) assert.is(await digest(adapter), expected[i]!.bytes, `member ${i}`)
  model.dispose()
})

test('a member that diverges leaves the others as they are', async () => {
  const given: Given[] = [
    { method: lora({ r: 4, targetModules: 'all-linear' }) },
    { method: lora({ r: 4, targetModules: 'all-linear' }), options: { lr: 1e30, clip: 0 } },
  ]
  const [expected] = await alone(encoder, given.slice(0, 1), data, common)
  const model = encoder()
  const members = attachAll(model, given)
  const before = native.live()
  const told = await collect(members, data, common)
  assert.match(String(told.get('m1')!.flatMap(each => ('failed' in each ? each.failed : []))), /train: the .* is NaN/)
  assert.is(await digest(members[0]!.adapter), expected!.bytes)
  assert.is(native.live(), before)
  model.dispose()
})

test('a member that is ended leaves the others as they are, and its memory, which is what a dry run says', async () => {
  const given: Given[] = [4, 16].map(r => ({ method: lora({ r, targetModules: 'all-linear' }) }))
  const [expected] = await alone(encoder, given, data, common)
  const model = encoder()
  const members = attachAll(model, given)
  const [kept, ended] = members.map(({ adapter }) => adapter)
  const before = native.live()
  const live: number[] = []
  const ends = (name: string, event: { type: string }) => name === ended!.name && event.type === 'epoch'
  for await (const each of trainMany(members, data, { ...common, evaluateBefore: false, ends })) {
    const { event } = each as { event: TrainEvent }
    assert.not(each.adapter === ended!.name && event.type === 'end')
    if (event.type === 'epoch' && each.adapter === ended!.name) ended!.detach()
    if (event.type === 'step' && each.adapter === kept!.name) live.push(event.memory.live)
  }
  assert.is(await digest(kept!), expected!.bytes)
  assert.is(native.live(), before - ended!.trainable.length)
  model.dispose()
  const planned = encoder({ device: 'meta' })
  const { memberBytes } = await planTraining(attach(planned, given[1]!.method), data, common)
  assert.is(live.at(0)! - live.at(-1)!, memberBytes)
  planned.dispose()
})

test('what cannot share a pass says so', async () => {
  const model = encoder()
  const refused = async (members: readonly TrainMember[], options: TrainOptions = {}) => {
    const error = await trainMany(members, data, options)
      .next()
      .catch(e => e)
    assert.instance(error, LowrankError, String(error.stack))
    return `${error.code} ${error.message}`
  }
  for (const [type, own, pattern] of [
    ['full', {}, /^ERR_UNSUPPORTED trainMany: adapter "x": .* changes the weights of the base .*; train it alone/],
    ['last-layers', {}, /changes the weights/],
    ['prompt', { numVirtualTokens: 2 }, /makes sequences longer/],
  ] as const) {
    const adapter = attach(model, createMethod(type, own), { name: 'x' })
    assert.match(await refused([{ adapter }]), pattern)
    adapter.detach()
  }
  const [a, b] = ['a', 'b'].map(name => attach(model, lora({ r: 2 }), { name }))
  assert.match(await refused([{ adapter: a! }], {}), /^ERR_OPTION trainMany: "b" is switched on and no member/)
  assert.match(await refused([{ adapter: a! }, { adapter: a! }]), /named twice/)
  assert.match(await refused([{ adapter: a! }, { adapter: b! }], { time: '5m' }), /time is of one run/)
  assert.match(await refused([]), /there is no member/)
  model.dispose()
})

test('leaving early stops all, and nothing is left behind', async () => {
  const model = encoder()
  const members = attachAll(model, MIXED.slice(0, 3))
  const before = native.live()
  let steps = 0
  for await (const each of trainMany(members, data, common))
    if ('event' in each && each.event.type === 'step' && ++steps === 4) break
  assert.is(native.live(), before)
  for (const { adapter } of members) adapter.detach()
  model.dispose()
})

test.run()
