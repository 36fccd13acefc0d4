// An option that would change nothing where it stands is an error that says why.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { complete, evaluate, generate, loadModel, loadTokenizer, open, predict } from '../../lib/index.ts'
import { precisionRecallF1 } from '../../lib/metrics/classification.ts'
import { entityReport } from '../../lib/metrics/entities.ts'
import { native } from '../../lib/native.ts'
import { attach, lora } from '../../lib/peft/index.ts'
import { Tuner } from '../../lib/train/tuner.ts'
import { rejects } from '../data/support.ts'
import { MODELS } from '../peft/golden.ts'
import { chatModelFolder } from '../support/chatModel.ts'
import { whole } from '../support/whole.ts'

const [reviews, tags, value] = [whole('bert-seq'), whole('bert-tok'), whole('bert-seq-regression')]
const refused = (call: () => unknown, says: RegExp) => rejects(async () => await call(), 'ERR_OPTION', says)

test('base and revision of a whole model, and a cache of one that says nothing', async () => {
  const live = native.live()
  await refused(() => open(reviews, { model: tags }), /^model: ".*bert-tok" has no effect on .*, a whole model and no/)
  await refused(() => open(reviews, { revision: 'main' }), /^revision: "main" has no effect on .*; leave it out$/)
  await refused(() => open(reviews, { cacheType: 'bf16' }), /^cacheType: "bf16" has no effect on a model for sequence-/)
  await refused(() => open(reviews, { reuse: 9 }), /^reuse: 9 has no effect/)
  assert.is(native.live(), live)
})

test('what open was told of one folder is not said of another', async () => {
  using model = await open(tags, { labels: [...'vwxyz'], tokenizer: reviews })
  const own = await open(tags)
  await refused(() => model.swap(tags, { model: reviews }), /^model: .* has no effect/)
  await refused(() => model.swap(tags, { maxLength: 9 } as never), /^maxLength: is no option of swap/)
  await refused(() => model.swap(7 as never), /^swap: 7 is no path of a folder/)
  assert.equal(model.labels, [...'vwxyz'])
  await model.swap(tags)
  assert.equal(model.labels, own.labels)
  own.dispose()
})

test('more answers than one of what is not ranked', async () => {
  using tagger = await open(tags)
  using rater = await open(value)
  await refused(
    () => tagger.predict('a', { top: 2 }),
    /^top: 2 has no effect on token classification, whose answers are/,
  )
  await refused(() => rater.predict('a', { top: 2 }), /^top: 2 has no effect on regression/)
  using opened = await open(reviews)
  assert.is(((await opened.predict('a', { top: 2 })).top as unknown[]).length, 2)
})

test('options of a head on another', async () => {
  const load = (options: object) => loadModel(reviews, { task: 'sequence-classification', ...options } as never)
  const masked = join(MODELS, 'bert-mlm')
  await refused(
    () => loadModel(masked, { task: 'masked-lm', labels: ['a'] }),
    /^labels: \["a"\] has no effect on masked-lm/,
  )
  await refused(
    () => loadModel(masked, { task: 'masked-lm', problem: 'multi' }),
    /^problem: "multi" is none of a head for/,
  )
  await refused(() => load({ planFor: 'cuda' }), /^planFor: "cuda" has no effect on device cpu, which plans nothing/)
  await refused(() => load({ headRows: 'new' }), /^headRows: "new", expected one of byName, inOrder, anew/)
  const anew = await load({ headRows: 'anew' })
  assert.ok(anew.newTensors.includes('classifier.weight'), anew.newTensors.join())
  anew.dispose()
})

test('options of training and of evaluation', async () => {
  using model = await loadModel(reviews, { task: 'sequence-classification' })
  await refused(() => evaluate(model, [], { top: 3 } as never), /^top: is no option of evaluate/)
  const first = (options: object) => predict(model, [], options as never).next()
  await refused(() => first({ progress: () => {} }), /^progress: is no option of predict/)
  await refused(() => first({ say: 1 }), /^say: is no option of predict/)
  const scores = (options: object) => precisionRecallF1([0, 1], [0, 1], options as never)
  await refused(() => scores({ average: 'samples' }), /^average: "samples" is none; use micro, macro/)
  await refused(() => scores({}), /^average: .* is none; use micro/)
  await refused(() => scores({ average: 'macro', positive: 1 }), /^positive: 1 has no effect on the macro average/)
  await refused(
    () => scores({ average: 'binary', classes: [1] }),
    /^classes: \[1\] has no effect on the binary average/,
  )
  await refused(
    () => entityReport([['O']], [['O']], { mode: 'IOB2' as never }),
    /^mode: "IOB2" is none; use default or/,
  )
})

test('an answer in words ends when its model is disposed of', async () => {
  const model = await open(await chatModelFolder())
  const refusedBy = (options: object, says: RegExp) => refused(() => model.generate('a', options), says)
  await refusedBy({ endIds: 5 }, /^endIds: 5 is no list of ids/)
  await refusedBy({ signal: 'x' }, /^signal: "x" is none/)
  const turn = [{ role: 'user', content: 'a' }]
  await refused(
    () => model.generate(turn, { system: 'be brief' }),
    /^system: "be brief" has no effect on messages; put it/,
  )
  const stream = model.stream('a', { maxNewTokens: 50 })
  await stream.next()
  model.dispose()
  const rest = async () => {
    for await (const _ of stream);
  }
  await rejects(rest, 'ERR_DISPOSED', /^model: it was disposed of/)
})

test('what draws where nothing is drawn, and tools of a text', async () => {
  const folder = await chatModelFolder()
  const [model, tokenizer] = [await loadModel(folder, { task: 'causal-lm' }), await loadTokenizer(folder)]
  const say = (options: object) => generate(model, tokenizer, 'a', { maxNewTokens: 2, ...options }).next()
  for (const draws of [{ topK: 3 }, { topP: 0.5 }, { minP: 0.1 }])
    await refused(() => say(draws), /^(topK|topP|minP): [\d.]+ has no effect at temperature 0, .*; give a temperature/)
  await refused(() => say({ beams: 2, temperature: 1 }), /^temperature: 1 has no effect on 2 beams/)
  await refused(() => say({ lengthPenalty: 2 }), /^lengthPenalty: 2 has no effect without beams/)
  await refused(
    () => complete(model, tokenizer, ['a'], { tools: [] }),
    /^tools: \[\] has no effect on a text; give a conv/,
  )
  attach(model, lora({ r: 2 }), { name: 'own' })
  using tuner = new Tuner(model, { tokenizer })
  await refused(() => tuner.sample('own', 'a', { n: 2 } as never), /^n: is no option of sample/)
  await refused(() => tuner.optimStep('own', { learningRate: 1 } as never), /^learningRate: .* \(here it is "lr"\)/)
  assert.type((await tuner.sample('own', 'a', { maxNewTokens: 2, temperature: 1, topK: 3 })).text, 'string')
  model.dispose()
})

test.run()
