// Adapters of embeddings, output layers and token rows as PEFT writes them (test/golden/peft/tables), both directions;
// what merging makes of weights that are tied.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, combine, convert, loadAdapter, lora, saveMerged } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { unpad } from '../support/padded.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, bytesOf, logitsOf, readMeta, tinyBatch, tinyModel, train, withFolder } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/peft/tables')
const readConfig = (dir: string) => JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'))
const tensorsIn = (dir: string) => {
  const file = openSafetensors(join(dir, 'adapter_model.safetensors'))
  const found = file.names().filter(name => !name.includes('.base_layer.'))
  const all = Object.fromEntries(found.map(name => [name, [...file.readF32(name)]]))
  file.close()
  return all
}
/** PEFT writes Python sets: their order follows the hash seed. */
const asSets = ({ target_modules: targets, ...config }: Record<string, unknown>) => ({
  ...config,
  targets: Array.isArray(targets) ? [...targets].sort() : targets,
})

for (const name of readdirSync(FOLDER))
  test(`${name}: what PEFT saved computes what PEFT computed, and is saved as it was`, async () => {
    const before = native.live()
    const dir = join(FOLDER, name)
    const { base, task, loss: expected } = readMeta<{ base: string; task: string; loss: number }>(dir)
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const model = await tinyModel(base)
    const { batch, labels, lengths } = tinyBatch(base)
    const targets = targetsOf(model, batch, labels)
    const { said } = readMeta<{ said?: number[] }>(
      join(packageRoot, 'test/golden', base === 't5' ? 'seq2seq' : 'models', base),
    )
    const original = await bytesOf(model)
    const adapter = await loadAdapter(model, dir, { trainable: true })
    const padded = io.readF32('logits')
    const wanted = task === 'seq' ? padded : unpad(padded, said ?? lengths, io.info('logits').shape[2])
    compare('logits', await logitsOf(model, batch), wanted)
    const stop = train(adapter.trainable)
    const loss = await backward(() => model.loss(batch, targets, { total: targets.weight }))
    compare('loss', [loss], [expected])
    for (const [key, parameter] of adapter.tensors()) {
      if (!io.has(`grad.${key}`)) continue
      // PEFT trains what follows another by gradients of its own, ours come to one.
      const sum = io.readF32(`grad.${key}`)
      const [rows = 1, columns = 1] = parameter.shape
      for (const [copy, { of, isTransposed }] of adapter.copies)
        if (of === key && io.has(`grad.${copy}`))
          io.readF32(`grad.${copy}`).forEach((x, i) => {
            sum[isTransposed ? (i % rows) * columns + Math.floor(i / rows) : i]! += x
          })
      compare(key, await parameter.gradient!.data(), sum, { relative: 5e-5, absolute: 1e-7 })
    }
    stop()
    await withFolder(async out => {
      await adapter.save(join(out, 'again'))
      assert.equal(asSets(readConfig(join(out, 'again'))), asSets(readConfig(dir)))
      assert.equal(tensorsIn(join(out, 'again')), tensorsIn(dir))
    })
    adapter.detach()
    assert.equal(await bytesOf(model), original, 'detached, the base is as it was')
    model.dispose()
    io.close()
    assert.is(native.live(), before)
  })

for (const base of ['llama-lm', 'llama-lm-tied'])
  test(`${base}: a file that asks for tied words where there are none to tie is read, as PEFT reads it`, async () => {
    const model = await tinyModel(base)
    await withFolder(async out => {
      const adapter = attach(model, lora({ r: 2, targetModules: ['q_proj'] }))
      await adapter.save(out)
      adapter.detach()
      writeFileSync(join(out, 'adapter_config.json'), JSON.stringify({ ...readConfig(out), ensure_weight_tying: true }))
      const { matched } = await loadAdapter(model, out)
      assert.is(matched.length, model.backbone.layers)
    })
    model.dispose()
  })

async function randomise({ trainable }: Adapter): Promise<void> {
  for (const [i, { tensor, size }] of trainable.entries()) {
    const start = await tensor.data()
    tensor.upload(Float64Array.from({ length: size }, (_, j) => start[j]! + 0.2 * Math.sin(i * 3.1 + j * 1.7)))
  }
}

/** Base, targets, whether the two stay tied. */
const MERGED: readonly (readonly [string, object, boolean])[] = [
  ['llama-lm-tied', { targetModules: ['embed_tokens'] }, false],
  ['llama-lm-tied', { targetModules: ['lm_head', 'q_proj'] }, false],
  ['llama-lm-tied', { targetModules: ['embed_tokens', 'lm_head'] }, false],
  ['llama-lm-tied', { targetModules: ['embed_tokens'], ensureWeightTying: true }, true],
  ['llama-lm-tied', { targetModules: ['q_proj'] }, true],
  ['gpt2-lm', { targetModules: ['wte', 'wpe', 'lm_head'] }, false],
  ['llama-lm', { targetModules: ['embed_tokens', 'lm_head'] }, false],
  ['bert-seq', { targetModules: ['word_embeddings', 'token_type_embeddings'] }, true],
  ['t5', { targetModules: ['lm_head', 'q'] }, false],
]

for (const [base, options, staysTied] of MERGED)
  test(`${base} ${JSON.stringify(options)}: merged it computes the same, and so does the folder that is written`, async () => {
    const before = native.live()
    const model = await tinyModel(base, { storage: 'f64' })
    const { batch } = tinyBatch(base)
    const adapter = attach(model, lora({ r: 2, ...options }))
    await randomise(adapter)
    const [original, names] = [await bytesOf(model), [...model.parameters.keys()]]
    const logits = await logitsOf(model, batch)
    await withFolder(async out => {
      await saveMerged(model, join(out, 'beside'))
      adapter.merge()
      compare('merged', await logitsOf(model, batch), logits, { relative: 1e-10 })
      await saveMerged(model, join(out, 'merged'))
      for (const folder of ['beside', 'merged']) {
        const config = JSON.parse(readFileSync(join(out, folder, 'config.json'), 'utf8'))
        if (model.output) assert.is(config.tie_word_embeddings, staysTied, folder)
        const again = await loadModel(join(out, folder), { task: model.task, storage: 'f64' })
        compare(folder, await logitsOf(again, batch), logits, { relative: 2e-5 })
        again.dispose()
      }
    })
    adapter.unmerge()
    assert.equal([...model.parameters.keys()], names)
    assert.equal(await bytesOf(model), original)
    assert.equal(await logitsOf(model, batch), logits)
    adapter.merge()
    adapter.detach({ keep: true })
    compare('merged for good', await logitsOf(model, batch), logits, { relative: 1e-10 })
    model.dispose()
    assert.is(native.live(), before)
  })

test('one change for a tied pair: gradients by central differences, and a file that PEFT reads', async () => {
  const model = await tinyModel('llama-lm-tied', { storage: 'f64' })
  const { batch, labels } = tinyBatch('llama-lm-tied')
  const targets = targetsOf(model, batch, labels)
  const adapter = attach(model, lora({ r: 2, targetModules: ['lm_head'], ensureWeightTying: true }))
  assert.equal(
    adapter.trainable.map(({ name }) => name),
    ['model.embed_tokens.lora_embedding_A', 'model.embed_tokens.lora_embedding_B'],
  )
  await randomise(adapter)
  const loss = () => model.loss(batch, targets, { total: targets.weight })
  const stop = train(adapter.trainable)
  await backward(loss)
  const grads = await Promise.all(adapter.trainable.map(async ({ gradient }) => [...(await gradient!.data())]))
  for (const [i, { tensor, name }] of adapter.trainable.entries()) {
    const x = Float64Array.from(await tensor.data())
    const at = grads[i]!.reduce((best, g, j) => (Math.abs(g) > Math.abs(grads[i]![best]!) ? j : best), 0)
    const value = async (h: number) => {
      tensor.upload(Float64Array.from(x).with(at, x[at]! + h))
      return backward(loss)
    }
    const numeric = ((await value(1e-5)) - (await value(-1e-5))) / 2e-5
    compare(name, [grads[i]![at]!], [numeric], { relative: 1e-5, absolute: 1e-9 })
    tensor.upload(x)
  }
  stop()
  assert.equal(adapter.config()?.target_modules, ['model.embed_tokens'])
  model.dispose()
})

test('adapters of embeddings are combined and converted as those of linear layers', async () => {
  const model = await tinyModel('llama-lm-tied', { storage: 'f64' })
  const { batch } = tinyBatch('llama-lm-tied')
  for (const options of [
    { targetModules: ['embed_tokens', 'q_proj'] },
    { targetModules: ['embed_tokens'], ensureWeightTying: true },
  ]) {
    const pair = ['one', 'two'].map(name => attach(model, lora({ r: 2, ...options }), { name }))
    for (const each of pair) await randomise(each)
    const both = await logitsOf(model, batch)
    const { adapter } = await combine(pair.map(each => ({ adapter: each, weight: 1 })))
    compare('combined', await logitsOf(model, batch), both, { relative: 1e-10 })
    const plain = await convert(adapter, { rank: 4 })
    compare('converted', await logitsOf(model, batch), both, { relative: 1e-8 })
    for (const each of [...pair, adapter, plain.adapter]) each.detach()
  }
  model.dispose()
})

test('what no file can hold is refused, with the reason', async () => {
  const tied = await tinyModel('llama-lm-tied')
  const gpt2 = await tinyModel('gpt2-lm')
  const t5 = await tinyModel('t5')
  const refused = (body: () => unknown, message: RegExp) => assert.throws(body, (e: Error) => message.test(e.message))
  const both = { targetModules: ['embed_tokens'], ensureWeightTying: true }
  refused(
    () => attach(tied, lora({ targetModules: ['q_proj'], ensureWeightTying: true })),
    /list embed_tokens or lm_head/,
  )
  refused(() => attach(gpt2, lora({ targetModules: ['wte'], ensureWeightTying: true })), /PEFT ties embed_tokens/)
  refused(() => attach(t5, lora(both)), /PEFT ties embed_tokens/)
  refused(() => attach(tied, lora({ targetModules: ['embed_tokens'], useDora: true })), /useDora: is not built/)
  refused(() => attach(tied, lora({ targetModules: ['embed_tokens'], initLoraWeights: 'pissa' })), /pissa is not built/)
  refused(() => attach(tied, lora({ targetModules: ['embed_toke'] })), /did you mean "?embed_tokens/)
  assert.not.ok(attach(tied, lora({ targetModules: 'all-linear' })).carries('lm_head'))
  const said = attach(t5, lora({ targetModules: ['embed_tokens'] }))
  refused(() => said.merge(), /are one table in files of t5/)
  await withFolder(async out => {
    assert.match(String(await saveMerged(t5, out).catch(error => error)), /are one table in files of t5/)
  })
  for (const model of [tied, gpt2, t5]) model.dispose()
})

test('a file with another base weight than the model has is refused', async () => {
  const model = await tinyModel('llama-lm-tied')
  const weight = model.parameters.get('model.embed_tokens.weight')!
  weight.tensor.upload((await weight.tensor.data()).map(x => x + 1))
  const found = await loadAdapter(model, join(FOLDER, 'embed-llama-tied')).catch(error => error)
  assert.match(String(found), /embed_tokens.base_layer.weight is not the model's/)
  assert.is(model.adapters.size, 0)
  model.dispose()
})

test.run()
