// Sequences side by side, beams and penalties.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Decoder } from '../../lib/generate/decoder.ts'
import { complete, generate, generateTokens } from '../../lib/generate/generate.ts'
import { choiceOf, type TokenOptions } from '../../lib/generate/options.ts'
import { adjust, countAbove } from '../../lib/generate/penalties.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import { attach, type Method, prefixTuning, promptEncoder, promptTuning } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { logitsOf } from '../peft/golden.ts'
import { chatModelFolder } from '../support/chatModel.ts'

const MODELS = join(packageRoot, 'test/golden/models')
const load = (name = 'llama-lm') => loadModel(join(MODELS, name), { task: 'causal-lm' })

const named = ({ kind, options }: Method) => `${kind.title}${options.prefixProjection ? ' with projection' : ''}`

async function alone(model: Model, prompt: readonly number[], options: TokenOptions): Promise<number[]> {
  const ids: number[] = []
  for await (const id of generateTokens(model, Int32Array.from(prompt), options)) ids.push(id)
  return ids
}

interface Case {
  model: string
  prompt: number[]
  options: TokenOptions
  ends: number[]
  texts: number[][]
}
const cases = JSON.parse(readFileSync(join(packageRoot, 'test/golden/generate/beams.json'), 'utf8')) as Case[]
for (const name of new Set(cases.map(({ model }) => model)))
  test(`${name}: beams and penalties say what transformers says`, async () => {
    const model = await load(name)
    for (const { prompt, options, ends, texts } of cases.filter(one => one.model === name)) {
      const all = { ...options, maxNewTokens: 12, endIds: ends }
      const where = JSON.stringify({ options, ends })
      assert.equal(await alone(model, prompt, all), texts[0], where)
      if (options.beams === undefined) continue
      const decoder = new Decoder(model)
      assert.equal(await decoder.beams(Int32Array.from(prompt), choiceOf(model, all)), texts, where)
      await decoder.close()
    }
    model.dispose()
  })

const prompts = [[5], [7, 23, 41, 11, 30, 8], [9, 12], [3, 3, 3, 3, 8, 9, 10, 4, 5], [17, 6, 20]]

for (const name of ['llama-lm', 'gpt2-lm', 'mistral-lm'])
  for (const method of [
    promptTuning({ numVirtualTokens: 3 }),
    promptEncoder({ numVirtualTokens: 3, encoderHiddenSize: 8 }),
    prefixTuning({ numVirtualTokens: 3 }),
    prefixTuning({ numVirtualTokens: 3, prefixProjection: true, encoderHiddenSize: 8 }),
  ])
    test(`${name}: after ${named(method)} the cache says what passes over whole texts say`, async () => {
      const before = native.live()
      const model = await load(name)
      const adapter = attach(model, method)
      for (const [i, { tensor, size }] of adapter.trainable.entries())
        tensor.upload(Float32Array.from({ length: size }, (_, j) => Math.sin(i * 3.1 + j * 1.7)))
      const expected = await Promise.all(
        prompts.map(async prompt => {
          const ids = [...prompt]
          for (let step = 0; step < 6; step++) {
            const logits = scope(() => model.logits(pack([Int32Array.from(ids)])))
            const last = (await logits.data()).slice(-model.head.outputs)
            logits.dispose()
            ids.push(last.indexOf(Math.max(...last)))
          }
          return ids.slice(prompt.length)
        }),
      )
      const decoder = new Decoder(model, { sequences: 3 })
      const options = { maxNewTokens: 6, endIds: [] }
      const found = await Promise.all(
        prompts.map(async prompt => {
          const ids: number[] = []
          for await (const id of decoder.tokens(Int32Array.from(prompt), choiceOf(model, options))) ids.push(id)
          return ids
        }),
      )
      assert.equal(found, expected)
      const [best] = await decoder.beams(Int32Array.from(prompts[1]!), choiceOf(model, { ...options, beams: 1 }))
      assert.equal(best, expected[1])
      await decoder.close()
      const first = () => logitsOf(model, pack([Int32Array.from(prompts[0]!)]))
      const answered = await first()
      adapter.setActive(false)
      assert.not.equal(await first(), answered)
      model.dispose()
      assert.is(native.live(), before)
    })

test('sequences of any lengths go side by side, join and leave, and each is as it is alone', async () => {
  const before = native.live()
  const model = await load()
  for (const options of [{}, { temperature: 1.2, seed: 3 }, { temperature: 1, topK: 9, minP: 0.02, seed: 8 }]) {
    for (const sequences of [1, 2, 3, 8]) {
      const decoder = new Decoder(model, { sequences })
      const found = await Promise.all(
        prompts.map(async (prompt, i) => {
          const own = { ...options, maxNewTokens: 4 + 3 * i, endIds: [11] }
          const ids: number[] = []
          for await (const id of decoder.tokens(Int32Array.from(prompt), choiceOf(model, own))) ids.push(id)
          assert.equal(ids, await alone(model, prompt, own), `${sequences} at a time, prompt ${i}`)
          return ids
        }),
      )
      assert.ok(new Set(found.map(String)).size > 2)
      await decoder.close()
    }
  }
  model.dispose()
  assert.is(native.live(), before, 'every tensor is freed')
})

test('one that is read no more, or aborted, leaves the others as they are', async () => {
  const model = await load()
  const options = { maxNewTokens: 15, endIds: [] }
  const expected = await alone(model, prompts[2]!, options)
  const before = native.live()
  const decoder = new Decoder(model, { sequences: 4 })
  const control = new AbortController()
  const read = async (prompt: readonly number[], most: number, signal?: AbortSignal) => {
    const ids: number[] = []
    for await (const id of decoder.tokens(Int32Array.from(prompt), choiceOf(model, { ...options, signal }))) {
      if (ids.push(id) === 3) control.abort(new Error('enough'))
      if (ids.length === most) break
    }
    return ids
  }
  const [first, second, third] = await Promise.allSettled([
    read(prompts[0]!, 2),
    read(prompts[1]!, 99, control.signal),
    read(prompts[2]!, 99),
  ])
  assert.is((first as PromiseFulfilledResult<number[]>).value.length, 2)
  assert.match(String((second as PromiseRejectedResult).reason), /enough/)
  assert.equal((third as PromiseFulfilledResult<number[]>).value, expected)
  await decoder.close()
  assert.is(native.live(), before, 'the cache is freed')
  model.dispose()
})

test('samples of one prompt differ, and follow the seed however many go at a time', async () => {
  const folder = await chatModelFolder()
  const [model, tokenizer] = [await loadModel(folder, { task: 'causal-lm' }), await loadTokenizer(folder)]
  const messages = [{ role: 'user', content: 'hello' }]
  const options = { n: 3, temperature: 1, maxNewTokens: 12, seed: 5 }
  const all = await complete(model, tokenizer, ['one', messages, 'three four'], options)
  assert.equal(await complete(model, tokenizer, ['one', messages, 'three four'], { ...options, batchSize: 2 }), all)
  assert.equal((await complete(model, tokenizer, [messages], options))[0], all[1])
  assert.is(new Set(all.flat().map(({ text }) => text)).size, 9)
  assert.not.equal((await complete(model, tokenizer, ['one'], { ...options, seed: 6 }))[0], all[0])
  let text = ''
  for await (const piece of generate(model, tokenizer, messages, { temperature: 1, maxNewTokens: 12, seed: 5 }))
    text += piece.text
  assert.is(text, all[1]![0]!.text)
  const beams = await complete(model, tokenizer, ['one'], { n: 2, beams: 3, maxNewTokens: 5 })
  assert.is(beams[0]!.length, 2)
  const refused = (more: object) => complete(model, tokenizer, ['a'], more).catch(e => e.message)
  assert.match(await refused({ n: 3, beams: 2 }), /n: 3 texts of 2 beams/)
  assert.match(await refused({ temprature: 1 }), /temprature: is no option of complete \(did you mean "temperature"/)
  assert.match(await refused({ topP: 0 }), /topP: 0, expected a number from/)
  const wrong = (prompt: unknown) =>
    complete(model, tokenizer, [prompt as string]).then(String, e => `${e.code} ${e.message}`)
  assert.match(await wrong(3), /^ERR_OPTION prompt: 3 is no text and no list of messages/)
  assert.match(await wrong([{ rolle: 'user' }]), /^ERR_OPTION prompt: \[\{"rolle":"user"\}\] is no text/)
  model.dispose()
})

test('penalties change the scores of tokens that are there, as they are defined', async () => {
  const model = await load()
  const choice = (options: TokenOptions) => choiceOf(model, options)
  const history = { ids: [1, 2, 3, 2, 3], begin: 2 }
  const changed = (options: TokenOptions) => {
    const scores = Float64Array.of(1, 2, -1, 4, 0.5)
    adjust(scores, history, choice(options))
    return [...scores]
  }
  assert.equal(changed({ repetitionPenalty: 2 }), [1, 1, -2, 2, 0.5])
  assert.equal(changed({ frequencyPenalty: 0.5 }), [1, 2, -1.5, 3, 0.5])
  assert.equal(changed({ presencePenalty: 0.5 }), [1, 2, -1.5, 3.5, 0.5])
  assert.equal(changed({ noRepeatNgram: 3 }), [1, 2, Number.NEGATIVE_INFINITY, 4, 0.5])
  assert.equal(changed({ noRepeatNgram: 1 }), [1, ...Array(3).fill(Number.NEGATIVE_INFINITY), 0.5])
  assert.is(countAbove(Float64Array.of(0, Math.log(0.5), Math.log(0.2)), 0.4, 1), 2)
  assert.is(countAbove(Float64Array.of(0, Math.log(0.5), Math.log(0.2)), 0.4, 2), 3)
  model.dispose()
})

test('minP leaves out what is unlikely, and nothing else', async () => {
  const model = await load()
  const seen = async (options: TokenOptions) => {
    const found = new Set<number>()
    for (let seed = 0; seed < 60; seed++) {
      const [id] = await alone(model, [5, 6], { ...options, temperature: 1, maxNewTokens: 1, seed, endIds: [] })
      found.add(id!)
    }
    return found
  }
  const [all, some, one] = [await seen({}), await seen({ minP: 0.6 }), await seen({ minP: 1 })]
  const [greedy] = await alone(model, [5, 6], { maxNewTokens: 1, endIds: [] })
  assert.equal([...one], [greedy])
  assert.ok(some.size > 1 && some.size < all.size, `${one.size} ${some.size} ${all.size}`)
  assert.equal(await seen({ minP: 0.6, topK: 1 }), one)
  model.dispose()
})

test.run()
