import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Linear, type LinearAdapter, linearGroup } from '../../lib/nn/linear.ts'
import { Parameter } from '../../lib/nn/module.ts'
import { ropeTable } from '../../lib/nn/rope.ts'
import { add } from '../../lib/ops/add.ts'
import { type RopeInput, ropeOne } from '../../lib/ops/rope.ts'
import { Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'

const [ROWS, IN, OUT, RANK] = [5, 6, 8, 2]

const values = (rows: number, columns: number, phase: number) =>
  Tensor.from(
    Float64Array.from({ length: rows * columns }, (_, i) => Math.sin(1.7 * i + phase)),
    [rows, columns],
  )

const lowRank = (name: string, phase: number, exact = true): LinearAdapter => {
  const [a, b] = [values(RANK, IN, phase), values(OUT, RANK, phase + 1)]
  const factors = { a, b, scale: 0.5, dropout: 0, site: 0, exact }
  return {
    name,
    params: [new Parameter(`${name}.a`, a), new Parameter(`${name}.b`, b)],
    active: true,
    factors: () => factors,
  }
}

const layer = (path: string, phase: number) =>
  new Linear(path, new Parameter(`${path}.weight`, values(OUT, IN, phase)), undefined, 'f32')

function turning(): RopeInput {
  const frequencies = { perPosition: Float64Array.of(1, 0.1), attentionFactor: 1 }
  const positions = Tensor.from(Int32Array.of(0, 1, 2, 0, 1), [ROWS])
  return { positions, table: ropeTable(frequencies, 3, { dtype: 'f64' }), headDim: 4 }
}

async function expectTurned(what: string, one: Linear, x: Tensor) {
  const rope = turning()
  const expected = await ropeOne(one.apply(x), rope).data()
  const plain = await one.apply(x).data()
  const got = await one.apply(x, rope).data()
  compare(what, got as Float64Array, expected as Float64Array, { relative: 1e-14 })
  assert.not.equal(got, plain, `${what} is turned`)
}

test('a layer turns all that it adds up: weight, adapters, hooks', async () => {
  const one = layer('q', 0)
  const x = values(ROWS, IN, 3)
  await expectTurned('the weight alone', one, x)
  one.adapters.push(lowRank('first', 4))
  await expectTurned('one adapter', one, x)
  one.adapters.push(lowRank('second', 5))
  await expectTurned('two adapters', one, x)
  one.adapters.pop()
  one.adapters.push({ name: 'hook', params: [], active: true, output: y => add(y, y) })
  await expectTurned('a hook on the output', one, x)
})

test('a group turns the layers that it is told to', async () => {
  const [q, k, v] = [layer('q', 0), layer('k', 1), layer('v', 2)]
  for (const [i, each] of [q, k, v].entries()) each.adapters.push(lowRank('adapter', 4 + i))
  const x = values(ROWS, IN, 3)
  const rope = turning()
  const turned = linearGroup([q, k, v], x, { rope, layers: [q, k] })
  for (const [i, each] of [q, k].entries())
    compare(each.path, (await turned[i]!.data()) as Float64Array, (await each.apply(x, rope).data()) as Float64Array)
  assert.equal(await turned[2]!.data(), await v.apply(x).data())
})

test('a second adapter keeps the accuracy that it asks for, whatever the products of the base are', async () => {
  const [n, d, r] = [32, 64, 8]
  const make = (rows: number, columns: number, phase: number) =>
    Tensor.from(
      Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(1.7 * i + phase)),
      [rows, columns],
    )
  const x = make(n, d, 0)
  const [a, b] = [make(r, d, 1), make(d, r, 2)]
  const error = async (count: number, exact: boolean) => {
    const zero = Tensor.zeros([d, d])
    const one = new Linear('q', new Parameter('q.weight', zero), undefined, 'bf16')
    const none = { a: Tensor.zeros([r, d]), b: Tensor.zeros([d, r]) }
    for (let i = 0; i < count; i++) {
      const factors = { ...(i === count - 1 ? { a, b } : none), scale: 0.5, dropout: 0, site: 0, exact }
      one.adapters.push({ name: String(i), params: [], active: true, factors: () => factors })
    }
    const y = (await one.apply(x).data()) as Float32Array
    const [xs, as, bs] = [await x.data(), await a.data(), await b.data()]
    let [worst, largest] = [0, 0]
    for (let i = 0; i < n; i++)
      for (let j = 0; j < d; j++) {
        let sum = 0
        for (let k = 0; k < r; k++) {
          let down = 0
          for (let c = 0; c < d; c++) down += xs[i * d + c]! * as[k * d + c]!
          sum += 0.5 * down * bs[j * r + k]!
        }
        worst = Math.max(worst, Math.abs(y[i * d + j]! - sum))
        largest = Math.max(largest, Math.abs(sum))
      }
    return worst / largest
  }
  for (const count of [1, 2, 3]) {
    const found = await error(count, true)
    assert.ok(found < 1e-5, `${count} adapters: ${found}`) // in two parts of bf16: 16 bits of mantissa
  }
})

test.run()
