// Encoder-decoders with other heads than a language model's against transformers (test/golden/seq2seq/make_heads.py).

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import type { PackedBatch } from '../../lib/nn/batch.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { attach, loadAdapter, lora, saveMerged } from '../../lib/peft/index.ts'
import { backward, logitsOf, readMeta, train, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { batchOf, ints, unpad } from '../support/padded.ts'
import { TASKS_BY_WORD, targetsOf } from '../support/targets.ts'

const FOLDER = join(packageRoot, 'test/golden/seq2seq/heads')

interface Meta {
  task: string
  labels: number | null
  lengths: number[]
  loss: number
}

async function open(name: string) {
  const dir = join(FOLDER, name)
  const { task, labels: count, lengths, loss } = readMeta<Meta>(dir)
  const io = openSafetensors(join(dir, 'io.safetensors'))
  const batch = batchOf(io, lengths)
  const names = count === null ? undefined : Array.from({ length: count }, (_, i) => `L${i}`)
  const model = await loadModel(dir, { task: TASKS_BY_WORD[task]!, labels: names })
  const padded = io.readF32('logits')
  const logits = task === 'seq' ? padded : unpad(padded, lengths, io.info('logits').shape[2])
  const labels = task === 'tok' ? unpad(ints(io, 'labels'), lengths) : ints(io, 'labels')
  const total = task === 'tok' ? batch.ids.length : lengths.length
  return { dir, task, io, model, batch, labels, logits, loss, total }
}

for (const name of readdirSync(FOLDER))
  test(`${name}: logits, loss and every gradient equal transformers'`, async () => {
    const before = native.live()
    const { io, model, batch, labels, logits, loss, total } = await open(name)
    assert.is(model.newTensors.length, 0)
    compare('logits', await logitsOf(model, batch), logits, { relative: 1e-4 })
    const parameters = [...model.parameters.values()]
    const stop = train(parameters)
    const value = await backward(() => model.loss(batch, targetsOf(model, batch, labels), { total }))
    compare('loss', [value], [loss], { relative: 1e-5 })
    for (const each of parameters)
      compare(each.name, await each.gradient!.data(), io.readF32(`grad.${each.name}`), {
        relative: 1e-4,
        absolute: 1e-7,
      })
    assert.is(io.names().filter(key => key.startsWith('grad.')).length, parameters.length)
    stop()
    model.dispose()
    io.close()
    assert.is(native.live(), before)
  })

test('a tagger sits on the encoder alone, and takes it out of a whole model', async () => {
  const base = join(packageRoot, 'test/golden/seq2seq/t5')
  const model = await loadModel(base, { task: TASKS_BY_WORD.tok!, labels: ['a', 'b'] })
  assert.equal(model.newTensors, ['classifier.weight', 'classifier.bias'])
  assert.not.ok([...model.parameters.keys()].some(name => name.includes('decoder')))
  assert.not.ok([...model.embeddings.keys()].some(path => path.includes('decoder')))
  model.dispose()
})

test('a classifier sees the same masks whether a batch is cut or not', async () => {
  const { io, model, batch } = await open('t5-seq')
  const { ids, cuSeqlens } = batch
  const logits = async (from: number, to: number) => {
    const [begin, end] = [cuSeqlens[from]!, cuSeqlens[to]!]
    const part: PackedBatch = {
      ...batch,
      ids: ids.slice(begin, end),
      cuSeqlens: cuSeqlens.slice(from, to + 1).map(at => at - begin),
    }
    const offsets = { rowOffset: begin, sequenceOffset: from, selectedOffset: from, decoderOffset: 0 }
    return [...(await withRandom({ seed: 3, step: 1, ...offsets }, () => logitsOf(model, part)))]
  }
  compare('logits', [...(await logits(0, 1)), ...(await logits(1, 3))], await logits(0, 3), { relative: 1e-5 })
  model.dispose()
  io.close()
})

test('an adapter of a classifier is saved, loaded and merged with its head', async () => {
  const { io, model, batch, dir } = await open('t5-seq')
  const adapter = attach(model, lora({ r: 2, modulesToSave: ['classification_head'] }))
  for (const [i, { tensor, size }] of adapter.trainable.entries())
    tensor.upload(Float32Array.from({ length: size }, (_, j) => 0.2 * Math.sin(i * 3.1 + j * 1.7)))
  const logits = await logitsOf(model, batch)
  const config = (from: string) => JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'))
  await withFolder(async out => {
    await adapter.save(join(out, 'a'))
    await saveMerged(model, join(out, 'merged'))
    adapter.detach()
    await loadAdapter(model, join(out, 'a'))
    assert.equal(await logitsOf(model, batch), logits)
    assert.equal(config(join(out, 'merged')).architectures, config(dir).architectures)
    const merged: Model = await loadModel(join(out, 'merged'), { task: model.task })
    compare('merged', await logitsOf(merged, batch), logits, { relative: 1e-5 })
    merged.dispose()
  })
  model.dispose()
  io.close()
})

test('a language model becomes a classifier, whose head is new', async () => {
  const base = join(packageRoot, 'test/golden/seq2seq/t5')
  const model = await loadModel(base, { task: TASKS_BY_WORD.seq!, labels: ['a', 'b'] })
  assert.equal(
    model.newTensors,
    ['dense.weight', 'dense.bias', 'out_proj.weight', 'out_proj.bias'].map(name => `classification_head.${name}`),
  )
  const { batch, io, model: other } = await open('t5-seq')
  assert.is((await logitsOf(model, batch)).length, 6)
  const noEnd = { ...batch, ids: batch.ids.map(id => Math.max(id, 2)) }
  await logitsOf(model, noEnd).then(
    () => assert.unreachable(),
    error => assert.match(error.message, /sequence 0 has no token 1/),
  )
  for (const each of [model, other]) each.dispose()
  io.close()
})

test.run()
