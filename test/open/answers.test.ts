// What JavaScript may ask of an opened model at any time: a right answer or a coded error, never something in between.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attach, loadModel, lora, open, saveAdapter } from '../../lib/index.ts'
import { native } from '../../lib/native.ts'
import { rejects } from '../data/support.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { whole } from '../support/whole.ts'

const [reviews, tags, value] = [whole('bert-seq'), whole('bert-tok'), whole('bert-seq-regression')]
const DISPOSED = /^model: it was disposed of; open its folder again/

test('inputs of which a part would not be read', async () => {
  using model = await open(reviews)
  const told = (input: unknown, says: RegExp) => rejects(() => model.predict(input as never), 'ERR_OPTION', says)
  await told({ text: 'a', question: 'b' }, /^predict: input 1 has text and question; give a text, \{ text, text2 \}/)
  await told({ text: 'a', tokens: ['a'] }, /^predict: input 1 has text and tokens;/)
  await told({ question: 'a' }, /^predict: input 1 has question;/)
  await told({}, /^predict: input 1 has nothing;/)
  await told(Object.assign(new Array(2), { 1: 'a' }), /^predict: input 1 is missing; give a text/)
  await told(new String('a'), /^predict: input 1 is "a"; give a text/)
  await told(Buffer.from('a'), /^predict: input 1 is .*; give a text/)
  await told({ tokens: ['a', 7] }, /^predict: input 1 is \{"tokens":\["a",7\]\}; give/)
  await told({ text: 'a', text2: null }, /^predict: input 1 is \{"text":"a","text2":null\}; give/)
  assert.equal(await model.predict({ text: 'a', text2: undefined } as never), await model.predict('a'))
  assert.equal(await model.predict(Object.assign(Object.create(null), { text: 'a' })), await model.predict('a'))
  using tagger = await open(tags)
  await rejects(
    () => tagger.predict({ text: 'a', text2: 'b' }),
    'ERR_DATA',
    /pairs of texts, and a tagger reads one text/,
  )
})

test('a file, a URL, and a head for another task are no folder to open', async () => {
  const url = pathToFileURL(reviews)
  await rejects(() => open(url as never), 'ERR_OPTION', /is no path of a folder; give fileURLToPath\(url\)$/)
  await rejects(() => open(url.href), 'ERR_CONFIG', /is a URL; give its path, fileURLToPath\(url\)$/)
  await rejects(
    () => open(join(reviews, 'config.json')),
    'ERR_CONFIG',
    /is a file, neither GGUF nor a folder; name the/,
  )
  const other = () => open(reviews, { task: 'token-classification' })
  await rejects(
    other,
    'ERR_OPTION',
    /^task: token-classification, but the head of .* is one for sequence-classification/,
  )
})

test('options of saving that are no names and paths', async () => {
  const model = await loadModel(reviews, { task: 'sequence-classification' })
  const adapter = attach(model, lora({ r: 2 }))
  const told = (options: object, says: RegExp) =>
    rejects(() => saveAdapter(adapter, join(temporaryFolder(), 'out'), options), 'ERR_OPTION', says)
  await told({ tokenizer: { path: reviews } }, /^tokenizer: \{.*\}, expected a path/)
  await told({ baseModel: 7 }, /^baseModel: 7, expected a path/)
  await told({ name: '../out' }, /^name: "\.\.\/out" is no name of an adapter; use letters/)
  await told({ extra: [1] }, /^extra: \[1\] is no object/)
  model.dispose()
})

test('swaps come in the order asked for, and between batches however many wait', async () => {
  const live = native.live()
  const model = await open(reviews, { batchSize: 1 })
  await Promise.all([model.swap(tags), model.swap(value)])
  assert.is(model.labels.length, 1)
  // Somebody asks all the time: there is no moment without a call that waits.
  let isAsking = true
  const asks = Array.from({ length: 3 }, async () => {
    while (isAsking) await model.predict('a')
  })
  await model.swap(reviews)
  assert.is(model.labels.length, 3)
  isAsking = false
  await Promise.all(asks)
  model.dispose()
  assert.is(native.live(), live)
})

test('what is disposed of answers nothing, whatever was under way', async () => {
  const live = native.live()
  const model = await open(reviews)
  const calls = [...Array.from({ length: 3 }, () => model.predict('a b')), model.swap(tags)]
  await Promise.race([model.predict({ text: 'a', text2: 'b' }), new Promise(resolve => setImmediate(resolve))])
  model.dispose()
  for (const call of await Promise.allSettled(calls))
    if (call.status === 'rejected') await rejects(() => Promise.reject(call.reason), 'ERR_DISPOSED', DISPOSED)
  const [last] = await Promise.allSettled(calls.slice(-1))
  assert.is(last!.status, 'rejected')
  for (const ask of [() => model.predict('a'), () => model.swap(tags), () => model.generate('a')])
    await rejects(ask, 'ERR_DISPOSED', DISPOSED)
  assert.is(native.live(), live)
})

test.run()
