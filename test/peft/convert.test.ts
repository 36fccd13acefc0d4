// Adapters of other methods as plain LoRA, and distances of any two.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { normal } from '../../lib/nn/init.ts'
import { type Adapter, attach, convert, createMethod, distances, spectra } from '../../lib/peft/index.ts'
import { jacobiSvd, matrix, norm, product, randomizedSvd, transposed } from '../../lib/peft/linearAlgebra.ts'
import { compare } from '../support/compare.ts'
import { logitsOf, tinyBatch, tinyModel } from './golden.ts'

/** A method on the tiny model with values that training might have left. */
function trained(
  model: Awaited<ReturnType<typeof tinyModel>>,
  type: string,
  options: object,
  phase = 0,
  name = 'default',
) {
  const adapter = attach(model, createMethod(type, options), { seed: 1, name })
  for (const [i, { tensor, size }] of adapter.trainable.entries())
    tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.3 * Math.sin(i * 3.1 + j * 1.7 + phase) + 0.02))
  return adapter
}

async function changes(adapter: Adapter, path: string): Promise<number[]> {
  const delta = adapter.deltaWeight(path)
  return Array.from(await delta.data().finally(() => delta.dispose())) as number[]
}

test('the randomised SVD: the largest values and vectors of a matrix whose values fall off', () => {
  const [rows, columns, rank] = [90, 70, 5]
  const decay = Array.from({ length: columns }, (_, k) => 0.7 ** k)
  const basis = (n: number, name: string) => jacobiSvd(matrix(n, columns, normal(n * columns, 1, 1, name))).u
  const [u, v] = [basis(rows, 'u'), basis(columns, 'v')]
  const a = product({ ...u, data: u.data.map((x, at) => x * decay[at % columns]!) }, transposed(v))
  const found = randomizedSvd(a, rank)
  compare('values', found.values.subarray(0, rank), decay.slice(0, rank), { relative: 1e-10 })
  const rebuilt = product(
    { ...found.u, data: found.u.data.map((x, at) => x * found.values[at % found.u.columns]!) },
    transposed(found.v),
  )
  const rest = norm({ ...a, data: a.data.map((x, at) => x - rebuilt.data[at]!) })
  assert.ok(rest < 1.01 * Math.hypot(...decay.slice(rank + 10)), `${rest}`)
  assert.equal(randomizedSvd(a, rank).values, found.values)
})

test('DoRA, whose change has no factors, becomes LoRA with the error that is measured', async () => {
  const before = native.live()
  const model = await tinyModel('bert-mlm')
  const { batch } = tinyBatch('bert-mlm')
  const source = trained(model, 'dora', { r: 4 })
  const logits = await logitsOf(model, batch)
  const full = Math.min(...source.matched.map(({ path }) => model.linears.get(path)!.inFeatures))
  const whole = await convert(source, { rank: full, name: 'whole' })
  for (const error of whole.errors.values()) assert.ok(error < 1e-6, `${error}`)
  compare('logits', await logitsOf(model, batch), logits, { relative: 1e-4, absolute: 1e-4 })
  whole.adapter.detach()
  source.setActive(true)
  const small = await convert(source, { rank: 3, name: 'small' })
  for (const [path, error] of small.errors) {
    const [exact, close] = [await changes(source, path), await changes(small.adapter, path)]
    const lost = Math.hypot(...exact.map((x, i) => x - close[i]!)) / Math.hypot(...exact)
    compare(path, [error], [lost], { relative: 1e-3, absolute: 1e-6 })
    assert.ok(error > 1e-3, `${path}: DoRA's change is of full rank`)
  }
  assert.is(small.adapter.matched[0]!.r, 3)
  model.dispose()
  assert.is(native.live(), before)
})

test('what LoRA cannot hold is refused by name: biases, methods without a change of weights', async () => {
  const model = await tinyModel('bert-mlm')
  const cases: [string, object, RegExp][] = [
    ['ia3', {}, /^convert: .* changes the bias of .* too/],
    ['bitfit', {}, /^convert: .* changes no weight of a linear layer/],
    ['lora', { bias: 'all', r: 2 }, /^combine: .*bias of "default" trains whole/],
    ['adapter', {}, /^merge: .* has no change of its weight/],
  ]
  for (const [type, options, message] of cases) {
    const source = trained(model, type, options)
    const error = await convert(source).catch((thrown: Error) => thrown)
    assert.match((error as Error).message, message, type)
    assert.equal([...model.adapters.keys()], ['default'], `${type}: nothing is left behind`)
    source.detach()
  }
  const source = trained(model, 'lora', { r: 2 })
  const error = await convert(source, { rank: 0 }).catch((thrown: Error) => thrown)
  assert.match((error as Error).message, /^rank: 0, expected a whole number from 1/)
  model.dispose()
})

test('distances of methods without factors, and of layers that only one has', async () => {
  const model = await tinyModel('bert-mlm')
  const first = trained(model, 'dora', { r: 2, targetModules: ['query'] })
  const second = trained(model, 'lora', { r: 2, targetModules: ['query', 'value'] }, 1, 'other')
  const found = await distances(first, second)
  for (const { path } of second.matched) {
    const b = await changes(second, path)
    const a = first.carries(path) ? await changes(first, path) : b.map(() => 0)
    const expected = [a, b, a.map((x, i) => x - b[i]!)].map(x => Math.hypot(...x))
    const { first: na, second: nb, difference } = found.get(path)!
    compare(path, [na, nb, difference], expected, { relative: 1e-5 })
  }
  assert.is(found.size, second.matched.length)
  for (const { difference } of (await distances(first, first)).values()) assert.is(difference, 0)
  model.dispose()
})

test('of several heads the one that is named is kept', async () => {
  const { combine } = await import('../../lib/peft/index.ts')
  const model = await tinyModel('bert-seq')
  const { batch } = tinyBatch('bert-seq')
  const first = trained(model, 'lora', { r: 2 }, 0, 'first')
  first.setActive(false)
  const second = trained(model, 'lora', { r: 2 }, 1, 'second')
  const logits = await logitsOf(model, batch)
  const parts = [
    { adapter: first, weight: 0 },
    { adapter: second, weight: 1 },
  ]
  await combine(parts, { head: 'second' })
  compare('logits', await logitsOf(model, batch), logits, { relative: 1e-4, absolute: 1e-5 })
  const error = await combine(parts, { head: 'third', name: 'other' }).catch((thrown: Error) => thrown)
  assert.match((error as Error).message, /^head: no adapter "third" with a head is combined; first, second have one/)
  model.dispose()
})

test('spectra: the singular values of each change, those that AdaLoRA has at zero among them; none where there is more', async () => {
  const model = await tinyModel('bert-mlm')
  for (const [type, options] of [
    ['lora', { r: 3 }],
    ['adalora', { initR: 4, targetR: 4 }],
    ['lora', { r: 2, initLoraWeights: 'pissa' }],
  ] as const) {
    const adapter = trained(model, type, options)
    await adapter.prepare()
    const sigma = adapter.trainable.find(({ name }) => name.endsWith('lora_E'))
    sigma?.tensor.upload(Float32Array.from([0.5, 0, 0.25, 0]))
    const found = await spectra(adapter)
    assert.equal(
      [...found!.keys()],
      adapter.matched.map(({ path }) => path),
    )
    const [path, values] = [...found!][0]!
    const { inFeatures, outFeatures } = model.linears.get(path)!
    const dense = jacobiSvd(matrix(outFeatures, inFeatures, await changes(adapter, path))).values
    compare(path, values, dense.slice(0, values.length), { relative: 1e-5, absolute: 1e-6 })
    if (sigma) assert.is(values.filter(value => value > 1e-6).length, 2)
    adapter.detach()
  }
  for (const [type, options] of [
    ['dora', { r: 4 }],
    ['lora', { r: 2, trainableTokenIndices: [3, 5] }],
    ['token-rows', { tokenIndices: [3, 5] }],
  ] as const) {
    const other = attach(model, createMethod(type, options))
    assert.is(await spectra(other), undefined, type)
    other.detach()
  }
  model.dispose()
})

test.run()
