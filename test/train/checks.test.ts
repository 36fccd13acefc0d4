import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import type { LowrankError } from '../../lib/errors.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { metricNames } from '../../lib/tasks/scores.ts'
import { resolveClassWeights } from '../../lib/train/checks.ts'
import type { TrainData, TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'
import { rejects } from '../data/support.ts'
import { eventsOf, hideTokens, runToEnd, sentences, sequences, TAGS, tinyLora, tinyModel } from './support.ts'

const good = { train: sequences(24), validation: sequences(12, 3) }
const short = { epochs: 1, batchSize: 8, lr: 1e-3 }

async function refusal(data: TrainData, options: object = {}, kind = tinyModel): Promise<LowrankError> {
  const model = kind()
  const method = tinyLora(model)
  try {
    for await (const _ of train(method, data, { ...short, ...options } as TrainOptions));
    return assert.unreachable('should have thrown') as never
  } catch (error) {
    return error as LowrankError
  } finally {
    method.detach()
    model.dispose()
  }
}

async function warnings(data: TrainData, options: Partial<TrainOptions> = {}, full = false): Promise<string[]> {
  const model = tinyModel()
  const method = full ? attach(model, fullFineTuning()) : tinyLora(model)
  const events = await runToEnd(method, data, { ...short, evaluateBefore: false, ...options })
  model.dispose()
  return eventsOf(events, 'warning').map(event => event.code)
}

const REFUSED: [name: string, data: TrainData, options: object, code: string, text: RegExp][] = [
  ['an empty split', { train: [] }, {}, 'ERR_DATA', /training split is empty/],
  ['one class', { train: good.train.map(e => ({ ...e, label: 1 })) }, {}, 'ERR_DATA', /"middle"; .*tell apart/],
  ['no labels', { train: good.train.map(({ label: _, ...e }) => e) }, {}, 'ERR_DATA', /no label of the train split/],
  ['no tokens', { train: [{ ...good.train[0]!, ids: new Int32Array(0) }] }, {}, 'ERR_DATA', /example 0 .*no tokens/],
  ['too long', { train: [{ ...good.train[0]!, ids: new Int32Array(65) }] }, {}, 'ERR_DATA', /65 tokens.* takes 64/],
  ['a divergence', good, { lr: 1e30, clip: 0 }, 'ERR_OPTION', /(loss|norm) is .* in step \d; lower lr/],
  ['an unknown option', good, { batchsize: 3 }, 'ERR_OPTION', /batchsize.*did you mean "batchSize"/],
  ['a fraction of a batch', good, { batchSize: 1.5 }, 'ERR_OPTION', /batchSize: 1.5/],
  ['an unknown metric', good, { metric: 'acuracy' }, 'ERR_OPTION', /did you mean "accuracy"/],
  ['an unknown schedule', good, { schedule: 'lineer' }, 'ERR_OPTION', /did you mean "linear"/],
  ['weights of other classes', good, { classWeights: [1, 2] }, 'ERR_OPTION', /classWeights: \[1,2\].*3 numbers/],
  ['masks for classes', good, { transform: hideTokens }, 'ERR_OPTION', /transform: mask.*leave it out/],
  ['resume of nothing', good, { resume: true }, 'ERR_OPTION', /resume: there is no outputDir/],
]

for (const [name, data, options, code, text] of REFUSED)
  test(`refused: ${name}`, async () => {
    const error = await refusal(data, options)
    assert.is(error.code, code)
    assert.match(error.message, text)
  })

test('refused: all labels of a tagger masked, masked LM without masks', async () => {
  const tagger = () => tinyModel({ task: 'token-classification', labels: TAGS })
  const masked = sentences(8).map(e => ({ ...e, label: new Int32Array(e.ids.length).fill(-100) }))
  assert.match((await refusal({ train: masked }, {}, tagger)).message, /no label of the train split counts/)
  const mlm = () => tinyModel({ task: 'masked-lm' })
  assert.match((await refusal({ train: sequences(8) }, {}, mlm)).message, /transform: none, .*maskingOf/)
})

test('refused: a model in place of an adapter, data without a training split, an adapter that is merged', async () => {
  const model = tinyModel()
  const adapter = tinyLora(model)
  await rejects(() => runToEnd(model as never, good, short), 'ERR_OPTION', /^train: the first argument is no adapter/)
  await rejects(() => runToEnd(adapter, good.train as never, short), 'ERR_OPTION', /the data have no train split/)
  await rejects(() => runToEnd(adapter, undefined as never, short), 'ERR_OPTION', /the data have no train split/)
  adapter.merge()
  await rejects(() => runToEnd(adapter, good, short), 'ERR_OPTION', /is merged/)
  model.dispose()
})

test('splits are arrays of examples, or what rows were encoded to', async () => {
  const losses = async (data: TrainData) => {
    const model = tinyModel()
    const events = await runToEnd(tinyLora(model), data, short)
    model.dispose()
    return eventsOf(events, 'step').map(({ loss }) => loss)
  }
  const encoded = (examples: Example[]) => ({ examples, truncated: 0, lostWords: 0, tokens: 0, unknown: 0 })
  const { train, validation } = good
  assert.equal(await losses({ train: encoded(train), validation: encoded(validation) }), await losses(good))
})

test('warned of', async () => {
  assert.equal(await warnings(good), [])
  assert.equal(await warnings({ ...good, test: [] }), ['empty-split'])
  assert.equal(await warnings(good, { lr: 2e-5 }), ['low-lr'])
  assert.equal(await warnings(good, { lr: 5e-4 }, true), ['high-lr'])
  assert.equal(await warnings(good, { warmup: 500 }), ['long-warmup'])
  assert.equal(await warnings({ train: good.train.map((e, i) => ({ ...e, truncated: i % 3 === 0 })) }), ['truncated'])
  assert.equal(await warnings({ train: good.train.map((e, i) => ({ ...e, truncated: i % 4 === 0 })) }), [])
  assert.equal(await warnings({ ...good, validation: good.train.map(e => ({ ...e, label: 1 })) }), ['one-class'])
  assert.equal(await warnings({ train: good.train.map((e, i) => ({ ...e, label: i % 2 })) }), ['missing-class'])
})

test('what is no entity weighs 0.4 where nothing is said: the run is that of these weights, and not that of none', async () => {
  const lossesOf = async (labels: string[], options: TrainOptions) => {
    const model = tinyModel({ task: 'token-classification', labels })
    const events = await runToEnd(tinyLora(model), { train: sentences(8) }, { ...short, ...options })
    model.dispose()
    return eventsOf(events, 'step').map(({ loss }) => loss)
  }
  const weights = TAGS.map(tag => (tag === 'O' ? 0.4 : 1))
  const usual = await lossesOf(TAGS, {})
  assert.equal(usual, await lossesOf(TAGS, { classWeights: weights }))
  assert.not.equal(usual, await lossesOf(TAGS, { classWeights: 'none' }))
  const words = TAGS.map((_, i) => `WORD${i}`)
  assert.equal(await lossesOf(words, {}), await lossesOf(words, { classWeights: 'none' }))
})

test('balanced class weights are those of scikit-learn', () => {
  const model = tinyModel()
  const labelled = [0, 0, 0, 1, 2, 2].map(label => ({ ...good.train[0]!, label }))
  assert.equal(resolveClassWeights(model, labelled, 'balanced'), [6 / 9, 2, 1])
  assert.is(resolveClassWeights(model, labelled, 'none'), undefined)
  assert.equal(resolveClassWeights(model, labelled.slice(0, 4), 'balanced'), [4 / 6, 2, 0])
  model.dispose()
  const multi = tinyModel({ problem: 'multi' })
  const rows = [
    [1, 0, 1],
    [0, 0, 1],
    [0, 0, 1],
    [0, 1, 1],
  ].map(label => {
    return { ...good.train[0]!, label: Float32Array.from(label) }
  })
  assert.equal(resolveClassWeights(multi, rows, 'balanced'), [3, 3, 1])
  assert.ok(metricNames(multi).includes('hammingLoss'))
  multi.dispose()
})

test.run()
