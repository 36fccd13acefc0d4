// Full fine-tuning: what trains, how it is saved, and what can be undone.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { loadModel, type Model, type ModelOptions } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena } from '../../lib/optim/arena.ts'
import {
  type Adapter,
  attach,
  type FullOptions,
  fullFineTuning,
  lastLayers,
  readAdapterInfo,
  saveAdapter,
} from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, bytesOf, logitsOf, tinyBatch, tinyModel, withFolder } from './golden.ts'

async function withModel(
  name: string,
  body: (model: Model) => void | Promise<void>,
  options: Partial<ModelOptions> = {},
): Promise<void> {
  const before = native.live()
  const model = await tinyModel(name, options)
  await body(model)
  model.dispose()
  assert.is(native.live(), before, 'every tensor is freed')
}

/** A few AdamW steps; returns the losses. */
async function steps(model: Model, attached: Adapter, name: string, count = 3): Promise<number[]> {
  const { batch, labels, total } = tinyBatch(name)
  const arena = new Arena(attached.trainable, model.device)
  const optimizer = new AdamW(arena)
  const losses: number[] = []
  for (let i = 0; i < count; i++) {
    arena.zeroGrads()
    losses.push(await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total })))
    scope(() => {
      optimizer.step(0.005)
    })
  }
  assert.throws(
    () => attached.detach(),
    (error: Error) => /optimizer still trains/.test(error.message),
  )
  arena.dispose()
  return losses
}

for (const name of ['bert-seq', 'roberta-seq', 'distilbert-tok', 'bert-mlm'])
  test(`${name}: every parameter trains, and the model is saved as a folder`, () =>
    withModel(name, async model => {
      const attached = attach(model, fullFineTuning())
      assert.equal(
        attached.trainable.map(p => p.name),
        [...model.parameters.keys()],
      )
      assert.is(attached.config(), undefined)
      const losses = await steps(model, attached, name)
      assert.ok(losses.at(-1)! < losses[0]!, `the loss falls: ${losses}`)
      const { batch } = tinyBatch(name)
      const logits = await logitsOf(model, batch)
      await withFolder(async out => {
        const dir = join(out, 'model')
        assert.is(await saveAdapter(attached, dir), dir)
        assert.not.ok(existsSync(join(dir, 'adapter_config.json')))
        const { method, task, problem } = await readAdapterInfo(dir)
        assert.equal([method, task, problem], ['full', model.task, 'single'])
        const loaded = await loadModel(dir, { task: model.task })
        assert.equal(loaded.labels, model.labels)
        assert.equal(await logitsOf(loaded, batch), logits)
        loaded.dispose()
      })
      attached.detach()
      assert.equal(await logitsOf(model, batch), logits, 'detached, the model stays trained')
    }))

test('keepOriginal: switched off and detached, the original bytes are back', () =>
  withModel('bert-seq', async model => {
    const original = await bytesOf(model)
    const attached = attach(model, fullFineTuning({ keepOriginal: true }))
    await steps(model, attached, 'bert-seq')
    const trained = await bytesOf(model)
    assert.not.equal(trained, original)
    attached.setActive(false)
    assert.equal(await bytesOf(model), original)
    attached.setActive(true)
    assert.equal(await bytesOf(model), trained)
    attached.detach()
    assert.equal(await bytesOf(model), original)
  }))

test('a base stored as bf16 trains in f32 from the same values', () =>
  withModel(
    'bert-bf16',
    async model => {
      const { batch } = tinyBatch('bert-bf16')
      const base = await logitsOf(model, batch)
      const attached = attach(model, fullFineTuning())
      assert.ok(attached.trainable.every(({ tensor }) => tensor.dtype === 'f32'))
      compare('logits', await logitsOf(model, batch), base)
      await steps(model, attached, 'bert-bf16')
      attached.detach()
    },
    { storage: 'bf16' },
  ))

test('options choose what trains', () =>
  withModel('bert-seq', model => {
    const trained = (options: FullOptions) => {
      const attached = attach(model, fullFineTuning(options))
      attached.detach()
      return attached.trainable.map(({ name }) => name)
    }
    const all = [...model.parameters.keys()]
    const noEmbeddings = trained({ freezeEmbeddings: true })
    assert.equal(
      noEmbeddings,
      all.filter(name => !name.startsWith('bert.embeddings.')),
    )
    assert.equal(
      trained({ freezeEmbeddings: true, layers: [1] }),
      noEmbeddings.filter(name => !name.includes('.layer.0.')),
    )
    assert.ok(trained({ layers: 1 }).includes('bert.embeddings.word_embeddings.weight'))
  }))

test('refused: unknown options, absent layers, and what only adapters can do', () =>
  withModel('bert-seq', async model => {
    const refuses = (body: () => unknown, code: string, message: RegExp) =>
      assert.throws(
        body,
        (error: unknown) => error instanceof LowrankError && error.code === code && message.test(error.message),
      )
    refuses(() => fullFineTuning({ r: 8 } as FullOptions), 'ERR_OPTION', /^r: is no option of full/)
    refuses(() => attach(model, fullFineTuning({ layers: 5 })), 'ERR_OPTION', /no layer 5; the model has 0 to 1/)
    const attached = attach(model, fullFineTuning())
    refuses(() => attached.setActive(false), 'ERR_OPTION', /keepOriginal/)
    refuses(() => attached.merge(), 'ERR_UNSUPPORTED', /nothing to merge/)
    refuses(() => attached.deltaWeight('x'), 'ERR_UNSUPPORTED', /no low-rank change/)
    await withFolder(async dir => {
      writeFileSync(join(dir, 'notes.txt'), 'mine')
      const error = await saveAdapter(attached, dir).catch((thrown: Error) => thrown)
      assert.match((error as Error).message, /notes\.txt/)
      assert.is(readFileSync(join(dir, 'notes.txt'), 'utf8'), 'mine')
    })
    attached.detach()
  }))

for (const [base, from, first] of [
  ['bert-seq', /^bert\.encoder\.layer\.1\.|^bert\.pooler|^classifier/, 'bert.encoder.layer.1.'],
  ['llama-lm-tied', /^model\.layers\.1\.|^model\.norm/, 'model.layers.1.'],
  ['t5', /^encoder\.block\.1\.|^decoder\.block\.2\.|final_layer_norm/, 'encoder.block.1.'],
] as const)
  test(`last-layers on ${base}: the last layer and what follows it train, embeddings and the first layer do not`, () =>
    withModel(base, model => {
      const adapter = attach(model, lastLayers({ keepOriginal: true }))
      const names = adapter.trainable.map(({ name }) => name)
      assert.ok(names[0]!.startsWith(first), names[0])
      const wanted = [...model.parameters.keys()].filter(name => from.test(name))
      assert.equal(names, wanted)
      assert.ok(names.length < model.parameters.size)
      adapter.detach()
      assert.throws(() => attach(model, lastLayers({ lastLayers: 9 })), /lastLayers: 9, and the model has 2; take full/)
    }))

test.run()
