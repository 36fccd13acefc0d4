// LoRA that begins in the weights, in what quantising lost, or along the data.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, dora, type LoraOptions, loadAdapter, lora } from '../../lib/peft/index.ts'
import { jacobiSvd, matrix, norm, product, transposed } from '../../lib/peft/linearAlgebra.ts'
import { STARTS } from '../../lib/peft/starts.ts'
import { scope, type Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { targetsOf } from '../support/targets.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { runToEnd, sequences, trainedBytes, tinyModel as trainingModel } from '../train/support.ts'
import { backward, bytesOf, logitsOf, tinyBatch, tinyModel, train, withFolder } from './golden.ts'

const NAMED = STARTS.filter(start => typeof start === 'string' && start !== 'gaussian' && start !== 'loftq')
const OPTIONS = { r: 4, alpha: 6, targetModules: 'all-linear' } satisfies LoraOptions

/** With its start found; data for those that look at some. */
async function begun(model: Model, base: string, options: LoraOptions, method = lora): Promise<Adapter<Model>> {
  const adapter = attach(model, method({ ...OPTIONS, ...options }))
  const { batch } = tinyBatch(base)
  await adapter.prepare([1, 2].map(() => () => void model.logits(batch)))
  return adapter
}

async function randomise({ trainable }: Adapter): Promise<void> {
  for (const [i, { tensor, size }] of trainable.entries()) {
    const start = await tensor.data()
    tensor.upload(Float64Array.from({ length: size }, (_, j) => start[j]! + 0.1 * Math.sin(i * 3.1 + j * 1.7)))
  }
}

async function balanced(body: () => Promise<void>): Promise<void> {
  const before = native.live()
  await body()
  assert.is(native.live(), before, 'every tensor is freed')
}

const read = async (tensor: Tensor) => matrix(tensor.rows, tensor.columns, await tensor.data())

async function factorsOf(adapter: Adapter, path: string) {
  const [a, b] = ['A', 'B'].map(which => adapter.trainable.find(p => p.name === `${path}.lora_${which}.weight`)!.tensor)
  return { a: await read(a!), b: await read(b!) }
}

for (const start of NAMED)
  for (const base of start.includes('niter') ? ['bert-seq'] : ['bert-seq', 'gpt2-lm', 't5'])
    test(`${start} on ${base}: nothing changes at the start, and all of it comes off`, () =>
      balanced(async () => {
        const model = await tinyModel(base)
        const { batch } = tinyBatch(base)
        const [original, bytes] = [await logitsOf(model, batch), await bytesOf(model)]
        const adapter = await begun(model, base, { initLoraWeights: start })
        compare('at the start', await logitsOf(model, batch), original, { relative: 5e-6 })
        assert.equal(await bytesOf(model), bytes, 'the weights stay as they are')
        await randomise(adapter)
        assert.not.equal(await logitsOf(model, batch), original)
        adapter.detach()
        assert.equal(await logitsOf(model, batch), original)
        model.dispose()
      }))

for (const start of ['pissa', 'olora', 'orthogonal', 'eva'] as const)
  test(`${start}: gradients by central differences, and merged as unmerged`, () =>
    balanced(async () => {
      const model = await tinyModel('bert-seq', { storage: 'f64' })
      const { batch, labels, total } = tinyBatch('bert-seq')
      const adapter = await begun(model, 'bert-seq', { initLoraWeights: start, rankPattern: { value: 3 * 2 } })
      await randomise(adapter)
      const loss = () => model.loss(batch, targetsOf(model, batch, labels), { total })
      const stop = train(adapter.trainable)
      await backward(loss)
      for (const { name, tensor, gradient } of adapter.trainable) {
        const [x, g] = [Float64Array.from(await tensor.data()), Float64Array.from(await gradient!.data())]
        const i = g.reduce((best, v, at) => (Math.abs(v) > Math.abs(g[best]!) ? at : best), 0)
        const at = async (h: number) => {
          tensor.upload(Float64Array.from(x).with(i, x[i]! + h))
          const found = scope(loss)
          const value = await found.item()
          found.dispose()
          return value
        }
        compare(name, [g[i]!], [((await at(1e-5)) - (await at(-1e-5))) / 2e-5], { relative: 1e-5, absolute: 1e-9 })
        tensor.upload(x)
      }
      stop()
      const logits = await logitsOf(model, batch)
      adapter.merge()
      compare('merged', await logitsOf(model, batch), logits, { relative: 1e-10 })
      model.dispose()
    }))

for (const start of NAMED)
  test(`${start}: the file is plain LoRA that computes the same, and is saved as it was read`, () =>
    balanced(() =>
      withFolder(async out => {
        const model = await tinyModel('bert-seq')
        const { batch } = tinyBatch('bert-seq')
        const patterns = start === 'orthogonal' ? {} : { rankPattern: { value: 3 }, alphaPattern: { dense: 5 } }
        const options = { initLoraWeights: start, useRslora: start === 'olora', evaRho: 2, ...patterns }
        const adapter = await begun(model, 'bert-seq', options)
        await randomise(adapter)
        const logits = await logitsOf(model, batch)
        await adapter.save(join(out, 'a'))
        adapter.detach()
        const loaded = await loadAdapter(model, join(out, 'a'), { trainable: true })
        compare('loaded', await logitsOf(model, batch), logits, { relative: 2e-6 })
        const config = JSON.parse(readFileSync(join(out, 'a/adapter_config.json'), 'utf8'))
        assert.is(config.init_lora_weights, start === 'orthogonal' ? 'orthogonal' : true)
        await loaded.save(join(out, 'b'))
        for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
          assert.ok(readFileSync(join(out, 'a', file)).equals(readFileSync(join(out, 'b', file))), file)
        model.dispose()
      }),
    ))

test('pissa begins as the truncated SVD of each weight, olora as its QR', () =>
  balanced(async () => {
    const model = await tinyModel('bert-seq')
    for (const start of ['pissa', 'pissa_niter_16', 'olora'] as const) {
      const adapter = await begun(model, 'bert-seq', { initLoraWeights: start })
      for (const { path, scale } of adapter.matched) {
        const { a, b } = await factorsOf(adapter, path)
        const w = await read(model.linears.get(path)!.weight.tensor)
        const { u, values, v } = jacobiSvd(w)
        const columns = (m: typeof u, by: (k: number) => number) =>
          matrix(
            m.rows,
            4,
            Array.from({ length: 4 * m.rows }, (_, i) => m.data[(i >> 2) * m.columns + (i % 4)]! * by(i % 4)),
          )
        const found = product(b, a)
        if (start === 'olora') {
          compare(`${path} BᵀB`, product(transposed(b), b).data, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], {
            absolute: 2e-6,
          })
          const first = (m: typeof w) =>
            Array.from({ length: 4 * m.rows }, (_, i) => m.data[(i >> 2) * m.columns + (i % 4)]!)
          compare(`${path}: the first columns`, first(found), first(w), { relative: 2e-5 })
          continue
        }
        const best = product(
          columns(u, k => values[k]! / scale!),
          transposed(columns(v, () => 1)),
        )
        compare(path, found.data, best.data, { relative: 1e-4 })
        assert.ok(Math.abs(norm(a) - norm(b)) < 1e-4 * norm(a), 'A and B share the singular values')
      }
      adapter.detach()
    }
    model.dispose()
  }))

test('orthogonal: neither A nor B is zero, B A is, and an odd rank is refused', () =>
  balanced(async () => {
    const model = await tinyModel('bert-seq')
    const adapter = await begun(model, 'bert-seq', { initLoraWeights: 'orthogonal' })
    const { a, b } = await factorsOf(adapter, adapter.matched[0]!.path)
    assert.ok(norm(a) > 0.1 && norm(b) > 0.1)
    assert.ok(norm(product(b, a)) < 1e-6)
    adapter.detach()
    assert.throws(() => attach(model, lora({ r: 3, initLoraWeights: 'orthogonal' })), /orthogonal halves the rank/)
    model.dispose()
  }))

test('eva: A lies along the principal directions of what a layer reads; ranks go where variance is', () =>
  balanced(async () => {
    const model = await tinyModel('bert-seq', { storage: 'f64' })
    const { batch } = tinyBatch('bert-seq')
    const path = 'bert.encoder.layer.0.attention.self.query'
    const x = await inputOf(model, path, () => model.logits(batch))
    const mean = Array.from({ length: x.columns }, (_, j) => {
      let sum = 0
      for (let i = 0; i < x.rows; i++) sum += x.data[i * x.columns + j]! / x.rows
      return sum
    })
    const { v } = jacobiSvd({ ...x, data: x.data.map((value, at) => value - mean[at % x.columns]!) })
    const adapter = await begun(model, 'bert-seq', { initLoraWeights: 'eva', r: 2 })
    const { a, b } = await factorsOf(adapter, path)
    assert.is(norm(b), 0)
    for (const k of [0, 1]) {
      const cosine = Array.from(
        { length: x.columns },
        (_, j) => a.data[k * x.columns + j]! * v.data[j * v.columns + k]!,
      )
      assert.ok(Math.abs(Math.abs(cosine.reduce((s, c) => s + c, 0)) - 1) < 1e-3, `direction ${k}`)
    }
    adapter.detach()
    const moved = await begun(model, 'bert-seq', { initLoraWeights: 'eva', r: 2, evaRho: 3 })
    const ranks = moved.matched.map(({ r }) => r!)
    assert.is(
      ranks.reduce((sum, r) => sum + r, 0),
      2 * ranks.length,
    )
    assert.ok(Math.max(...ranks) > 2 && Math.min(...ranks) === 1, `${ranks}`)
    model.dispose()
  }))

/** What a layer reads in a pass. */
async function inputOf(model: Model, path: string, pass: () => Tensor) {
  const { adapters } = model.linears.get(path)!
  let found: Promise<ReturnType<typeof matrix>> | undefined
  adapters.push({
    name: 'watch',
    params: [],
    active: true,
    input: x => {
      found = read(x)
      return x
    },
  })
  scope(pass).dispose()
  adapters.pop()
  return found!
}

test('loftq begins with what quantising lost: nearer to the weights, and to their logits', () =>
  balanced(async () => {
    const base = 'bert-seq'
    const { batch } = tinyBatch(base)
    const exact = await tinyModel(base)
    const wanted = await logitsOf(exact, batch)
    const model = await tinyModel(base, { storage: 'nf4' })
    const plain = await logitsOf(model, batch)
    const adapter = await begun(model, base, { initLoraWeights: 'loftq', r: 16 })
    const off = (logits: Float32Array) => Math.hypot(...logits.map((x, i) => x - wanted[i]!))
    const [before, after] = [off(plain), off(await logitsOf(model, batch))]
    assert.ok(after < 0.6 * before, `${before} ${after}`)
    assert.throws(() => attach(exact, lora({ initLoraWeights: 'loftq' })), /loftq begins with what quantising lost/)
    for (const each of [adapter.host, exact]) each.dispose()
  }))

for (const storage of ['int8', 'nf4'] as const)
  test(`pissa beside weights in ${storage}, and with DoRA, changes nothing at the start`, () =>
    balanced(async () => {
      const model = await tinyModel('bert-seq', { storage })
      const { batch } = tinyBatch('bert-seq')
      const original = await logitsOf(model, batch)
      for (const method of [lora, dora]) {
        const adapter = await begun(model, 'bert-seq', { initLoraWeights: 'pissa' }, method)
        compare('at the start', await logitsOf(model, batch), original, { relative: 1e-5 })
        adapter.detach()
      }
      model.dispose()
    }))

for (const start of ['pissa', 'eva'] as const)
  test(`${start}: a run that is resumed ends with the bytes of one that was not`, () =>
    balanced(async () => {
      const data = { train: sequences(48), validation: sequences(12, 9) }
      const run = async (options: object, stopAt?: number) => {
        const model = trainingModel()
        const adapter = attach(model, lora({ ...OPTIONS, initLoraWeights: start, evaRho: 2 }), { seed: 2 })
        const abort = new AbortController()
        const settings = { epochs: 2, batchSize: 8, lr: 1e-3, evaluateBefore: false, signal: abort.signal, ...options }
        await runToEnd(adapter, data, settings, event => {
          if (event.type === 'step' && event.step === stopAt) abort.abort()
        })
        const bytes = await trainedBytes(adapter)
        model.dispose()
        return bytes
      }
      const whole = await run({})
      const outputDir = temporaryFolder()
      await run({ outputDir }, 8)
      assert.is(await run({ outputDir, resume: true }), whole)
    }))

test('before the start is found nothing is computed, saved or merged', () =>
  balanced(async () =>
    withFolder(async out => {
      const model = await tinyModel('bert-seq')
      const { batch } = tinyBatch('bert-seq')
      const adapter = attach(model, lora({ initLoraWeights: 'pissa' }))
      const isRefused = (error: unknown) => error instanceof LowrankError && /adapter\.prepare\(\)/.test(error.message)
      assert.throws(() => scope(() => model.logits(batch)), isRefused)
      assert.throws(() => adapter.merge(), isRefused)
      assert.ok(isRefused(await adapter.save(join(out, 'x')).catch(error => error)))
      adapter.detach()
      const blind = attach(model, lora({ initLoraWeights: 'eva' }))
      assert.match(String(await blind.prepare().catch(error => error)), /forward passes over data/)
      model.dispose()
    }),
  ))

test.run()
