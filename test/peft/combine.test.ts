// Adapters combined as PEFT combines them (test/golden/peft/combined), and converted to other ranks.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { native } from '../../lib/native.ts'
import { attach, type Combination, combine, createMethod, distances, loadAdapter } from '../../lib/peft/index.ts'
import { jacobiSvd, matrix, product, productSvd, transposed } from '../../lib/peft/linearAlgebra.ts'
import { compare } from '../support/compare.ts'
import { logitsOf, tinyBatch, tinyModel } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/peft/combined')
const made = (rows: number, columns: number, phase: number) =>
  matrix(
    rows,
    columns,
    Array.from({ length: rows * columns }, (_, i) => Math.sin(1.7 * i + phase) + 0.1 * i),
  )

test('the SVD: orthogonal vectors, falling values, and the matrix again', () => {
  for (const [rows, columns] of [
    [7, 4],
    [4, 7],
    [5, 5],
    [6, 1],
  ] as const) {
    const a = made(rows, columns, rows)
    const { u, values, v } = jacobiSvd(a)
    const scaled = { ...u, data: u.data.map((x, at) => x * values[at % u.columns]!) }
    compare('the matrix', product(scaled, transposed(v)).data, a.data, { relative: 1e-12 })
    for (const side of [u, v]) {
      const gram = product(transposed(side), side)
      const one = gram.data.map((_, at) => Number(at % (gram.columns + 1) === 0))
      compare('orthogonal', gram.data, one, { relative: 1e-12 })
    }
    assert.equal(
      [...values],
      [...values].sort((x, y) => y - x),
    )
  }
  const [b, a] = [made(9, 3, 1), made(3, 8, 2)]
  compare('of a product', productSvd(b, a).values, jacobiSvd(product(b, a)).values.subarray(0, 3), { relative: 1e-10 })
})

const CASES: [Combination, object, string][] = [
  ['linear', {}, 'linear'],
  ['cat', {}, 'cat'],
  ['svd', { rank: 3 }, 'svd'],
  ['ties', { density: 0.4 }, 'ties'],
  ['ties', { density: 0.4, sign: 'frequency' }, 'ties_frequency'],
  ['magnitude_prune', { density: 0.4 }, 'magnitude_prune'],
]
for (const [kind, options, name] of CASES)
  test(`${name}: the change of each weight is PEFT's`, async () => {
    const before = native.live()
    const model = await tinyModel('bert-mlm')
    const io = openSafetensors(join(FOLDER, 'combined.safetensors'))
    const a = await loadAdapter(model, join(FOLDER, 'a'), { name: 'a' })
    const b = await loadAdapter(model, join(FOLDER, 'b'), { name: 'b' })
    const { adapter } = await combine(
      [
        { adapter: a, weight: 0.7 },
        { adapter: b, weight: -0.4 },
      ],
      { kind, ...options },
    )
    for (const { path } of adapter.matched) {
      const delta = adapter.deltaWeight(path)
      compare(path, await delta.data(), io.readF32(`${name}/${path}`))
      delta.dispose()
    }
    assert.not.ok(a.isActive || b.isActive)
    io.close()
    model.dispose()
    assert.is(native.live(), before)
  })

test('dare keeps the mean, and is the same for one seed', async () => {
  const model = await tinyModel('bert-mlm')
  const a = await loadAdapter(model, join(FOLDER, 'a'), { name: 'a' })
  const run = async (seed: number, name: string) => {
    const { adapter } = await combine([{ adapter: a, weight: 1 }], { kind: 'dare_linear', density: 0.5, seed, name })
    return adapter.trainable[0]!.tensor.data()
  }
  const [first, again, other] = [await run(1, 'x'), await run(1, 'y'), await run(2, 'z')]
  assert.equal(again, first)
  assert.not.equal(other, first)
  const zeros = Array.from(first).filter(x => x === 0).length / first.length
  assert.ok(zeros > 0.3 && zeros < 0.7, `${zeros} dropped`)
  model.dispose()
})

for (const type of ['adalora', 'vera', 'miss', 'lora'])
  test(`${type} becomes plain LoRA: exact at its rank, with the error told below it`, async () => {
    const model = await tinyModel('bert-mlm')
    const { batch } = tinyBatch('bert-mlm')
    const options = type === 'adalora' ? { initR: 4, targetR: 4 } : { r: 4 }
    const source = attach(model, createMethod(type, options), { seed: 1 })
    for (const [i, { tensor, size }] of source.trainable.entries())
      tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.3 * Math.sin(i * 3.1 + j * 1.7)))
    const logits = await logitsOf(model, batch)
    const { adapter, errors } = await combine([{ adapter: source, weight: 1 }], { kind: 'svd', rank: 4 })
    compare('logits', await logitsOf(model, batch), logits)
    for (const error of errors.values()) assert.ok(error < 1e-6, `${error}`)
    adapter.detach()
    source.setActive(true)
    const small = await combine([{ adapter: source, weight: 1 }], { kind: 'svd', rank: 1 })
    const [path, error] = [...small.errors][0]!
    const [whole, part] = [await dataOf(source, path), await dataOf(small.adapter, path)]
    const norm = (x: ArrayLike<number>) => Math.hypot(...Array.from(x))
    compare('error', [error], [norm(whole.map((x, i) => x - part[i]!)) / norm(whole)], {
      relative: 1e-4,
      absolute: 1e-6,
    })
    model.dispose()
  })

async function dataOf(
  adapter: { deltaWeight(path: string): { data(): Promise<unknown>; dispose(): void } },
  path: string,
) {
  const delta = adapter.deltaWeight(path)
  const data = (await delta.data()) as Float32Array
  delta.dispose()
  return data
}

test('distances of the changes of weights', async () => {
  const model = await tinyModel('bert-mlm')
  const a = await loadAdapter(model, join(FOLDER, 'a'), { name: 'a' })
  const b = await loadAdapter(model, join(FOLDER, 'b'), { name: 'b' })
  for (const [path, { first, second, difference }] of await distances(a, b)) {
    const [x, y] = [await dataOf(a, path), await dataOf(b, path)]
    const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values))
    const expected = [norm(x), norm(y), norm(x.map((value, i) => value - y[i]!))]
    compare(path, [first, second, difference], expected, { relative: 1e-5 })
  }
  for (const { difference } of (await distances(a, a)).values()) assert.ok(difference < 1e-6)
  model.dispose()
})

test('what changes no linear layer by itself is not combined', async () => {
  const model = await tinyModel('bert-seq')
  await combine([{ adapter: attach(model, createMethod('full')), weight: 1 }]).then(
    () => assert.unreachable(),
    error => assert.match(error.message, /^combine: .* changes no weight of a linear layer; there is nothing/),
  )
  model.dispose()
})

test('one head is carried over', async () => {
  const model = await tinyModel('bert-seq')
  const { batch } = tinyBatch('bert-seq')
  const source = attach(model, createMethod('lora', { r: 2 }))
  for (const [i, { tensor, size }] of source.trainable.entries())
    tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.3 * Math.sin(i * 3.1 + j * 1.7)))
  const logits = await logitsOf(model, batch)
  const { adapter } = await combine([{ adapter: source, weight: 1 }], { kind: 'svd', rank: 2 })
  source.detach()
  compare('logits', await logitsOf(model, batch), logits)
  adapter.detach()
  model.dispose()
})

test('two heads cannot be one', async () => {
  const model = await tinyModel('bert-seq')
  const pair = ['a', 'b'].map(name => ({
    adapter: attach(model, createMethod('lora', { r: 2 }), { name }),
    weight: 0.5,
  }))
  const error = await combine(pair).catch((thrown: Error) => thrown)
  assert.match((error as Error).message, /a, b each have a head of their own/)
  model.dispose()
})

test.run()
