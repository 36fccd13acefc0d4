// The four verbs: what they train is what `train`'s own parts train, each adapter as if it were alone.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batches } from '../../lib/data/batches.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { Stepper } from '../../lib/train/step.ts'
import { Tuner } from '../../lib/train/tuner.ts'
import { chatModelFolder } from '../support/chatModel.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { counting, tinyDecoder, tinyLora, trainedBytes } from './support.ts'

const examples = counting(24)
const stepsFor = (model: Model, seed: number) =>
  [...batches(examples, { batchSize: 2, accumulate: 2, shuffle: true, seed, collate: model.head.collate })].slice(0, 4)
const named = (model: Model, name: string, seed: number) =>
  attach(model, lora({ r: 4, alpha: 8, dropout: 0.1 }), { name, seed })

test('a step of the verbs is a step of the trainer, to the byte', async () => {
  const live = native.live()
  const [byHand, byVerbs] = [tinyDecoder(), tinyDecoder()]
  const adapter = tinyLora(byHand)
  const group = (p: { shape: readonly number[] }) => ({ decay: p.shape.length > 1 ? 1 : 0 })
  const optimizer = new AdamW(new Arena(adapter.trainable, byHand.device, group))
  const stepper = new Stepper(byHand, optimizer, { seed: 42, training: adapter.training })
  const losses: number[] = []
  for (const [i, step] of stepsFor(byHand, 1).entries())
    losses.push((await (await stepper.launch(step, i, 0.01)).numbers).loss)

  const own = tinyLora(byVerbs)
  const tuner = new Tuner(byVerbs)
  for (const [i, { microBatches, total }] of stepsFor(byVerbs, 1).entries()) {
    const parts = microBatches.map(batch => tuner.forwardBackward(own.name, { microBatches: [batch], total }))
    const norm = tuner.optimStep(own.name, { lr: 0.01 })
    const loss = (await Promise.all(parts)).reduce((sum, part) => sum + part, 0)
    assert.ok(Math.abs(loss - losses[i]!) < 1e-6, `${loss} and ${losses[i]}`)
    assert.ok((await norm) > 0)
  }
  assert.is(await trainedBytes(own), await trainedBytes(adapter))
  optimizer.arena.dispose()
  tuner.dispose()
  byHand.dispose()
  byVerbs.dispose()
  assert.is(native.live(), live)
})

test('what is no step is refused, and leaves nothing behind', async () => {
  using model = tinyDecoder()
  const { name } = tinyLora(model)
  using tuner = new Tuner(model)
  const [step] = stepsFor(model, 1)
  for (const [wrong, says] of [
    [examples, /ERR_OPTION: forwardBackward: the second argument has no microBatches; give a step of batches/],
    [undefined, /ERR_OPTION: forwardBackward: the second argument has no microBatches/],
    [{ ...step!, total: Number.NaN }, /ERR_OPTION: total: NaN, expected a number above 0/],
  ] as const) {
    const error = await tuner.forwardBackward(name, wrong as never).catch(e => e)
    assert.match(`${error.code}: ${error.message}`, says)
  }
  assert.ok(Number.isFinite(await tuner.forwardBackward(name, step!)))
})

test('two adapters in turns train as each does alone', async () => {
  const alone: string[] = []
  for (const [name, seed] of [
    ['a', 3],
    ['b', 4],
  ] as const) {
    using model = tinyDecoder()
    const adapter = named(model, name, seed)
    using tuner = new Tuner(model)
    for (const step of stepsFor(model, seed)) {
      await tuner.forwardBackward(name, step)
      await tuner.optimStep(name, { lr: 0.01 })
    }
    alone.push(await trainedBytes(adapter))
  }
  using model = tinyDecoder()
  const adapters = [named(model, 'a', 3), named(model, 'b', 4)]
  using tuner = new Tuner(model)
  const plans = { a: stepsFor(model, 3), b: stepsFor(model, 4) }
  const calls: Promise<unknown>[] = []
  for (let i = 0; i < 4; i++) {
    for (const name of ['a', 'b'] as const) calls.push(tuner.forwardBackward(name, plans[name][i]!))
    for (const name of ['b', 'a'] as const) calls.push(tuner.optimStep(name, { lr: 0.01 }))
  }
  await Promise.all(calls)
  assert.equal(await Promise.all(adapters.map(trainedBytes)), alone)
})

test('a state that is put back goes on to the same bytes', async () => {
  using model = tinyDecoder()
  const adapter = tinyLora(model)
  using tuner = new Tuner(model)
  const steps = stepsFor(model, 1)
  const run = async (some: typeof steps) => {
    for (const step of some) {
      await tuner.forwardBackward(adapter.name, step)
      await tuner.optimStep(adapter.name, { lr: 0.01 })
    }
    return trainedBytes(adapter)
  }
  await run(steps.slice(0, 2))
  const folder = join(temporaryFolder(), 'state')
  await tuner.saveState(adapter.name, folder)
  const wanted = await run(steps.slice(2))
  await tuner.loadState(adapter.name, folder)
  assert.is(await run(steps.slice(2)), wanted)
})

const errorOf = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => new Error('nothing was thrown'),
    (thrown: Error) => thrown,
  )
  return error.message
}

test('adapters speak by their names, and what cannot be is told', async () => {
  const folder = await chatModelFolder()
  using model = await loadModel(folder, { task: 'causal-lm' })
  using tuner = new Tuner(model, { tokenizer: await loadTokenizer(folder) })
  const poet = named(model, 'poet', 3)
  const options = { maxNewTokens: 6, temperature: 0 }
  const base = await tuner.sample(undefined, 'Once', options)
  assert.equal(await tuner.sample('poet', 'Once', options), base, 'an adapter that has learned nothing')
  for (const parameter of poet.trainable) {
    parameter.tensor.upload(Float32Array.from({ length: parameter.size }, (_, i) => Math.sin(i)))
  }
  assert.not.equal(await tuner.sample('poet', 'Once', options), base)
  assert.equal(await tuner.sample(undefined, 'Once', options), base)
  assert.ok(poet.isActive, 'as it was')
  assert.match(await errorOf(tuner.sample('poets', 'Once')), /adapter: the model has no "poets".*poet.*; it has poet/)
  assert.match(
    await errorOf(tuner.optimStep('poet', { lr: 0.1 })),
    /optimStep: "poet" has no gradients; call forwardBackward first/,
  )
  assert.match(await errorOf(new Tuner(model).sample('poet', 'Once')), /sample: it takes a tokenizer/)
})

test.run()
