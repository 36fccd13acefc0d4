import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { generate, generateTokens } from '../../lib/generate/generate.ts'
import { KvCache } from '../../lib/generate/kvCache.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { scope } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { compare } from '../support/compare.ts'
import { shared } from '../support/shared.ts'

const MODELS = join(packageRoot, 'test/golden/models')
// Scalings that follow the length turn the keys of a cache otherwise than those of a whole sequence.
const CACHED = readdirSync(MODELS).filter(name => /-lm(-|$)/.test(name) && !/dynamic|longrope/.test(name))

const packed = (sequences: readonly (readonly number[])[], past: readonly number[] = sequences.map(() => 0)) => {
  const cuSeqlens = Int32Array.from([0, ...sequences].map((_, i) => sequences.slice(0, i).flat().length))
  const positions = Int32Array.from(sequences.flatMap((ids, i) => ids.map((_, t) => past[i]! + t)))
  return {
    ids: Int32Array.from(sequences.flat()),
    positions,
    cuSeqlens,
    maxLength: Math.max(...sequences.map(s => s.length)),
  }
}

for (const name of CACHED)
  test(`${name}: logits through a cache equal those of whole sequences`, async () => {
    const before = native.live()
    const model = await loadModel(join(MODELS, name), { task: 'causal-lm' })
    const texts = [
      [7, 23, 41, 11, 30, 8, 19, 44, 5],
      [9, 12, 33, 50, 6],
    ]
    const cache = new KvCache(model.backbone.layers, { device: model.device })
    const prompts = texts.map(ids => ids.slice(0, ids.length - 3))
    for (let step = 0; step <= 3; step++) {
      const given = step === 0 ? prompts : texts.map((ids, i) => [ids[prompts[i]!.length + step - 1]!])
      const past = step === 0 ? [0, 0] : [...cache.lengths]
      if (step === 0) cache.begin(Int32Array.from(given, ids => ids.length))
      else cache.advance()
      const { read } = scope(() => ({ read: model.next(packed(given, past), cache).data() }))
      const whole = texts.map((ids, i) => ids.slice(0, prompts[i]!.length + step))
      const { expected } = scope(() => ({ expected: model.logits(packed(whole)).data() }))
      const all = await expected
      const rows = packed(whole)
        .cuSeqlens.slice(1)
        .map(end => end - 1)
      const V = model.head.outputs
      const last = [...rows].flatMap(row => [...all.subarray(row * V, (row + 1) * V)])
      compare(`step ${step}`, await read, Float32Array.from(last), { relative: 1e-5 })
    }
    cache.dispose()
    model.dispose()
    assert.is(native.live(), before, 'every tensor is freed')
  })

interface Greedy {
  model?: string
  shared?: string
  prompt: number[]
  ids: number[]
}

async function tokens(model: Model, prompt: readonly number[], options: object): Promise<number[]> {
  const ids: number[] = []
  for await (const id of generateTokens(model, Int32Array.from(prompt), options)) ids.push(id)
  return ids
}

const greedy = JSON.parse(readFileSync(join(packageRoot, 'test/golden/generate/greedy.json'), 'utf8')) as Greedy[]
for (const { model: name, shared: weights, prompt, ids } of greedy)
  test(`${name ?? weights}: greedy tokens of [${prompt}] equal transformers'`, async () => {
    const dir = name ? join(MODELS, name) : shared(`weights/${weights}`)
    if (!dir || !existsSync(dir)) return console.log(`skip: ${weights} is not here`)
    const model = await loadModel(dir, { task: 'causal-lm' })
    assert.equal(await tokens(model, prompt, { maxNewTokens: ids.length, endIds: [] }), ids)
    model.dispose()
  })

const tiny = () => loadModel(join(MODELS, 'llama-lm'), { task: 'causal-lm' })

test('drawn tokens follow the seed; end ids end; an abort stops between tokens and frees the cache', async () => {
  const before = native.live()
  const model = await tiny()
  const drawn = (seed: number) =>
    tokens(model, [5, 6], { maxNewTokens: 20, temperature: 1.5, topP: 0.95, seed, endIds: [] })
  assert.equal(await drawn(1), await drawn(1))
  assert.is.not(String(await drawn(1)), String(await drawn(2)))
  assert.equal(
    await tokens(model, [5, 6], { maxNewTokens: 20, temperature: 1.5, topK: 1, endIds: [] }),
    await tokens(model, [5, 6], { maxNewTokens: 20, endIds: [] }),
  )
  const all = await tokens(model, [5, 6], { maxNewTokens: 8, endIds: [] })
  const at = all.indexOf(all[3]!)
  assert.equal(await tokens(model, [5, 6], { maxNewTokens: 8, endIds: [all[3]!] }), all.slice(0, at + 1))
  const control = new AbortController()
  const seen: number[] = []
  const error = await (async () => {
    for await (const id of generateTokens(model, Int32Array.of(5, 6), { endIds: [], signal: control.signal }))
      if (seen.push(id) === 2) control.abort()
  })().catch(e => e)
  assert.is(error, control.signal.reason)
  assert.is(seen.length, 2)
  for await (const _ of generateTokens(model, Int32Array.of(5, 6), { endIds: [] })) break
  model.dispose()
  assert.is(native.live(), before, 'every tensor is freed')
})

test('generation stops where positions end, and what cannot be is refused', async () => {
  const model = await tiny()
  const most = model.backbone.limits.maxPositions
  assert.is((await tokens(model, [5, 6], { maxNewTokens: 1000, endIds: [] })).length, most - 2)
  const refused = async (prompt: number[], options: object, code: string, message: RegExp) => {
    const error = await tokens(model, prompt, options).catch((e: LowrankError) => e)
    assert.is((error as LowrankError).code, code)
    assert.match((error as LowrankError).message, message)
  }
  await refused([], {}, 'ERR_OPTION', /a prompt of 0 tokens/)
  await refused(Array(most).fill(5), {}, 'ERR_OPTION', /a prompt of 32 tokens, expected 1 to 31/)
  await refused([5], { maxNewTokens: 0 }, 'ERR_OPTION', /maxNewTokens: 0/)
  model.dispose()
})

test('text comes in pieces that join to it, and ends before a stop string', async () => {
  const dir = shared('weights/TinyStories-656K')
  if (!dir) return console.log('skip: shared weights are not here')
  const model = await loadModel(dir, { task: 'causal-lm' })
  const tokenizer = await loadTokenizer(dir)
  const text = async (options: object) => {
    const pieces: string[] = []
    let finish: string | undefined
    for await (const piece of generate(model, tokenizer, 'Once upon a time', { maxNewTokens: 60, ...options })) {
      pieces.push(piece.text)
      finish = piece.finish
    }
    return { text: pieces.join(''), finish, pieces }
  }
  const whole = await text({})
  assert.ok(whole.text.length > 60 && /^[\w\s.,"'!?-]+$/.test(whole.text), whole.text)
  assert.ok(whole.pieces.length > 30)
  assert.is(whole.finish, 'length')
  const word = whole.text.slice(30, 36)
  const cut = await text({ stop: ['no such words', word] })
  assert.is(cut.text, whole.text.slice(0, whole.text.indexOf(word)))
  assert.is(cut.finish, 'stop')
  model.dispose()
})

test.run()
