// Bottleneck adapters of AdapterHub's library (test/golden/peft/hub), read and written.

import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, openTorchFile } from '../../lib/io/safetensors.ts'
import { native } from '../../lib/native.ts'
import { attach, bottleneck, loadAdapter, lora, saveAdapterHub } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { unpad } from '../support/padded.ts'
import { bytesOf, logitsOf, readMeta, tinyBatch, tinyModel, withFolder } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/peft/hub')
const CASES = readdirSync(FOLDER)
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const NAMES = [
  ['adapter.safetensors', 'pytorch_adapter.bin'],
  ['model_head.safetensors', 'pytorch_model_head.bin'],
] as const

/** Values by key of one of two files. */
function tensorsIn(dir: string, [safe, torch]: readonly [string, string]): Map<string, Float32Array> {
  const isSafe = readdirSync(dir).includes(safe)
  const file = isSafe ? openSafetensors(join(dir, safe)) : openTorchFile(join(dir, torch))
  const found = new Map(file.names().map(key => [key, file.readF32(key)]))
  file.close()
  return found
}

assert.ok(CASES.length >= 7)

for (const name of CASES)
  test(`${name}: what AdapterHub saved computes what it computed, and is written as it was`, async () => {
    const before = native.live()
    const dir = join(FOLDER, name)
    const { base, task } = readMeta<{ base: string; task: string }>(dir)
    const model = await tinyModel(base)
    const { batch, lengths } = tinyBatch(base)
    const original = await bytesOf(model)
    const adapter = await loadAdapter(model, dir, { trainable: true })
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const wanted = io.readF32('logits')
    const padded = task === 'seq' ? wanted : unpad(wanted, lengths, io.info('logits').shape[2])
    const logits = await logitsOf(model, batch)
    compare('logits', logits, padded, { relative: 2e-5 })
    io.close()
    await withFolder(async out => {
      await saveAdapterHub(adapter, join(out, 'hub'), 'x')
      for (const names of task === 'seq' ? NAMES : NAMES.slice(0, 1))
        assert.equal(tensorsIn(join(out, 'hub'), names), tensorsIn(dir, names))
      const [ours, theirs] = [join(out, 'hub'), dir].map(each => json(join(each, 'adapter_config.json')))
      for (const config of [ours, theirs])
        for (const key of ['init_weights', 'phm_init_range']) delete config.config[key]
      assert.equal({ ...ours, model_name: base }, theirs)
      await adapter.save(join(out, 'own'))
      adapter.detach()
      await loadAdapter(model, join(out, 'own'))
      assert.equal(await logitsOf(model, batch), logits, 'our own layout holds the same')
    })
    for (const each of [...model.adapters.values()]) each.dispose()
    assert.equal(await bytesOf(model), original)
    model.dispose()
    assert.is(native.live(), before)
  })

test('what is not built is refused by name, and so is what AdapterHub has no place for', async () => {
  const model = await tinyModel('bert-seq')
  await withFolder(async out => {
    for (const [key, value] of [
      ['ln_before', true],
      ['inv_adapter', 'nice'],
      ['dropout', 0.1],
      ['leave_out', [0]],
      ['phm_layer', true],
      ['non_linearity', 'leakyrelu'],
    ] as const) {
      const dir = join(out, key)
      cpSync(join(FOLDER, 'houlsby-bert-seq'), dir, { recursive: true })
      const config = json(join(dir, 'adapter_config.json'))
      config.config[key] = value
      writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config))
      const error = await loadAdapter(model, dir).catch(each => each)
      assert.match(String(error.message), new RegExp(`${key} is`))
      assert.is(error.code, 'ERR_UNSUPPORTED')
    }
    const plain = attach(model, lora())
    const error = await saveAdapterHub(plain, join(out, 'x')).catch(each => each)
    assert.match(String(error), /bottleneck adapters alone/)
    plain.detach()
  })
  model.dispose()
  const other = await tinyModel('neox-lm')
  const adapter = attach(other, bottleneck({ reductionFactor: 4 }))
  await withFolder(async out => {
    const error = await saveAdapterHub(adapter, join(out, 'x')).catch(each => each)
    assert.match(String(error), /its places in "gpt_neox" are not known/)
  })
  other.dispose()
})

test('AdapterHub loads what is written here, and computes the same', async () => {
  const python = process.env.LOWRANK_ADAPTERS_PYTHON
  if (!python) return console.log('skip: LOWRANK_ADAPTERS_PYTHON names no Python with adapters')
  await withFolder(async out => {
    const model = await tinyModel('bert-seq')
    const { batch } = tinyBatch('bert-seq')
    for (const form of ['houlsby', 'pfeiffer', 'parallel'] as const) {
      const adapter = attach(model, bottleneck({ form, reductionFactor: 4, nonLinearity: 'silu', scaling: 2 }))
      for (const [i, { tensor, size }] of adapter.trainable.entries())
        tensor.upload(Float32Array.from({ length: size }, (_, j) => 0.2 * Math.sin(i * 3.1 + j * 1.7)))
      const logits = await logitsOf(model, batch)
      await saveAdapterHub(adapter, join(out, form))
      adapter.detach()
      const script = join(packageRoot, 'test/golden/peft/make_hub.py')
      const printed = execFileSync(python, [script, '--load', join(out, form), 'bert-seq'], { encoding: 'utf8' })
      compare(form, Float32Array.from(JSON.parse(printed.trim().split('\n').at(-1)!)), logits, { relative: 2e-5 })
    }
    model.dispose()
  })
})

test.run()
