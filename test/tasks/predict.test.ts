// Rows that are longer than a model reads, and answers that are no numbers.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toRows } from '../../lib/data/row.ts'
import { textWindows, wordWindows } from '../../lib/tasks/windows.ts'
import { Tensor } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { evaluate, packAll } from '../../lib/train/evaluate.ts'
import { predictRows } from '../../lib/train/predict.ts'
import { sequences, TAGS, tinyModel } from '../train/support.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))
const big = { vocab_size: tokenizer.vocabSize }
const [row] = toRows([{}])

test('windows cover every token, and overlap', () => {
  const text = Array.from({ length: 40 }, (_, i) => `raining ${i}`).join(' ')
  const tokens = tokenizer.tokens(text)
  const windows = textWindows(row!, text, tokenizer, 18)
  const { cls, sep } = tokenizer.specials
  for (const { ids } of windows) {
    assert.ok(ids.length <= 18)
    assert.equal([ids[0], ids.at(-1)], [cls, sep])
  }
  const step = 12
  const joined = windows.flatMap(({ ids }, i) => [...ids.slice(1, i === windows.length - 1 ? -1 : 1 + step)])
  assert.equal(joined, tokens)
  assert.ok(windows.length > 4)
})

test('words of every window count in the sentence', () => {
  const words = Array.from({ length: 37 }, (_, i) => (i % 3 ? 'is' : 'internationalisation'))
  const windows = wordWindows(row!, words, tokenizer, 20)
  const seen = new Set(windows.flatMap(({ wordIds }) => [...wordIds!].filter(word => word >= 0)))
  assert.is(seen.size, 37)
  for (const { ids } of windows) assert.ok(ids.length <= 20)
  assert.is(wordWindows(row!, ['is', 'it'], tokenizer, 20).length, 1)
})

test('a long sentence has a tag for each word, a long text one answer', async () => {
  const words = Array.from({ length: 90 }, (_, i) => (i % 2 ? 'raining' : 'is'))
  const tagger = tinyModel({ task: 'token-classification', labels: TAGS }, big)
  const records = []
  const rows = toRows([{ tokens: words }, { tokens: ['it', 'is'] }])
  for await (const record of predictRows({ model: tagger, tokenizer, maxLength: 24 }, rows)) records.push(record)
  assert.equal(
    records.map(({ tags }) => (tags as string[]).length),
    [90, 2],
  )
  assert.ok((records[0]!.windows as number) > 3)
  assert.is(records[1]!.windows, undefined)
  tagger.dispose()
  const model = tinyModel({}, big)
  const found = []
  const texts = toRows([{ text: words.join(' ') }, { text: 'it is' }])
  for await (const record of predictRows({ model, tokenizer, maxLength: 24 }, texts)) found.push(record)
  assert.is(found.length, 2)
  assert.ok((found[0]!.windows as number) > 3 && found[0]!.label !== undefined)
  const pairs = toRows([{ text: words.join(' '), text2: 'it is' }])
  for await (const record of predictRows({ model, tokenizer, maxLength: 24 }, pairs)) assert.is(record.truncated, true)
  model.dispose()
})

test('masks are told with the likeliest tokens, and a text without one is refused', async () => {
  const model = tinyModel({ task: 'masked-lm' }, big)
  const predictor = { model, tokenizer, maxLength: 24 }
  const mask = tokenizer.token(tokenizer.specials.mask!)
  const [text] = toRows([{ text: `it ${mask} ${mask}` }])
  for await (const record of predictRows(predictor, [text!], { top: 3 })) {
    const tokens = record.tokens as { top: { probability: number }[] }[]
    assert.equal(
      tokens.map(({ top }) => top.length),
      [3, 3],
    )
    assert.ok(tokens.every(({ top }) => top[0]!.probability >= top[1]!.probability))
  }
  const none = async () => {
    for await (const record of predictRows(predictor, toRows([{ text: 'it is' }]))) assert.unreachable(record.text)
  }
  const error = await none().catch(e => e)
  assert.match(error.message, /"it is" \(row 1\) has no \[MASK\] token/)
  model.dispose()
})

test('logits that are no numbers are refused', async () => {
  const model = tinyModel()
  const bias = model.parameters.get('classifier.bias')!.tensor
  bias.upload(Float32Array.of(0, Number.NaN, 0))
  const error = await evaluate(model, sequences(3)).catch(e => e)
  assert.is(error.code, 'ERR_CHECKPOINT')
  assert.match(error.message, /a logit is NaN/)
  model.dispose()
})

test('label smoothing of several labels is the loss of smoothed targets', async () => {
  const model = tinyModel({ problem: 'multi' })
  const examples = sequences(6).map((e, i) => ({ ...e, label: Float32Array.of(i % 2, 1, 0) }))
  const { predictions } = await evaluate(model, examples)
  const targets = model.head.collate(examples)!
  const smoothing = 0.3
  const batch = packAll(model, examples)
  const hidden = Tensor.from(new Float32Array(6 * 32).fill(0.1), [6, 32])
  const [plain, smooth] = [0, smoothing].map(labelSmoothing => {
    return model.head.loss(hidden, Tensor.from(targets.values, [6, 3]), { total: 18, labelSmoothing }, batch)
  })
  const logits = (await model.head.logits(hidden).data()) as Float32Array
  const bce = (z: number, t: number) => Math.max(z, 0) - z * t + Math.log1p(Math.exp(-Math.abs(z)))
  const mean = (epsilon: number) =>
    Array.from(targets.values).reduce((sum, t, i) => sum + bce(logits[i]!, t * (1 - epsilon) + epsilon / 2) / 18, 0)
  assert.ok(Math.abs((await plain!.item()) - mean(0)) < 1e-6)
  assert.ok(Math.abs((await smooth!.item()) - mean(smoothing)) < 1e-6)
  assert.is(predictions.length, 6)
  for (const tensor of [hidden, plain!, smooth!]) tensor.dispose()
  model.dispose()
})

test.run()
