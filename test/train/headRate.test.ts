// A head that the base lacks learns at a rate of its own, said or found by the rows that it reads; what the base has,
// and what a method adds, do not.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model, type ModelOptions } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { lora } from '../../lib/peft/lora.ts'
import type { Method } from '../../lib/peft/method.ts'
import { copyOf, scope, type Tensor } from '../../lib/tensor.ts'
import { headRateFor } from '../../lib/train/defaults.ts'
import { packAll } from '../../lib/train/evaluate.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { trainMany } from '../../lib/train/many.ts'
import { optimizerOf } from '../../lib/train/run.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, LABELS, runToEnd, sentences, sequences, TAGS, tinyLora, trainedBytes } from './support.ts'

/** Rates of the head and of the rest, each beside that of the run, and the settings they came from. */
async function rates(name: string, method: Method, options: TrainOptions) {
  const model = await loadModel(join(packageRoot, 'test/golden/models', name), { task: 'sequence-classification' })
  const adapter = attach(model, method)
  try {
    const settings = resolveTrainSettings(adapter, options, { train: { length: 16 } })
    const optimizer = optimizerOf(adapter, settings)
    const scales = (isHead: boolean) => {
      const own = optimizer.arena.slices.filter(({ parameter }) => parameter.name.startsWith('classifier.') === isHead)
      return [...new Set(own.map(({ lrScale }) => lrScale))]
    }
    const found = { settings, head: scales(true), rest: scales(false) }
    optimizer.arena.dispose()
    return found
  } finally {
    adapter.detach()
    model.dispose()
  }
}

const METHODS: [name: string, make: () => Method][] = [
  ['lora', () => lora({ r: 2, targetModules: 'all-linear' })],
  ['full', () => fullFineTuning()],
]

for (const [name, make] of METHODS) {
  test(`${name}: one rate holds for all, unless the head's is said too`, async () => {
    for (const options of [{}, { lr: 1e-3 }]) {
      const one = await rates('bert-base-only', make(), options)
      assert.equal([one.settings.headLr, one.head, one.rest], [undefined, [1], [1]])
    }
    const two = await rates('bert-base-only', make(), { lr: 1e-3, headLr: 4e-3 })
    assert.equal([two.head, two.rest], [[4], [1]])
  })
}

test('a rate for a head that came with the base is refused', async () => {
  const refused = (error: Error) => /headLr: 0\.01 has no effect.*leave it out/.test(error.message)
  await rates('bert-seq', lora({ r: 2 }), { headLr: 0.01 }).then(
    () => assert.unreachable('should have been refused'),
    error => assert.ok(refused(error), error),
  )
})

test('the rate of a new head grows as its rows lie closer together than those of a new pooler', () => {
  const found = [0.5, 0.12, 0.06, 0.03, 0.001, 0].map(spread => headRateFor(1.4e-3, 384, spread))
  assert.equal(found, [1.4e-3, 1.4e-3, 2.8e-3, 5.6e-3, 5.6e-3, 5.6e-3])
  assert.equal(
    [96, 1536].map(width => headRateFor(1e-3, width, 0.06)),
    [1e-3, 4e-3],
  )
})

const CLASSES = { task: 'sequence-classification', labels: LABELS } as const
/** Of the base below. */
const WIDTH = 24

const baseModel = (options: Partial<ModelOptions> = {}) =>
  loadModel(join(packageRoot, 'test/golden/models/bert-base-only'), { ...CLASSES, seed: 1, ...options })

/** A base whose pooler makes rows that hardly differ. */
async function closeModel(): Promise<Model> {
  const model = await baseModel()
  const { tensor } = model.parameters.get('bert.pooler.dense.weight')!
  tensor.upload((await tensor.floats()).map(x => x / 25) as Float32Array)
  return model
}

const HALF = { train: sequences(64), validation: sequences(8, 9) }
const SHORT: TrainOptions = { epochs: 1, seed: 2, evaluateBefore: false }

const startOf = async (model: Model, options: TrainOptions = SHORT, data = HALF) =>
  eventsOf(await runToEnd(tinyLora(model), data, options), 'start')[0]!

/** How far apart the pooled rows of all examples lie, computed here. */
async function spreadOf(model: Model): Promise<number> {
  const { read } = scope(() => model.onRows(packAll(model, HALF.train), undefined, rows => ({ read: rows.floats() })))
  const [rows, weight, bias] = await Promise.all([
    read,
    ...['weight', 'bias'].map(name => model.parameters.get(`bert.pooler.dense.${name}`)!.tensor.floats()),
  ])
  const width = bias!.length
  const count = rows.length / width
  const column = (o: number) =>
    Array.from({ length: count }, (_, i) => {
      const terms = Array.from({ length: width }, (_, k) => weight![o * width + k]! * rows[i * width + k]!)
      return Math.tanh(bias![o]! + terms.reduce((a, b) => a + b))
    })
  const squares = Array.from({ length: width }, (_, o) => {
    const values = column(o)
    const mean = values.reduce((a, b) => a + b) / count
    return values.reduce((sum, x) => sum + (x - mean) ** 2, 0)
  })
  return Math.sqrt(squares.reduce((a, b) => a + b) / ((count - 1) * width))
}

test('where nobody gives a rate, that of a new head follows from the rows that it reads', async () => {
  const model = await closeModel()
  const expected = headRateFor(2e-3, WIDTH, await spreadOf(model))
  assert.ok(expected > 2e-3 && expected < 8e-3, `${expected} is between the limits`)
  const { lr, headLr } = await startOf(model)
  assert.equal([lr, headLr], [2e-3, expected])
  model.dispose()
})

test('a rate that is said holds for the head too, and rows that differ need no other', async () => {
  const [close, usual] = [await closeModel(), await baseModel()]
  assert.is((await startOf(close, { ...SHORT, lr: 2e-3 })).headLr, undefined)
  assert.is((await startOf(usual)).headLr, undefined)
  const tagger = await baseModel({ task: 'token-classification', labels: TAGS })
  assert.is((await startOf(tagger, SHORT, { train: sentences(32), validation: sentences(8) })).headLr, undefined)
  for (const model of [close, usual, tagger]) model.dispose()
})

test('runs that share their passes, and processes that train together, find the rate of one alone', async () => {
  const model = await closeModel()
  const { headLr } = await startOf(model)
  // The other process reads the same rows here.
  const allReduce = (x: Tensor) => scope(() => native.accumulate(x.handle, copyOf(x).handle, 1))
  assert.is(
    (await startOf(await closeModel(), { ...SHORT, communicator: { rank: 0, size: 2, allReduce } })).headLr,
    headLr,
  )
  const shared = await closeModel()
  const members = ['a', 'b'].map(name => ({ adapter: attach(shared, lora({ r: 2 }), { name, seed: 3 }) }))
  const found: (number | undefined)[] = []
  for await (const told of trainMany(members, HALF, SHORT))
    if ('event' in told && told.event.type === 'start') found.push(told.event.headLr)
  assert.equal(found, [headLr, headLr])
})

test('a run that goes on has the rate it had, whatever its rows have become', async () => {
  const whole = await closeModel()
  const adapter = tinyLora(whole)
  const { headLr } = eventsOf(await runToEnd(adapter, HALF, SHORT), 'start')[0]!
  const bytes = await trainedBytes(adapter)
  const cut = await closeModel()
  const outputDir = temporaryFolder()
  const stop = new AbortController()
  const trained = tinyLora(cut)
  const options = { ...SHORT, outputDir }
  await runToEnd(trained, HALF, { ...options, signal: stop.signal }, event => {
    if (event.type === 'step' && event.step === 2) stop.abort()
  })
  const { tensor } = trained.trainable.find(({ name }) => /layer\.0.*value\.lora_B/.test(name))!
  tensor.upload((await tensor.floats()).map((_, i) => i % 7) as Float32Array)
  assert.is.not(headRateFor(2e-3, WIDTH, await spreadOf(cut)), headLr)
  const start = eventsOf(await runToEnd(trained, HALF, { ...options, resume: true }), 'start')[0]!
  assert.equal([start.resumed !== undefined, start.headLr], [true, headLr])
  assert.is(await trainedBytes(trained), bytes)
  for (const model of [whole, cut]) model.dispose()
})

test.run()
