// An adapter for each row: parts of a batch through their own factors, heads and biases, and through the base.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Route, withRoutes } from '../../lib/nn/routes.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { sum } from '../../lib/ops/sum.ts'
import { type Adapter, attach, type LoraOptions, lora } from '../../lib/peft/index.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { backward, logitsOf, tinyBatch, tinyModel, train } from './golden.ts'

function adapter(model: Model, name: string, options: LoraOptions): Adapter {
  const attached = attach(model, lora(options), { name })
  for (const [i, { tensor, size }] of attached.trainable.entries())
    tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.3 * Math.sin(name.length * 7.3 + i * 3.1 + j * 1.7)))
  return attached
}

for (const name of ['bert-seq', 'roberta-seq', 'distilbert-tok'])
  test(`${name}: rows compute what they compute when their adapter is alone, forward and backward`, async () => {
    const before = native.live()
    const model = await tinyModel(name)
    const { batch, lengths } = tinyBatch(name)
    const isDistil = name.startsWith('distil')
    const adapters = [
      adapter(model, 'a', { r: 2, bias: 'all', targetModules: ['word_embeddings', isDistil ? 'q_lin' : 'query'] }),
      adapter(model, 'bb', { r: 4, targetModules: 'all-linear' }),
    ]
    // Sequences in turn: a, bb, the base.
    const owners = lengths.map((_, i) => ['a', 'bb', null][i % 3]!)
    const routes: Route[] = lengths.map((rows, i) => ({ adapter: owners[i]!, rows }))
    const alone = new Map<string | null, Float32Array>()
    for (const owner of ['a', 'bb', null]) {
      for (const each of adapters) each.setActive(each.name === owner)
      alone.set(owner, await logitsOf(model, batch))
    }
    const routed = await withRoutes(routes, () => logitsOf(model, batch))
    const isToken = name.endsWith('tok')
    const heights = isToken ? lengths : lengths.map(() => 1)
    const width = routed.length / heights.reduce((a, b) => a + b, 0)
    const owner = heights.flatMap((height, i) => new Array<string | null>(height * width).fill(owners[i]!))
    // Few rows take another product, which adds up in another order.
    const expected = routed.map((_, i) => alone.get(owner[i]!)![i]!)
    compare('logits', routed, expected, { relative: 1e-5, absolute: 1e-6 })
    // d/dθ of Σ logits² over the rows of one adapter.
    for (const each of adapters) {
      const mask = Tensor.from(
        Float32Array.from(owner, o => Number(o === each.name)),
        [routed.length / width, width],
      )
      const loss = () => sum(multiply(multiply(model.logits(batch), model.logits(batch)), mask))
      for (const other of adapters) other.setActive(other === each)
      const stop = train(each.trainable)
      await backward(loss)
      const expected = await Promise.all(each.trainable.map(p => p.gradient!.data()))
      stop()
      const again = train(each.trainable)
      await withRoutes(routes, () => backward(loss))
      for (const [i, p] of each.trainable.entries())
        compare(p.name, await p.gradient!.data(), expected[i]!, { relative: 1e-5, absolute: 5e-6 })
      again()
      mask.dispose()
    }
    model.dispose()
    assert.is(native.live(), before)
  })

test('layers that run again in backward see the routes of the forward pass', async () => {
  const before = native.live()
  const model = await tinyModel('bert-seq')
  const { batch, labels, lengths } = tinyBatch('bert-seq')
  const adapters = ['a', 'b'].map(name => adapter(model, name, { r: 2, targetModules: 'all-linear' }))
  const routes: Route[] = lengths.map((rows, i) => ({ adapter: i === 1 ? 'b' : 'a', rows }))
  const targets = targetsOf(model, batch, labels)
  const parameters = adapters.flatMap(each => [...each.trainable]).filter(({ name }) => name.includes('lora_'))
  const gradients = async (checkpoint: boolean) => {
    const stop = train(parameters)
    scope(() => {
      const tape = new Tape()
      const loss = withRoutes(routes, () => tape.run(() => model.loss(batch, targets, { total: 3, checkpoint })))
      tape.backward(loss)
    })
    const found = await Promise.all(parameters.map(p => p.gradient!.data()))
    stop()
    return found
  }
  const [plain, again] = [await gradients(false), await gradients(true)]
  assert.ok(plain.every(each => each.some(Boolean)))
  assert.equal(again, plain)
  model.dispose()
  assert.is(native.live(), before)
})

test('dropout sees the same rows whether a batch is cut or not', async () => {
  const model = await tinyModel('bert-seq')
  const { batch, lengths } = tinyBatch('bert-seq')
  const first = adapter(model, 'a', { r: 2, dropout: 0.5 })
  // The same values under another name: cut between them, the batch is the batch of one.
  const twin = attach(model, lora({ r: 2, dropout: 0.5 }), { name: 'twin' })
  for (const [i, { tensor }] of twin.trainable.entries()) tensor.upload(await first.trainable[i]!.tensor.data())
  twin.setActive(false)
  const random = { seed: 1, step: 0, rowOffset: 3, sequenceOffset: 1 }
  const logits = () => withRandom(random, () => scope(() => model.logits(batch)))
  const whole = logits()
  const routes = lengths.map((rows, i) => ({ adapter: i === 0 ? 'a' : 'twin', rows }))
  const cut = withRoutes(routes, logits)
  compare('logits', await cut.data(), await whole.data(), { relative: 1e-5, absolute: 1e-6 })
  for (const tensor of [whole, cut]) tensor.dispose()
  model.dispose()
})

test('routes that do not cover the batch are refused', async () => {
  const model = await tinyModel('bert-seq')
  const { batch } = tinyBatch('bert-seq')
  adapter(model, 'a', { r: 2 })
  assert.throws(
    () =>
      withRoutes(
        [
          { adapter: 'a', rows: 3 },
          { adapter: null, rows: 1 },
        ],
        () => scope(() => model.logits(batch)),
      ),
    (error: Error) => /routes have 4 rows, the batch \d+; give every row a route/.test(error.message),
  )
  model.dispose()
})

test.run()
