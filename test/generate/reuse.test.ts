// Keys and values in pages: who shares them, who may not, and how many there are.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Decoder, type DecoderOptions } from '../../lib/generate/decoder.ts'
import { complete } from '../../lib/generate/generate.ts'
import { KvCache } from '../../lib/generate/kvCache.ts'
import { choiceOf, type TokenOptions } from '../../lib/generate/options.ts'
import { PAGE, Pages } from '../../lib/generate/pages.ts'
import { Prefixes } from '../../lib/generate/prefixes.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { turnsByLength } from '../../lib/nn/rope.ts'
import { attach, lora } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { chatModelFolder } from '../support/chatModel.ts'
import { compare } from '../support/compare.ts'

const MODELS = join(packageRoot, 'test/golden/models')
const load = (name = 'llama-lm') => loadModel(join(MODELS, name), { task: 'causal-lm' })

const text = (count: number, of = 0) => Array.from({ length: count }, (_, i) => 4 + ((7 * i + 3 * of + i * i) % 50))

async function said(decoder: Decoder, model: Model, prompt: readonly number[], options: TokenOptions = {}) {
  const ids: number[] = []
  const choice = choiceOf(model, { maxNewTokens: 4, endIds: [], ...options })
  for await (const id of decoder.tokens(Int32Array.from(prompt), choice)) ids.push(id)
  return ids
}

/** What follows prompts one after the other, and how many tokens of them were read. */
async function inTurn(model: Model, prompts: readonly (readonly number[])[], options: DecoderOptions) {
  const decoder = new Decoder(model, options)
  const texts: number[][] = []
  for (const prompt of prompts) texts.push(await said(decoder, model, prompt))
  const [read, bytes] = [decoder.promptTokens, decoder.cacheBytes]
  await decoder.close()
  return { texts, read, bytes }
}

for (const name of [
  'llama-lm',
  'gpt2-lm',
  'gemma2-lm',
  'gemma3-lm',
  'mistral-lm',
  'neox-lm',
  'opt-lm',
  'phi3-lm',
  'qwen3-lm',
])
  test(`${name}: logits after a shared beginning are those of whole texts`, async () => {
    const before = native.live()
    const model = await load(name)
    const [whole, other] = [text(25), [...text(21), 9, 8, 7]]
    for (const cacheType of ['f32', 'bf16'] as const) {
      const cache = new KvCache(model.backbone.layers, { device: model.device, cacheType, reuse: 64 })
      const next = async (given: readonly (readonly number[])[], past: readonly number[]) => {
        const positions = given.flatMap((ids, i) => ids.map((_, t) => (past[i] ?? 0) + t))
        const lengths = [0, ...given.map(ids => ids.length)]
        const cuSeqlens = Int32Array.from(lengths, (_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b, 0))
        const ids = Int32Array.from(given.flat())
        const batch = { ids, positions: Int32Array.from(positions), cuSeqlens, maxLength: Math.max(...lengths) }
        return await scope(() => ({ read: model.next(batch, cache).f32() })).read
      }
      cache.begin(Int32Array.of(25))
      const expected = await next([whole], [0])
      cache.keep(0, 'a', whole)
      cache.drop(0)
      const prefixes = [cache.find('a', whole), cache.find('a', other), cache.find('b', whole)]
      assert.equal(
        prefixes.map(({ length, pages }) => [length, pages.length]),
        [
          [24, 2],
          [21, 2],
          [0, 0],
        ],
      )
      cache.begin(Int32Array.of(1, 3), prefixes)
      const found = await next([whole.slice(24), other.slice(21)], [24, 21])
      cache.drop(1)
      cache.drop(0)
      cache.begin(Int32Array.of(24))
      const apart = await next([other], [0])
      const bound = { relative: cacheType === 'f32' ? 1e-5 : 2e-2 }
      compare(`${cacheType}, the same text`, found.slice(0, expected.length), expected, bound)
      compare(`${cacheType}, another`, found.slice(expected.length), apart, bound)
      cache.dispose()
    }
    model.dispose()
    assert.is(native.live(), before, 'every tensor is freed')
  })

test('prompts with one beginning read it once, whether they come together or one by one', async () => {
  const model = await load()
  const [start, other] = [text(18), text(20, 5)]
  const prompts = [[...start, 5], [...start, 7, 9], other, [...start, 5, 6, 7]]
  const without = await inTurn(model, prompts, {})
  assert.is(without.read, 19 + 20 + 20 + 21)
  const reused = await inTurn(model, prompts, { reuse: 256 })
  assert.equal(reused.texts, without.texts)
  assert.is(reused.read, 19 + 2 + 20 + 2, 'one token is always read: the text of the first prompt begins the last one')
  const decoder = new Decoder(model, { reuse: 256 })
  assert.equal(await Promise.all(prompts.map(prompt => said(decoder, model, prompt))), without.texts)
  assert.is(decoder.promptTokens, 19 + 2 + 20 + 2)
  await decoder.close()
  model.dispose()
})

test('samples of one prompt read its last token alone, and are as they are without sharing', async () => {
  const folder = await chatModelFolder()
  const [model, tokenizer] = [await loadModel(folder, { task: 'causal-lm' }), await loadTokenizer(folder)]
  const options = { n: 5, temperature: 1, maxNewTokens: 6, seed: 3 }
  const prompt = [{ role: 'user', content: 'one two three four five six seven eight nine ten' }]
  const shared = await complete(model, tokenizer, [prompt, 'one'], options)
  assert.equal(shared, await complete(model, tokenizer, [prompt, 'one'], { ...options, reuse: 0 }))
  assert.is(new Set(shared.flat().map(one => one.text)).size, 10)
  const decoder = new Decoder(model, { reuse: 512 })
  const ids = text(20)
  const drawn = (sample: number) => said(decoder, model, ids, { temperature: 1, seed: 1, sample })
  await Promise.all([0, 1, 2, 3].map(drawn))
  assert.is(decoder.promptTokens, 20 + 3)
  await decoder.close()
  model.dispose()
})

test('a second turn reads what is new: not the first one, nor what was answered', async () => {
  const model = await load()
  const first = text(17)
  const [answer] = (await inTurn(model, [first], {})).texts
  const second = [...first, ...answer!, 30, 31]
  const { texts, read } = await inTurn(model, [first, second], { reuse: 64 })
  assert.is(read, 17 + 3, 'the last token of the answer was said, and not read yet')
  assert.equal(texts, (await inTurn(model, [first, second], {})).texts)
  model.dispose()
})

test('what adapters made is for the same adapters alone', async () => {
  const model = await load()
  const adapter = attach(model, lora({ r: 2, targetModules: ['q_proj', 'v_proj'] }))
  for (const { tensor, size } of adapter.trainable)
    tensor.upload(Float32Array.from({ length: size }, (_, j) => Math.sin(j)))
  const ids = text(20)
  const decoder = new Decoder(model, { reuse: 256 })
  const seen: number[][] = []
  for (const [isActive, read] of [
    [true, 20],
    [false, 40],
    [true, 41],
    [false, 42],
  ] as const) {
    adapter.setActive(isActive)
    seen.push(await said(decoder, model, ids))
    assert.is(decoder.promptTokens, read)
  }
  assert.equal([seen[2], seen[3]], [seen[0], seen[1]])
  assert.not.equal(seen[0], seen[1])
  await decoder.close()
  model.dispose()
})

test('models whose keys follow the length of the text share none', async () => {
  const model = await load('phi3-lm-longrope')
  const ids = text(20)
  assert.is((await inTurn(model, [ids, ids], { reuse: 256 })).read, 40)
  model.dispose()
  const followers = { 'llama-lm-dynamic': true, 'llama-lm-yarn': false, 'gpt2-lm': false, 'gemma3-lm': false }
  for (const [name, follows] of Object.entries(followers)) {
    const other = await load(name)
    assert.is(turnsByLength(other.config), follows, name)
    other.dispose()
  }
})

test('memory is bounded: what was not used for longest goes, and room that nobody needs', async () => {
  const before = native.live()
  const model = await load()
  const width = 2 * 8
  const pageBytes = 2 * model.backbone.layers * PAGE * width * 4
  const prompts = Array.from({ length: 9 }, (_, i) => text(20 + (i % 3), 4 * i))
  const { read, bytes } = await inTurn(model, [...prompts, ...prompts], { reuse: 4 * PAGE })
  assert.is(read, 2 * 189)
  assert.ok(bytes >= 4 * pageBytes && bytes <= 8 * pageBytes, `${bytes / pageBytes} pages for 4`)
  const halved = await inTurn(model, [...prompts, ...prompts], { reuse: 4 * PAGE, cacheType: 'bf16' })
  assert.is(halved.bytes, bytes / 2)
  assert.is((await inTurn(model, prompts, {})).bytes, 0)
  const kept = await inTurn(model, [prompts[0]!, prompts[1]!, prompts[0]!, prompts[2]!, prompts[0]!], {
    reuse: 4 * PAGE,
  })
  assert.is(kept.read, 20 + 21 + 1 + 22 + 1, 'what was used last stays')
  model.dispose()
  assert.is(native.live(), before)
})

test('pages of texts of any lengths are used again', async () => {
  const model = await load()
  const decoder = new Decoder(model, { sequences: 3 })
  const alone = async (length: number) => said(decoder, model, text(length, length), { maxNewTokens: 1 + (length % 7) })
  let most = 0
  const watch = async (length: number) => {
    const ids = await alone(length)
    most = Math.max(most, decoder.cacheBytes)
    return ids
  }
  const lengths = [3, 17, 1, 22, 9, 16, 5, 24, 2, 18, 11, 1, 20]
  const found = await Promise.all(lengths.map(watch))
  const pageBytes = 2 * model.backbone.layers * PAGE * 16 * 4
  assert.ok(most <= 3 * 3 * pageBytes, `${most / pageBytes} pages of three texts of at most two each`)
  for (const [i, length] of lengths.entries()) assert.equal(await alone(length), found[i])
  await decoder.close()
  model.dispose()
})

test('a page that two hold is free when both let go, and what is compact keeps its order', () => {
  const pages = new Pages()
  assert.is(pages.take(), undefined)
  pages.grow(4)
  const [a, b, c] = [pages.take()!, pages.take()!, pages.take()!]
  assert.equal([a, b, c], [0, 1, 2])
  pages.hold(b)
  pages.release(b)
  assert.is(pages.isShared(b), false)
  pages.release(a)
  assert.equal([pages.held, pages.count], [2, 4])
  assert.equal(pages.compact(), [1, 2])
  assert.equal([pages.held, pages.count, pages.take()], [2, 2, undefined])
  assert.throws(() => pages.release(7), /nobody holds page 7/)
})

test('of texts that begin alike the longest beginning is found, whatever was kept first', () => {
  const pages = new Pages()
  pages.grow(32)
  const prefixes = new Prefixes(pages, 100)
  const keep = (ids: readonly number[]) => {
    const own = Array.from({ length: Math.ceil(ids.length / PAGE) }, () => pages.take()!)
    prefixes.keep('k', ids, own)
    for (const page of own) pages.release(page)
  }
  const long = text(40)
  keep(long.slice(0, 10))
  keep(long)
  keep(long.slice(0, 20))
  keep([...long.slice(0, 20), 1, 2, 3, 4])
  assert.is(prefixes.count, 4, 'three pages of the longest, and one that goes on otherwise')
  assert.is(pages.held, 4)
  assert.is(prefixes.find('k', long, 40).length, 40)
  assert.is(prefixes.find('k', long, 30).length, 30)
  assert.is(prefixes.find('k', [...long.slice(0, 20), 1, 2, 9], 22).length, 22)
  assert.is(prefixes.find('k', [9, 9], 2).length, 0)
  assert.is(prefixes.find('j', long, 40).length, 0)
})

test.run()
