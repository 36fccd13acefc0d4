import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Linear, linearGroup } from '../../lib/nn/linear.ts'
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

const lowRank = (name: string, phase: number, active = true) => ({
  name,
  a: new Parameter(`${name}.a`, values(RANK, IN, phase)),
  b: new Parameter(`${name}.b`, values(OUT, RANK, phase + 1)),
  scale: 0.5,
  dropout: 0,
  site: 0,
  exact: true,
  active,
})

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
  one.lowRank.push(lowRank('first', 4))
  await expectTurned('one adapter', one, x)
  one.lowRank.push(lowRank('second', 5))
  await expectTurned('two adapters', one, x)
  one.lowRank.pop()
  one.adapters.push({ name: 'hook', params: [], active: true, after: y => add(y, y) })
  await expectTurned('a hook on the output', one, x)
})

test('a group turns the layers that it is told to', async () => {
  const [q, k, v] = [layer('q', 0), layer('k', 1), layer('v', 2)]
  for (const [i, each] of [q, k, v].entries()) each.lowRank.push(lowRank('adapter', 4 + i))
  const x = values(ROWS, IN, 3)
  const rope = turning()
  const turned = linearGroup([q, k, v], x, { rope, layers: [q, k] })
  for (const [i, each] of [q, k].entries())
    compare(each.path, (await turned[i]!.data()) as Float64Array, (await each.apply(x, rope).data()) as Float64Array)
  assert.equal(await turned[2]!.data(), await v.apply(x).data())
})

test.run()
