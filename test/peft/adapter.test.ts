// Adapters as PEFT writes them, both directions, on every case of test/golden/adapters.

import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { faults } from '../../lib/io/atomic.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../../lib/io/safetensors.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, loadAdapter, lora, readAdapterInfo, saveAdapter } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { rejects } from '../data/support.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import {
  ADAPTERS,
  type AdapterMeta,
  backward,
  bytesOf,
  CASES,
  expectedLogits,
  logitsOf,
  readMeta,
  tinyBatch,
  tinyModel,
  train,
  withFolder,
} from './golden.ts'

const total = (parameters: readonly { size: number }[]) => parameters.reduce((sum, { size }) => sum + size, 0)
const readConfig = (dir: string) => JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'))
/** PEFT writes Python sets: their order follows the hash seed. */
const asSets = (config: Record<string, unknown>) => ({
  ...config,
  target_modules: Array.isArray(config.target_modules) ? [...config.target_modules].sort() : config.target_modules,
  exclude_modules: Array.isArray(config.exclude_modules) ? [...config.exclude_modules].sort() : config.exclude_modules,
})

for (const name of CASES)
  test(`${name}: what PEFT saved computes what PEFT computed, and is saved as it was`, async () => {
    const before = native.live()
    const dir = join(ADAPTERS, name)
    const meta = readMeta<AdapterMeta>(dir)
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const model = await tinyModel(meta.base)
    const { batch, labels, total: weight, lengths } = tinyBatch(meta.base)
    const original = await bytesOf(model)
    compare('base logits', await logitsOf(model, batch), expectedLogits(io, 'logits_base', meta, lengths))

    const attached = await loadAdapter(model, dir, { trainable: true })
    const modules = Object.fromEntries(attached.matched.map(({ path, r, scale }) => [path, [r, scale]]))
    assert.equal(Object.keys(modules).sort(), Object.keys(meta.modules).sort())
    for (const [path, [r, scale]] of Object.entries(meta.modules)) {
      assert.is(modules[path]![0], r, path)
      compare(`scale of ${path}`, [modules[path]![1]!], [scale], { relative: 1e-12 })
    }
    const logits = expectedLogits(io, 'logits', meta, lengths)
    compare('logits', await logitsOf(model, batch), logits)
    const path = io
      .names()
      .find(key => key.startsWith('delta.'))!
      .slice('delta.'.length)
    const delta = attached.deltaWeight(path)
    compare('delta', await delta.data(), io.readF32(`delta.${path}`))
    delta.dispose()

    const stop = train(attached.trainable)
    const loss = await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total: weight }))
    compare('loss', [loss], [meta.loss])
    for (const [key, parameter] of attached.tensors())
      if (io.has(`grad.${key}`))
        compare(key, await parameter.gradient!.data(), io.readF32(`grad.${key}`), { relative: 5e-5, absolute: 1e-7 })
    stop()

    attached.merge()
    compare('merged', await model.parameters.get(`${path}.weight`)!.tensor.data(), io.readF32(`merged.${path}`))
    compare('merged logits', await logitsOf(model, batch), logits)
    attached.unmerge()
    attached.setActive(false)
    compare('logits while off', await logitsOf(model, batch), expectedLogits(io, 'logits_base', meta, lengths))
    assert.equal(await bytesOf(model), original, 'the base is as it was while the adapter is off')
    attached.setActive(true)
    await withFolder(out => savedAlike(model, attached, dir, join(out, 'again')))
    attached.detach()
    assert.equal(await bytesOf(model), original, 'detached, the base is as it was')
    model.dispose()
    io.close()
    assert.is(native.live(), before, 'every tensor is freed')
  })

async function savedAlike(model: Model, attached: Adapter, dir: string, out: string) {
  await saveAdapter(attached, out)
  assert.equal(asSets(readConfig(out)), asSets(readConfig(dir)))
  const [theirs, ours] = [dir, out].map(folder => openSafetensors(join(folder, 'adapter_model.safetensors')))
  const kept = theirs!.names().filter(key => !/\.(modules_to_save|original_module)\.bias$/.test(key))
  assert.equal(ours!.names(), kept, 'the same keys in the same order')
  assert.equal(ours!.metadata, { format: 'pt' })
  for (const key of kept) {
    assert.equal(
      [ours!.info(key).dtype, ours!.info(key).shape],
      [theirs!.info(key).dtype, theirs!.info(key).shape],
      key,
    )
    assert.ok(Buffer.from(ours!.read(key)).equals(Buffer.from(theirs!.read(key))), `${key}: the same bytes`)
  }
  if (kept.length === theirs!.names().length) {
    const files = [dir, out].map(folder => readFileSync(join(folder, 'adapter_model.safetensors')))
    assert.ok(files[0]!.equals(files[1]!), 'the same file, byte for byte')
  }
  for (const file of [theirs!, ours!]) file.close()
  assert.equal((await readAdapterInfo(out)).labels, model.labels)
}

for (const name of CASES)
  test(`${name}: the same settings given as options train and save the same`, async () => {
    const before = native.live()
    const dir = join(ADAPTERS, name)
    const meta = readMeta<AdapterMeta>(dir)
    const config = readConfig(dir)
    const model = await tinyModel(meta.base)
    const heads = ['classifier', 'score']
    const method = lora({
      r: config.r,
      alpha: config.lora_alpha,
      dropout: config.lora_dropout,
      bias: config.bias,
      targetModules: name === 'bert-seq-all-linear' ? 'all-linear' : config.target_modules,
      excludeModules: config.exclude_modules ?? undefined,
      layersToTransform: config.layers_to_transform ?? undefined,
      rankPattern: config.rank_pattern,
      alphaPattern: config.alpha_pattern,
      modulesToSave: (config.modules_to_save ?? []).filter((module: string) => !heads.includes(module)),
      useRslora: config.use_rslora,
      initLoraWeights: config.init_lora_weights,
    })
    const attached = attach(model, method, { seed: 7 })
    assert.is(total(attached.trainable), meta.trainable, 'trained values')
    await withFolder(async out => {
      await saveAdapter(attached, join(out, 'a'), { baseModel: meta.base })
      assert.equal(asSets(readConfig(join(out, 'a'))), asSets(config))
      const theirs = openSafetensors(join(dir, 'adapter_model.safetensors'))
      const ours = openSafetensors(join(out, 'a/adapter_model.safetensors'))
      for (const key of ours.names()) assert.equal(ours.info(key).shape, theirs.info(key).shape, key)
      for (const file of [theirs, ours]) file.close()
    })
    attached.detach()
    model.dispose()
    assert.is(native.live(), before)
  })

test('a round trip gives the same logits, keeps unknown keys, and another adapter finds its sub-folder', async () => {
  const before = native.live()
  await withFolder(async out => {
    const dir = join(out, 'in')
    cpSync(join(ADAPTERS, 'bert-seq-default'), dir, { recursive: true })
    const config = { ...readConfig(dir), future_option: { b: [1.5, 2], a: 'x' }, revision: 'main' }
    writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config))
    const model = await tinyModel('bert-seq')
    const { batch } = tinyBatch('bert-seq')
    const first = await loadAdapter(model, dir)
    assert.equal(first.trainable, [], 'loaded frozen unless asked')
    const logits = await logitsOf(model, batch)
    await saveAdapter(first, join(out, 'out'), { extra: { run: 3 } })
    assert.equal(asSets(readConfig(join(out, 'out'))), asSets(config))
    assert.equal((await readAdapterInfo(join(out, 'out'))).extra, { run: 3 })
    first.detach()
    const second = await loadAdapter(model, join(out, 'out'), { name: 'other' })
    assert.equal(await logitsOf(model, batch), logits)
    assert.is(await saveAdapter(second, join(out, 'out')), join(out, 'out', 'other'))
    second.detach()
    const third = await loadAdapter(model, join(out, 'out'), { name: 'other' })
    assert.equal(await logitsOf(model, batch), logits)
    third.detach()
    model.dispose()
  })
  assert.is(native.live(), before)
})

test('a new pooler is trained, named in the config, saved and restored', async () => {
  const before = native.live()
  await withFolder(async out => {
    const { batch } = tinyBatch('bert-mlm')
    const options = { task: 'sequence-classification', labels: ['a', 'b'] } as const
    const model = await tinyModel('bert-mlm', { ...options, seed: 1 })
    assert.ok(model.newTensors.includes('bert.pooler.dense.weight'))
    const attached = attach(model, lora({ r: 2 }))
    const logits = await logitsOf(model, batch)
    await saveAdapter(attached, join(out, 'a'))
    assert.equal(readConfig(join(out, 'a')).modules_to_save, ['bert.pooler.dense', 'classifier', 'score'])
    attached.detach()
    model.dispose()
    const other = await tinyModel('bert-mlm', { ...options, seed: 2 })
    assert.not.equal(await logitsOf(other, batch), logits)
    const loaded = await loadAdapter(other, join(out, 'a'))
    assert.equal(await logitsOf(other, batch), logits)
    loaded.detach()
    other.dispose()
  })
  assert.is(native.live(), before)
})

type Fault = [what: string, code: string, message: RegExp, spoil: (dir: string) => void | Promise<void>]
const patchConfig = (values: object) => (dir: string) =>
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify({ ...readConfig(dir), ...values }))
const patchTensors = (change: (tensor: TensorToWrite) => TensorToWrite[]) => async (dir: string) => {
  const path = join(dir, 'adapter_model.safetensors')
  const file = openSafetensors(path)
  const tensors = file.names().map(key => {
    const { dtype, shape } = file.info(key)
    return { name: key, dtype, shape, data: file.read(key) }
  })
  file.close()
  await writeSafetensors(path, tensors.flatMap(change), { format: 'pt' })
}
const isQueryA = (name: string) => name.endsWith('layer.0.attention.self.query.lora_A.weight')
const only = (change: (tensor: TensorToWrite) => TensorToWrite[]) => (tensor: TensorToWrite) =>
  isQueryA(tensor.name) ? change(tensor) : [tensor]
const info = (values: object) => (dir: string) => {
  const base = { format: 1, method: 'lora', model_type: 'bert', labels: ['L0', 'L1', 'L2'] }
  writeFileSync(join(dir, 'lowrank.json'), JSON.stringify({ ...base, ...values }))
}

const FAULTS: Fault[] = [
  ['a missing tensor', 'ERR_CHECKPOINT', /missing .*query\.lora_A\.weight \[8, 32\]/, patchTensors(only(() => []))],
  [
    'an unexpected tensor',
    'ERR_CHECKPOINT',
    /1 tensor of[\s\S]*unexpected .*base_layer\.weight/,
    patchTensors(only(t => [t, { ...t, name: t.name.replace('lora_A', 'base_layer') }])),
  ],
  [
    'another rank',
    'ERR_CHECKPOINT',
    /8 tensors[\s\S]*misshapen .*\[8, 32\], expected \[4, 32\]/,
    patchConfig({ r: 4 }),
  ],
  ['integers', 'ERR_CHECKPOINT', /dtype I32, expected F64, F32/, patchTensors(only(t => [{ ...t, dtype: 'I32' }]))],
  [
    'NaN',
    'ERR_CHECKPOINT',
    /query\.lora_A\.weight holds NaN or infinity/,
    patchTensors(only(t => [{ ...t, data: new Float32Array(256).fill(Number.NaN) }])),
  ],
  [
    'more layers than the base has',
    'ERR_CHECKPOINT',
    /the adapter has 8 layers, the model 2/,
    patchTensors(only(t => [t, { ...t, name: t.name.replace('layer.0', 'layer.7') }])),
  ],
  [
    'a truncated file',
    'ERR_CHECKPOINT',
    /adapter_model\.safetensors/,
    dir => {
      const path = join(dir, 'adapter_model.safetensors')
      writeFileSync(path, readFileSync(path).subarray(0, 3000))
    },
  ],
  ['a method not built', 'ERR_UNSUPPORTED', /peft_type is "LOHA"/, patchConfig({ peft_type: 'LOHA' })],
  ['a missing magnitude', 'ERR_CHECKPOINT', /missing .*lora_magnitude_vector/, patchConfig({ use_dora: true })],
  [
    'PiSSA by a random decomposition',
    'ERR_UNSUPPORTED',
    /"pissa_niter_4"/,
    patchConfig({ init_lora_weights: 'pissa_niter_4' }),
  ],
  ['CorDA', 'ERR_UNSUPPORTED', /"corda"/, patchConfig({ init_lora_weights: 'corda' })],
  ['another task', 'ERR_CONFIG', /task_type is TOKEN_CLS, the model does seq/, patchConfig({ task_type: 'TOKEN_CLS' })],
  [
    'a task without head here',
    'ERR_CONFIG',
    /no model of this package/,
    patchConfig({ task_type: 'FEATURE_EXTRACTION' }),
  ],
  ['targets the model lacks', 'ERR_OPTION', /q_proj/, patchConfig({ target_modules: ['q_proj'] })],
  ['another family', 'ERR_CONFIG', /for roberta, the model is bert/, info({ model_type: 'roberta' })],
  ['permuted labels', 'ERR_CONFIG', /labels are \[L1, L0, L2\]/, info({ labels: ['L1', 'L0', 'L2'] })],
  ['a newer lowrank.json', 'ERR_CONFIG', /format is 2/, info({ format: 2 })],
]

for (const [what, code, message, spoil] of FAULTS)
  test(`loading ${what} is refused and leaves the model as it was`, async () => {
    const before = native.live()
    await withFolder(async dir => {
      for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
        copyFileSync(join(ADAPTERS, 'bert-seq-default', file), join(dir, file))
      await spoil(dir)
      const model = await tinyModel('bert-seq')
      const original = await bytesOf(model)
      await rejects(() => loadAdapter(model, dir), code, message)
      assert.equal(await bytesOf(model), original)
      assert.ok([...model.linears.values()].every(({ adapters }) => adapters.length === 0))
      model.dispose()
    })
    assert.is(native.live(), before)
  })

test('an adapter that PEFT 0.5 wrote, tensors by torch.save, computes the same', async () => {
  const model = await tinyModel('bert-tok')
  const { batch, lengths } = tinyBatch('bert-tok')
  const dir = join(ADAPTERS, 'bert-tok-default')
  const io = openSafetensors(join(dir, 'io.safetensors'))
  await loadAdapter(model, join(packageRoot, 'test/golden/peft/old'))
  compare('logits', await logitsOf(model, batch), expectedLogits(io, 'logits', readMeta(dir), lengths))
  io.close()
  model.dispose()
})

test('a model folder and what is no state dictionary are refused by name', async () => {
  const model = await tinyModel('bert-seq')
  const refusal = (dir: string, code: string, message: RegExp) => rejects(() => loadAdapter(model, dir), code, message)
  await refusal(model.path!, 'ERR_CONFIG', /whole model, not an adapter/)
  await withFolder(async dir => {
    await refusal(dir, 'ERR_CONFIG', /adapter_config\.json/)
    copyFileSync(join(ADAPTERS, 'bert-seq-default/adapter_config.json'), join(dir, 'adapter_config.json'))
    writeFileSync(join(dir, 'adapter_model.bin'), '')
    await refusal(dir, 'ERR_CHECKPOINT', /adapter_model\.bin/)
  })
  model.dispose()
})

test('what diverged is not saved, and what was saved before stays', async () => {
  const before = native.live()
  await withFolder(async out => {
    const model = await tinyModel('bert-seq')
    const attached = attach(model, lora({ r: 2 }))
    const dir = join(out, 'a')
    await saveAdapter(attached, dir)
    const saved = readFileSync(join(dir, 'adapter_model.safetensors'))
    const refused = async (message: RegExp) => {
      const error = await saveAdapter(attached, dir).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      assert.instance(error, LowrankError)
      assert.match((error as LowrankError).message, message)
      assert.ok(readFileSync(join(dir, 'adapter_model.safetensors')).equals(saved))
    }
    const [a] = attached.trainable
    const values = await a!.tensor.data()
    a!.tensor.upload(new Float32Array(a!.size).fill(Number.POSITIVE_INFINITY))
    await refused(/lora_A\.weight holds NaN or infinity, the training diverged/)
    a!.tensor.upload(new Float32Array(a!.size))
    await refused(/lora_A\.weight is all zeros/)
    a!.tensor.upload(values)
    faults.write = () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    }
    try {
      await refused(/disk is full/)
    } finally {
      faults.write = undefined
    }
    attached.detach()
    model.dispose()
  })
  assert.is(native.live(), before)
})

test('a save is of the moment of the call', async () => {
  await withFolder(async out => {
    const model = await tinyModel('bert-seq')
    const attached = attach(model, lora({ r: 2 }))
    const saving = saveAdapter(attached, join(out, 'a'))
    scope(() => {
      for (const { tensor, size } of attached.trainable) tensor.upload(new Float32Array(size).fill(3))
    })
    await saving
    const file = openSafetensors(join(out, 'a/adapter_model.safetensors'))
    for (const key of file.names().filter(name => name.includes('lora_B')))
      assert.ok(file.readF32(key).every(value => value === 0))
    file.close()
    attached.detach()
    model.dispose()
  })
})

test.run()
