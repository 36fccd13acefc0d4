// Models and adapters written as GGUF files: tensors and metadata as gguf-py writes them, blocks as it quantises them,
// what is read back, and what is refused. test/golden/gguf/check.py parses the same files with gguf-py.

import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { openGguf } from '../../lib/io/gguf/file.ts'
import { encodeGguf, GGUF_TYPES } from '../../lib/io/gguf/quantize.ts'
import { openWeights } from '../../lib/io/gguf/weights.ts'
import { writeGguf } from '../../lib/io/gguf/write.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { interleave } from '../../lib/io/rows.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, dora, lora, saveAdapterGguf, saveGguf } from '../../lib/peft/index.ts'
import { ggufTokenizer } from '../../lib/tokenizer/gguf.ts'
import { tokenizerEntries } from '../../lib/tokenizer/toGguf.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { writeTokenizer } from '../../lib/tokenizer/write.ts'
import { nth, under } from '../../lib/tuple.ts'
import { compare } from '../support/compare.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { logitsOf, MODELS, tinyBatch, tinyModel } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/gguf')
const CASES = readdirSync(join(FOLDER, 'models')).map(name => name.replace('.gguf', ''))
/** Where files go that check.py is to read. */
const KEPT = process.env.GGUF_WRITTEN
const dir = temporaryFolder()

/** A tokenizer of 61 tokens, as the tiny models have. */
const words = join(dir, 'words')
mkdirSync(words)
const letters = [...'abcdefghijklmnopqrstuvwxyz']
const vocab = Object.fromEntries(['<unk>', '<s>', '</s>', '▁', ...letters, 'ab', 'abc', '▁abc'].map((t, id) => [t, id]))
writeFileSync(
  join(words, 'tokenizer.json'),
  JSON.stringify({
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      byte_fallback: true,
      fuse_unk: true,
      unk_token: '<unk>',
      vocab,
      merges: ['a b', 'ab c', '▁ abc'],
    },
  }),
)

const rejects = async (promise: Promise<unknown>, code: string, message: RegExp) => {
  const error = await promise.then(
    () => undefined,
    reason => reason as LowrankError,
  )
  assert.is(error?.code, code)
  assert.match(error?.message ?? '', message)
}

/** The file is as it was when check.py parsed it; the hash of another one says that it is to be run again. */
function checkHash(name: string, path: string): void {
  const sums = JSON.parse(readFileSync(join(FOLDER, 'written.json'), 'utf8')) as Record<string, string>
  if (KEPT !== undefined) copyFileSync(path, join(KEPT, `${name}.gguf`))
  if (KEPT !== undefined) return
  const sum = createHash('sha256').update(readFileSync(path)).digest('hex')
  assert.is(sum, sums[name], `${name}: run test/golden/gguf/check.py`)
}

test('q8_0, q4_0 and f16 are, bit for bit, what gguf-py makes of the same numbers', () => {
  const { quantized } = JSON.parse(readFileSync(join(FOLDER, 'blocks.json'), 'utf8')) as {
    quantized: Record<'values' | 'Q8_0' | 'Q4_0', string>
  }
  const values = new Float32Array(new Uint8Array(Buffer.from(quantized.values, 'base64')).buffer)
  for (const type of ['q8_0', 'q4_0'] as const) {
    const expected = Buffer.from(quantized[type === 'q8_0' ? 'Q8_0' : 'Q4_0'], 'base64')
    assert.is(Buffer.from(encodeGguf(values, type)).toString('hex'), expected.toString('hex'), type)
  }
})

for (const name of CASES)
  test(`${name}: written from its Hugging Face folder, it is what gguf-py writes`, async () => {
    const before = native.live()
    const model = await loadModel(join(MODELS, name), { task: 'causal-lm' })
    const path = join(dir, `${name}.gguf`)
    const isOdd = name === 'gemma2-lm' || name === 'gemma3-lm'
    if (isOdd) {
      await rejects(saveGguf(model, path, { tokenizer: words }), 'ERR_UNSUPPORTED', /query_pre_attn_scalar is 5/)
      return model.dispose()
    }
    await saveGguf(model, path, { type: 'f32', tokenizer: words })
    const [ours, theirs] = [openGguf(path), openGguf(join(FOLDER, 'models', `${name}.gguf`))]
    assert.equal([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort())
    for (const { name: key, shape, type } of theirs.tensors.values()) {
      assert.equal([under(ours.tensors, key).shape, under(ours.tensors, key).type.name], [shape, type.name], key)
      const [a, b] = [ours.read(key), theirs.read(key)]
      if (key.startsWith('rope_')) compare(key, floats(a), floats(b), { relative: 1e-6 })
      else assert.is(Buffer.compare(a, b), 0, key)
    }
    for (const [key, value] of theirs.metadata)
      if (key !== 'general.name') assert.equal(ours.metadata.get(key), value, key)
    for (const file of [ours, theirs]) file.close()
    const again = await loadModel(path, { task: 'causal-lm' })
    const { batch } = tinyBatch(name)
    compare('logits', await logitsOf(again, batch), await logitsOf(model, batch), { relative: 1e-4, absolute: 1e-5 })
    for (const each of [model, again]) each.dispose()
    assert.is(native.live(), before)
  })

const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer)

test('a model of blocks is written in every type, and merged with an adapter', async () => {
  const base = join(FOLDER, 'blocks.gguf')
  const model = await loadModel(base, { task: 'causal-lm', storage: 'f32' })
  /** Of the type, relative to the size of a weight. */
  const errors = { f32: 0, f16: 1e-3, q8_0: 0.02, q4_0: 0.2 }
  for (const type of GGUF_TYPES) {
    const path = join(dir, `model-${type}.gguf`)
    await saveGguf(model, path, { type })
    checkHash(`model-${type}`, path)
    const again = await loadModel(path, { task: 'causal-lm', storage: 'f32' })
    for (const [key, { tensor }] of again.parameters) {
      const [values, exact] = [await tensor.f32(), await under(model.parameters, key).tensor.f32()]
      const difference = Math.hypot(...values.map((value, i) => value - nth(exact, i)))
      assert.ok(difference <= errors[type] * Math.hypot(...exact), `${key} as ${type}: ${difference}`)
    }
    again.dispose()
    const [one, other] = [await loadTokenizer(path), await loadTokenizer(base)]
    assert.equal([...one.encode('ab c').ids], [...other.encode('ab c').ids])
  }
  const file = openWeights(join(dir, 'model-q4_0.gguf'))
  const typeOf = (name: string) => file.info(name).dtype
  assert.is(typeOf('model.embed_tokens.weight'), 'Q8_0')
  assert.is(typeOf('model.layers.0.mlp.up_proj.weight'), 'Q4_0')
  assert.is(typeOf('model.norm.weight'), 'F32')
  file.close()
  const adapter = trained(attach(model, lora({ r: 2, alpha: 4, targetModules: 'all-linear' }), { seed: 5 }))
  const merged = join(dir, 'merged.gguf')
  await saveGguf(model, merged, { type: 'f32' })
  const again = await loadModel(merged, { task: 'causal-lm' })
  const { batch } = tinyBatch('llama-lm')
  compare('merged', await logitsOf(again, batch), await logitsOf(model, batch), { relative: 1e-4, absolute: 1e-5 })
  again.dispose()
  adapter.detach()
  model.dispose()
})

/** Gives every factor values that differ. */
function trained(adapter: Adapter): Adapter {
  adapter.trainable.forEach((each, k) => {
    each.tensor.upload(Float32Array.from({ length: each.size }, (_, i) => 0.02 * Math.sin(i * 1.3 + k)))
  })
  return adapter
}

for (const name of ['llama-lm-tied', 'qwen2-lm', 'gpt2-lm', 'phi3-lm-longrope'])
  test(`${name}: an adapter's file says, with its one alpha, what the adapter adds`, async () => {
    const model = await loadModel(join(MODELS, name), { task: 'causal-lm' })
    const [some] = [...model.linears.keys()].slice(1)
    const ranks = { rankPattern: { [some ?? '']: 3 }, useRslora: true }
    const adapter = trained(attach(model, lora({ r: 2, alpha: 5, targetModules: 'all-linear', ...ranks }), { seed: 5 }))
    const path = join(dir, `${name}-adapter.gguf`)
    await saveAdapterGguf(adapter, path)
    checkHash(`adapter-${name}`, path)
    const file = openGguf(path)
    assert.is(file.metadata.get('general.type'), 'adapter')
    assert.is(file.metadata.get('adapter.type'), 'lora')
    const alpha = Number(file.metadata.get('adapter.lora.alpha'))
    assert.is(file.tensors.size, 2 * adapter.matched.length)
    const tensors = new Map(adapter.tensors())
    const [architecture] = [String(file.metadata.get('general.architecture'))]
    for (const { path: module, r = 2 } of adapter.matched) {
      const to = under(NAMES, module.replace(/^.*\.\d+\./, ''))
      const layer = /\.(\d+)\./.exec(module)?.[1]
      const read = (which: string) => floats(file.read(`blk.${layer}.${to}.weight.lora_${which}`))
      const [a, stored] = [read('a'), read('b')]
      const [ownA, ownB] = ['A', 'B'].map(which => under(tensors, `base_model.model.${module}.lora_${which}.weight`))
      const rows = stored.length / r
      const heads = /attn_[qk]$/.test(to) && architecture === 'llama' ? (to === 'attn_q' ? 4 : 2) : undefined
      const b = heads ? floats(interleave(new Uint8Array(stored.buffer), heads, rows, 'apart')) : stored
      compare(`${module} A`, a, (await ownA?.tensor.f32()) ?? [], { absolute: 0 })
      const scale = 5 / Math.sqrt(r)
      const expected = Float32Array.from((await ownB?.tensor.f32()) ?? [], value => value * scale)
      compare(
        `${module} B`,
        b.map(value => (value * alpha) / r),
        expected,
        { relative: 1e-6 },
      )
    }
    file.close()
    adapter.detach()
    model.dispose()
  })

const NAMES: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.qkv_proj': 'attn_qkv',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.gate_up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'attn.c_attn': 'attn_qkv',
  'attn.c_proj': 'attn_output',
  'mlp.c_fc': 'ffn_up',
  'mlp.c_proj': 'ffn_down',
}

const { texts } = JSON.parse(readFileSync(join(FOLDER, 'tokens.json'), 'utf8')) as { texts: string[] }
for (const file of readdirSync(join(FOLDER, 'tokenizers')))
  test(`${file}: as a folder and back, the vocabulary gives the same ids`, async () => {
    const [from, folder] = [join(FOLDER, 'tokenizers', file), join(dir, file.replace('.gguf', ''))]
    mkdirSync(folder)
    await writeTokenizer(ggufTokenizer(from), folder)
    const first = await loadTokenizer(from)
    const back = join(dir, file)
    const metadata = await tokenizerEntries(folder, first.vocabSize + 3)
    await writeGguf(back, [['general.architecture', { text: 'llama' }], ...metadata], [])
    const [second, third] = [await loadTokenizer(folder), await loadTokenizer(back)]
    for (const text of texts) {
      const ids = [...first.encode(text).ids]
      assert.equal([...second.encode(text).ids], ids, JSON.stringify(text))
      assert.equal([...third.encode(text).ids], ids, JSON.stringify(text))
    }
    assert.equal({ ...third.specials }, { ...first.specials })
  })

test('what a GGUF file cannot hold is refused, with what to do', async () => {
  const path = join(dir, 'never.gguf')
  const encoder = await tinyModel('bert-seq')
  await rejects(
    saveGguf(encoder, path),
    'ERR_UNSUPPORTED',
    /this model does sequence-classification; keep it as a folder/,
  )
  encoder.dispose()
  const model = await loadModel(join(MODELS, 'llama-lm'), { task: 'causal-lm' })
  const magnitude = attach(model, dora({ r: 2 }), { seed: 1 })
  await rejects(saveAdapterGguf(magnitude, path), 'ERR_UNSUPPORTED', /convert it to plain LoRA, or merge it/)
  magnitude.detach()
  const biased = attach(model, lora({ r: 2, modulesToSave: ['lm_head'] }), { seed: 1 })
  await rejects(saveAdapterGguf(biased, path), 'ERR_UNSUPPORTED', /it trains .*lm_head/)
  biased.detach()
  await rejects(
    saveGguf(model, path, { tokenizer: join(FOLDER, 'blocks.gguf') }),
    'ERR_CONFIG',
    /64 tokens, the model embeds 61/,
  )
  model.dispose()
  const kept = await loadModel(join(FOLDER, 'blocks.gguf'), { task: 'causal-lm' })
  await rejects(saveGguf(kept, path), 'ERR_UNSUPPORTED', /stored as blocks/)
  kept.dispose()
})

test.run()
