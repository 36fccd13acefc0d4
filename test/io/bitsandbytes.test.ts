// Weights of bitsandbytes: 4-bit codes and 8-bit codes are read as the values that it makes of them.

import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attach, loadModel, lora, saveMerged } from '../../lib/index.ts'
import { withoutCodes } from '../../lib/io/bitsandbytes.ts'
import { eightBitTensors, fourBitTensors } from '../../lib/io/bitsandbytesWrite.ts'
import { openWeights } from '../../lib/io/gguf/weights.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { decodeF32, openSafetensors, writeSafetensors } from '../../lib/io/safetensors.ts'
import { createModel } from '../../lib/model.ts'
import { workFolder } from '../cli/support.ts'

const golden = (name: string) => join(packageRoot, 'test/golden', name)
const cwd = workFolder()

test('values of every format are those of bitsandbytes, to the bit', () => {
  const raw = openSafetensors(golden('bitsandbytes/stored.safetensors'))
  const file = withoutCodes(raw)
  const values = openSafetensors(golden('bitsandbytes/values.safetensors'))
  assert.equal(file.names().sort(), values.names().sort())
  assert.match(file.note!, /5 matrices are .*bit codes of bitsandbytes: they are decoded/)
  for (const name of values.names()) {
    assert.equal([...file.info(name).shape], [25, 128], name)
    assert.equal(decodeF32(file.read(name), 'F32'), values.readF32(name), name)
  }
  raw.close()
  values.close()
})

test('a model with such a matrix loads, says so, and has its values; a broken one is refused', async () => {
  const folder = join(cwd, 'model')
  cpSync(golden('models/llama-lm'), folder, { recursive: true })
  const plain = openSafetensors(join(folder, 'model.safetensors'))
  const name = plain.names().find(each => each.endsWith('0.self_attn.q_proj.weight'))!
  const { shape } = plain.info(name)
  const size = shape[0]! * shape[1]!
  const rest = plain.names().filter(each => each !== name)
  const kept = rest.map(each => ({ ...plain.info(each), dtype: 'F32' as const, data: plain.read(each) }))
  const codes = Uint8Array.from({ length: size / 2 }, (_, i) => (i * 37) % 256)
  const map = Float32Array.from({ length: 16 }, (_, i) => (i - 7.5) / 64)
  const absmax = new Float32Array(Math.ceil(size / 64)).fill(0.5)
  const state = (lengths: readonly number[]) =>
    new TextEncoder().encode(JSON.stringify({ quant_type: 'nf4', blocksize: 64, dtype: 'float32', shape: lengths }))
  const write = async (lengths: readonly number[]) => {
    const text = state(lengths)
    await writeSafetensors(join(folder, 'model.safetensors'), [
      ...kept,
      { name, dtype: 'U8', shape: [size / 2, 1], data: codes },
      { name: `${name}.absmax`, dtype: 'F32', shape: [absmax.length], data: absmax },
      { name: `${name}.quant_map`, dtype: 'F32', shape: [16], data: map },
      { name: `${name}.quant_state.bitsandbytes__nf4`, dtype: 'U8', shape: [text.length], data: text },
    ])
  }
  await write(shape)
  const model = await loadModel(folder, { task: 'causal-lm' })
  assert.match(model.notices.join(), /1 matrices are 4-bit codes of bitsandbytes/)
  const loaded = await model.parameters.get(name)!.tensor.data()
  const expected = Float32Array.from({ length: size }, (_, i) => {
    const byte = codes[i >> 1]!
    return map[i % 2 === 0 ? byte >> 4 : byte & 15]! * 0.5
  })
  assert.equal(loaded, expected)
  model.dispose()
  plain.close()
  await write([shape[0]!, shape[1]! + 2])
  assert.throws(() => openWeights(folder), /do not have the sizes of \d+ codes in blocks of 64; fetch it again/)
})

const bytesOf = (data: ArrayBufferView) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)

test('what is written of floats is what bitsandbytes writes, byte for byte', () => {
  const stored = openSafetensors(golden('bitsandbytes/stored.safetensors'))
  const source = openSafetensors(golden('bitsandbytes/source.safetensors'))
  const written = new Set<string>()
  for (const name of source.names()) {
    const { shape, dtype } = source.info(name)
    const values = decodeF32(source.read(name), dtype as 'F32' | 'F16')
    const matrix = { name, shape, values, dtype: 'F32' as const }
    const type = name.startsWith('nf4') ? 'nf4' : 'fp4'
    const isEight = name.startsWith('int8')
    for (const part of isEight ? eightBitTensors(matrix) : fourBitTensors(matrix, type, true)) {
      written.add(part.name)
      const { dtype, shape } = stored.info(part.name)
      assert.equal([part.dtype, [...part.shape]], [dtype, [...shape]], part.name)
      assert.ok(bytesOf(part.data).equals(stored.read(part.name)), part.name)
    }
    if (isEight) continue
    const plain = new Map(fourBitTensors(matrix, type, false).map(part => [part.name, part]))
    assert.ok(bytesOf(plain.get(name)!.data).equals(stored.read(name)), 'scales that are codes change no code')
    const scales = new Float32Array(25 * 2)
    for (const [i, value] of values.entries())
      scales[Math.floor(i / 64)] = Math.max(scales[Math.floor(i / 64)]!, Math.abs(value))
    assert.equal(plain.get(`${name}.absmax`)!.data, scales)
  }
  assert.equal(
    [...written].sort(),
    stored
      .names()
      .filter(name => /nested|int8/.test(name))
      .sort(),
  )
  stored.close()
  source.close()
})

test('zeros, a last block that is not full and an odd number of elements have codes', () => {
  const values = Float32Array.from({ length: 5 * 13 }, (_, i) => (i < 13 ? 0 : Math.sin(i)))
  const parts = fourBitTensors({ name: 'x.weight', shape: [5, 13], values, dtype: 'BF16' }, 'nf4', false)
  assert.equal(
    parts.map(({ shape }) => [...shape]),
    [[33, 1], [16], [parts[2]!.data.byteLength], [2]],
  )
  const [codes] = eightBitTensors({ name: 'x.weight', shape: [5, 13], values })
  assert.ok(new Int8Array(bytesOf(codes!.data).subarray(0, 13)).every(code => code === 0))
})

const CODES = [
  ['nf4', { type: 'nf4' }],
  ['nf4, scales as codes', { type: 'nf4', doubleQuant: true }],
  ['fp4', { type: 'fp4' }],
  ['int8', { type: 'int8' }],
] as const

for (const [base, task, target] of [
  ['models/llama-lm', 'causal-lm', 'layers.0.self_attn.q_proj'],
  ['models/gpt2-lm', 'causal-lm', 'h.0.attn.c_attn'],
  ['models/bert-seq', 'sequence-classification', 'layer.0.attention.self.query'],
  ['seq2seq/t5', 'seq2seq-lm', 'encoder.block.0.layer.0.SelfAttention.q'],
] as const)
  for (const [name, codes] of CODES)
    test(`${base} in ${name}: read and written again no byte of it changes; what an adapter changes has new codes`, async () => {
      const out = (part: string) => join(cwd, `${base.replace('/', '-')}-${name.replaceAll(/\W/g, '')}-${part}`)
      const first = await loadModel(golden(base), {
        task,
        labels: task === 'sequence-classification' ? ['a', 'b', 'c'] : undefined,
      })
      await saveMerged(first, out('a'), { codes })
      first.dispose()
      const config = JSON.parse(readFileSync(join(out('a'), 'config.json'), 'utf8'))
      assert.is(config.quantization_config.quant_method, 'bitsandbytes')
      const again = await loadModel(out('a'), { task })
      assert.match(again.notices.join(), /bit codes of bitsandbytes/)
      await saveMerged(again, out('b'), { codes })
      assert.ok(bytes(out('b')).equals(bytes(out('a'))))
      const adapter = attach(again, lora({ r: 2, targetModules: [target] }))
      // The head of a classifier trains too, and is no matter of codes.
      for (const { tensor, size } of adapter.trainable.filter(({ name }) => name.includes('lora_')))
        tensor.upload(Float32Array.from({ length: size }, (_, i) => 0.3 * Math.sin(i)))
      await saveMerged(again, out('c'), { codes })
      again.dispose()
      const [before, after] = [openSafetensors(model(out('a'))), openSafetensors(model(out('c')))]
      const changed = before.names().filter(each => !before.read(each).every((x, i) => x === after.read(each)[i]))
      assert.ok(changed.length > 0)
      assert.equal([...new Set(changed.map(each => each.replace(/\.(weight|SCB).*$/, '')))].length, 1, changed.join())
      before.close()
      after.close()
    })

const PYTHON = `
import json, sys
import bitsandbytes as bnb, bitsandbytes.functional as F, torch, transformers
transformers.utils.logging.disable_progress_bar()
out = []
for folder in sys.argv[1:]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    weights = {}
    for name, layer in layers.items():
        w = layer.weight
        four = isinstance(layer, bnb.nn.Linear4bit)
        values = F.dequantize_4bit(w.data, w.quant_state) if four else F.int8_vectorwise_dequant(w.data, w.SCB)
        weights[name] = values.float().flatten().tolist()
    # It runs; the logits are those of its own kernels, in bf16 on some CPUs.
    with torch.no_grad():
        assert model(torch.tensor([[5, 7, 30, 11, 2]])).logits.isfinite().all()
    out.append(weights)
print(json.dumps(out))
`

test('transformers loads what is written with bitsandbytes, which makes the same values of it', async () => {
  const python = process.env.LOWRANK_PYTHON
  if (!python) return console.log('skip: bitsandbytes reads what is written (LOWRANK_PYTHON names no Python with it)')
  // Whole blocks a row: of others its CPU kernel takes the scales of wrong blocks.
  const sizes = {
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    vocab_size: 60,
  }
  const values = { model_type: 'llama', max_position_embeddings: 32, initializer_range: 0.2, ...sizes }
  const made = createModel({ path: 'config.json', modelType: 'llama', values }, { task: 'causal-lm', seed: 3 })
  const folders = CODES.map(([name]) => join(cwd, `python-${name.replaceAll(/\W/g, '')}`))
  for (const [i, [, codes]] of CODES.entries()) await saveMerged(made, folders[i]!, { codes })
  made.dispose()
  const printed = execFileSync(python, ['-c', PYTHON, ...folders], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    env: { ...process.env, TORCHINDUCTOR_CACHE_DIR: join(cwd, 'cache') },
  })
  const found: Record<string, number[]>[] = JSON.parse(printed.trim().split('\n').at(-1)!)
  for (const [i, [name]] of CODES.entries()) {
    const own = await loadModel(folders[i]!, { task: 'causal-lm' })
    assert.is(Object.keys(found[i]!).length, 14, name)
    for (const [path, weight] of Object.entries(found[i]!))
      assert.equal(
        Float32Array.from(weight),
        await own.parameters.get(`${path}.weight`)!.tensor.data(),
        `${name} ${path}`,
      )
    own.dispose()
  }
})

const model = (folder: string) => join(folder, 'model.safetensors')
const bytes = (folder: string) => readFileSync(model(folder))

test.run()
