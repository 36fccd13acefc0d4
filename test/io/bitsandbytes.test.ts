// Weights of bitsandbytes: 4-bit codes and 8-bit codes are read as the values that it makes of them.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadModel } from '../../lib/index.ts'
import { withoutCodes } from '../../lib/io/bitsandbytes.ts'
import { openWeights } from '../../lib/io/gguf/weights.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { decodeF32, openSafetensors, writeSafetensors } from '../../lib/io/safetensors.ts'
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

test.run()
