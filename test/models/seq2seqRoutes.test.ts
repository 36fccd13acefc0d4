// An adapter per row on an encoder-decoder.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import { withRoutes } from '../../lib/nn/routes.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import { scope } from '../../lib/tensor.ts'
import { backward, logitsOf, tinyBatch, train } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'

const FOLDER = join(packageRoot, 'test/golden/seq2seq')
const task = 'seq2seq-lm'

test('each sequence goes through its own adapter, in encoder, decoder and what stands between', async () => {
  const before = native.live()
  const model = await loadModel(join(FOLDER, 't5'), { task })
  const others = { a: { r: 2 }, b: { r: 3, targetModules: 'all-linear' } }
  for (const [name, options] of Object.entries(others)) {
    const adapter = attach(model, lora(options), { name })
    for (const [i, { tensor, size }] of adapter.trainable.entries())
      tensor.upload(Float32Array.from({ length: size }, (_, j) => 0.3 * Math.sin(i * 3.1 + j + name.charCodeAt(0))))
  }
  const reads = [[5], [7, 23, 41, 11, 30, 8], [9, 12], [17, 6, 20]].map(ids => Int32Array.from(ids))
  const says = [[3, 4, 5], [8, 9, 10, 4, 5], [44], [2, 31]].map(ids => Int32Array.from(ids))
  const whose = ['a', 'b', null, 'a'] as const
  const alone: number[] = []
  for (const [i, adapter] of whose.entries()) {
    const batch = { ...pack([reads[i]!]), decoder: pack([says[i]!]) }
    const routes = [{ adapter, rows: reads[i]!.length }]
    const logits = scope(() => withRoutes(routes, () => model.logits(batch)))
    alone.push(...(await logits.data()))
    logits.dispose()
  }
  const batch = { ...pack(reads), decoder: pack(says) }
  const routes = whose.map((adapter, i) => ({ adapter, rows: reads[i]!.length }))
  const together = scope(() => withRoutes(routes, () => model.logits(batch)))
  compare('together', await together.data(), Float32Array.from(alone), { relative: 1e-5 })
  together.dispose()
  for (const { name } of model.adapters.values()) model.adapters.get(name)!.setActive(false)
  const plain = await logitsOf(model, batch)
  assert.not.equal(plain.subarray(0, 61), Float32Array.from(alone.slice(0, 61)))
  const third = says.slice(0, 2).reduce((sum, { length }) => sum + length, 0) * 61
  compare('the base', plain.subarray(third, third + 61), Float32Array.from(alone.slice(third, third + 61)), {
    relative: 1e-5,
  })
  const cut = [
    { adapter: 'a', rows: 3 },
    { adapter: 'b', rows: batch.ids.length - 3 },
  ]
  const broken = () => scope(() => withRoutes(cut, () => model.logits(batch)))
  assert.throws(broken, /withRoutes: a route ends at row 3, within a sequence that an encoder reads/)
  model.dispose()
  assert.is(native.live(), before)
})

test('adapters that share a pass have the gradients they have alone, with layers that run again too', async () => {
  const gradients = async (routes: readonly { adapter: string; rows: number }[], checkpoint: boolean) => {
    const model = await loadModel(join(FOLDER, 't5'), { task })
    const adapters = ['a', 'b'].map((name, k) =>
      attach(model, lora({ r: 2, targetModules: 'all-linear' }), { name, seed: k }),
    )
    for (const { trainable } of adapters)
      for (const [i, { tensor, size }] of trainable.entries())
        tensor.upload(Float32Array.from({ length: size }, (_, j) => 0.2 * Math.sin(i * 3.1 + j)))
    const trainable = adapters.flatMap(each => each.trainable)
    const stop = train(trainable)
    const { batch, labels, total } = tinyBatch('t5')
    await backward(() =>
      withRoutes(routes, () => model.loss(batch, targetsOf(model, batch, labels), { total, checkpoint })),
    )
    const found = await Promise.all(trainable.map(({ gradient }) => gradient!.data()))
    stop()
    model.dispose()
    return found
  }
  const { cuSeqlens } = tinyBatch('t5').batch
  const [first, all] = [cuSeqlens[1]!, cuSeqlens.at(-1)!]
  const [a, b] = await Promise.all(['a', 'b'].map(adapter => gradients([{ adapter, rows: all }], false)))
  const mixed = [
    { adapter: 'a', rows: first },
    { adapter: 'b', rows: all - first },
  ]
  const [plain, again] = [await gradients(mixed, false), await gradients(mixed, true)]
  assert.ok(plain.some(each => each.some(x => x !== 0)))
  for (const [i, own] of plain.entries()) compare(`run again ${i}`, again[i]!, own, { relative: 1e-5 })
  // Both begin alike: what each has of its own sequences adds up to what one has of all.
  const half = plain.length / 2
  for (let i = 0; i < half; i++) {
    const sum = Float32Array.from(plain[i]!, (x, k) => x + plain[half + i]![k]!)
    compare(`sum ${i}`, sum, a![i]!, { relative: 1e-4, absolute: 1e-6 })
    compare(`as one ${i}`, b![half + i]!, a![i]!, { relative: 1e-5, absolute: 1e-7 })
  }
})

test.run()
