// GGUF files as models: blocks as gguf-py dequantises them, decoders that hold what their Hugging Face folders hold,
// vocabularies that give the ids of the libraries they come from, and what is refused.

import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { type DType, native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import { dequantize } from '../../lib/ops/quantize.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { lora } from '../../lib/peft/lora.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { lastOf, nth, under } from '../../lib/tuple.ts'
import { logitsOf, tinyBatch, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { counting, eventsOf, runToEnd } from '../train/support.ts'

const FOLDER = join(packageRoot, 'test/golden/gguf')
const read = <T>(name: string) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as T
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64'))

interface Blocks {
  cases: Record<string, { shape: number[]; blocks: string; values: string }>
}

for (const [type, { shape, blocks, values }] of Object.entries(read<Blocks>('blocks.json').cases))
  test(`${type}: blocks stand for what gguf-py makes of them, bit for bit`, async () => {
    const before = native.live()
    const dtype = type.toLowerCase() as DType
    const expected = Buffer.from(values, 'base64')
    const [whole, wide] = [Tensor.empty(shape, { dtype }).keep(), Tensor.empty(shape).keep()]
    whole.upload(bytesOf(blocks), dtype)
    assert.is(whole.byteLength, bytesOf(blocks).length)
    wide.upload(bytesOf(blocks), dtype)
    const made = scope(() => dequantize(whole)).keep()
    for (const tensor of [made, wide]) assert.is(Buffer.compare(Buffer.from(await tensor.bytes()), expected), 0)
    for (const tensor of [whole, wide, made]) tensor.dispose()
    assert.is(native.live(), before)
  })

test('shapes that no blocks fill, and what would make blocks of numbers, are refused', () => {
  const code = (wanted: string, call: () => unknown, message: RegExp) =>
    assert.throws(call, (error: LowrankError) => error.code === wanted && message.test(error.message))
  code('ERR_SHAPE', () => Tensor.empty([4, 128], { dtype: 'q4_k' }), /rows of 128 elements as q4_k, .* multiple of 256/)
  code('ERR_SHAPE', () => Tensor.empty([64], { dtype: 'q8_0' }), /expected two dimensions/)
  scope(() => {
    const x = Tensor.zeros([2, 64])
    const w = Tensor.empty([2, 64], { dtype: 'q8_0' })
    code('ERR_DTYPE', () => w.upload(new Float32Array(128)), /no conversion from f32 to q8_0/)
    code('ERR_DTYPE', () => native.quantize(x.handle, 13), /to q8_0, expected int8 or nf4/)
  })
})

const F32 = { task: 'causal-lm', storage: 'f32' } as const
/** What those models have otherwise than any that llama.cpp converts, so that no file says it. */
const UNSAID: Readonly<Record<string, object>> = {
  'gemma2-lm': { query_pre_attn_scalar: 8 },
  'gemma3-lm': { query_pre_attn_scalar: 8, layer_types: null },
}
const close = new Set(['llama-lm-llama3', 'gemma-lm', 'gemma2-lm', 'gemma3-lm', 'phi3-lm-longrope'])

for (const file of readdirSync(join(FOLDER, 'models'))) {
  const name = file.replace('.gguf', '')
  test(`${name}: the GGUF file is the model of its Hugging Face folder`, async () => {
    const before = native.live()
    const folder = await withFolder(async dir => {
      const from = join(packageRoot, 'test/golden/models', name)
      const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8')) as object
      writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, ...UNSAID[name] }))
      cpSync(join(from, 'model.safetensors'), join(dir, 'model.safetensors'))
      return await loadModel(dir, { task: 'causal-lm' })
    })
    const models = [await loadModel(join(FOLDER, 'models', file), { task: 'causal-lm' }), folder] as const
    const [a, b] = models
    assert.equal([...a.parameters.keys()].sort(), [...b.parameters.keys()].sort())
    assert.is(a.newTensors.length, 0)
    // Files hold norms plus one in f32.
    const tolerance = close.has(name) ? { relative: 1e-5, absolute: 1e-6 } : { absolute: 0 }
    for (const [key, { tensor }] of a.parameters)
      compare(key, await tensor.f32(), await b.parameters.get(key)!.tensor.f32(), tolerance)
    const { batch } = tinyBatch(name)
    const [given, expected] = [await logitsOf(a, batch), await logitsOf(b, batch)]
    compare('logits', given, expected, close.has(name) ? { relative: 1e-4, absolute: 1e-5 } : { absolute: 0 })
    for (const model of models) model.dispose()
    assert.is(native.live(), before)
  })
}

test('a Llama of blocks of every type is, dequantised, what gguf-py makes of it', async () => {
  const model = await loadModel(join(FOLDER, 'blocks.gguf'), { task: 'causal-lm', storage: 'f32' })
  const sums = read<Record<string, string>>('blocks-f32.json')
  assert.is(model.parameters.size, Object.keys(sums).length)
  for (const [name, { tensor }] of model.parameters) {
    const sum = createHash('sha256').update(new Uint8Array(await tensor.bytes()))
    assert.is(sum.digest('hex'), sums[name], name)
  }
  model.dispose()
})

test('blocks are kept as they are: in memory, in products, and beside an adapter that trains', async () => {
  const before = native.live()
  const path = join(FOLDER, 'blocks.gguf')
  const [kept, wide] = [await loadModel(path, { task: 'causal-lm' }), await loadModel(path, F32)] as const
  assert.is(kept.storage, 'blocks')
  const of = (name: string) => under(kept.parameters, name).tensor.dtype
  assert.is(of('model.embed_tokens.weight'), 'q8_0')
  assert.is(of('model.layers.0.self_attn.q_proj.weight'), 'q4_k')
  assert.is(of('model.layers.0.mlp.gate_proj.weight'), 'q2_k')
  assert.is(of('model.layers.0.input_layernorm.weight'), 'f32')
  assert.ok(kept.bytes < wide.bytes / 5, `${kept.bytes} bytes of ${wide.bytes}`)
  for (const lengths of [[3], [7, 11, 1], [40, 40]]) {
    const ids = lengths.map((length, s) => Int32Array.from({ length }, (_, i) => (i * 7 + s * 3) % 40))
    const batch = pack(ids)
    compare('logits', await logitsOf(kept, batch), await logitsOf(wide, batch), { relative: 1e-5, absolute: 1e-6 })
  }
  const data = { train: counting(24), validation: counting(8) }
  const losses = async (model: Model) => {
    const adapter = attach(model, lora({ r: 4, targetModules: 'all-linear' }), { seed: 3 })
    const events = await runToEnd(adapter, data, { epochs: 3, batchSize: 8, lr: 1e-2, seed: 7 })
    adapter.detach()
    return eventsOf(events, 'step').map(({ loss }) => loss)
  }
  const [ours, theirs] = [await losses(kept), await losses(wide)]
  compare('losses', ours, theirs, { relative: 1e-4 })
  assert.ok(lastOf(ours) < 0.9 * nth(ours, 0), ours.join(', '))
  for (const model of [kept, wide]) model.dispose()
  assert.is(native.live(), before)
})

test('storage: blocks need a file that has them, and are neither trained whole nor written', async () => {
  const path = join(FOLDER, 'blocks.gguf')
  const code = (wanted: string, message: RegExp) => (error: LowrankError) =>
    error.code === wanted && message.test(error.message)
  const rejects = async (promise: Promise<unknown>, accepts: (error: LowrankError) => boolean) => {
    const error = await promise.then(
      () => undefined,
      reason => reason as LowrankError,
    )
    assert.ok(error && accepts(error), error?.message)
  }
  const plain = loadModel(join(FOLDER, 'models/gpt2-lm.gguf'), { task: 'causal-lm', storage: 'blocks' })
  await rejects(plain, code('ERR_OPTION', /gpt2-lm\.gguf has none; take f32/))
  const model = await loadModel(path, { task: 'causal-lm' })
  assert.throws(() => attach(model, fullFineTuning()), code('ERR_OPTION', /stored as blocks/))
  await rejects(saveMerged(model, 'never'), code('ERR_UNSUPPORTED', /stored as blocks/))
  model.dispose()
})

interface Tokens {
  texts: string[]
  ids: Record<string, (number[] | null)[]>
}

const { texts, ids } = read<Tokens>('tokens.json')
for (const [name, expected] of Object.entries(ids))
  test(`${name}: the vocabulary of a GGUF file gives the ids of the library it was made with`, async () => {
    const tokenizer = await loadTokenizer(join(FOLDER, 'tokenizers', `${name}.gguf`))
    texts.forEach((text, i) => {
      if (expected[i]) assert.equal([...tokenizer.encode(text).ids], expected[i], JSON.stringify(text))
      // Some normalise, and some add a space behind a special token.
      if (name !== 'qwen2' && !(name === 'spm' && text.includes('<')))
        assert.is(tokenizer.decode(tokenizer.tokens(text), { keepSpecials: true }), text)
    })
  })

test.run()
