import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { native } from '../../lib/native.ts'
import { add } from '../../lib/ops/add.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { sum, sumSquares } from '../../lib/ops/sum.ts'
import { Tensor } from '../../lib/tensor.ts'

const leaf = (values: number[], shape = [values.length]) => {
  const tensor = Tensor.from(Float64Array.from(values), shape)
  tensor.requiresGrad = true
  return tensor
}

async function gradientOf(x: Tensor, loss: (x: Tensor) => Tensor): Promise<number[]> {
  const tape = new Tape()
  const output = tape.run(() => loss(x))
  const grads = tape.backward(output)
  const values = [...(await (x.grad ?? grads.get(x)!).data())]
  for (const tensor of [output, ...grads.values()]) tensor.dispose()
  return values
}

const CASES: [string, number[], (x: Tensor) => Tensor][] = [
  ['a reshape', [2, 4, 6, 8], x => sumSquares(x.reshape([2, 2]))],
  ['a reshape beside another reader', [4, 8, 12, 16], x => add(sumSquares(x.reshape([2, 2])), sumSquares(x))],
  // add hands the same dy to both sides: what one of them overwrites, the other must not see.
  ['two reshapes that share a gradient', [8, 16, 24, 32], x => sumSquares(add(x.reshape([2, 2]), x.reshape([2, 2])))],
  ['a part', [0, 4, 6, 0], x => sumSquares(x.view(1, [2]))],
  ['two parts that overlap', [2, 4, 6, 3], x => sum(multiply(x.view(0, [3]), x.view(1, [3])))],
  ['a part of a part', [0, 0, 6, 0], x => sumSquares(x.view(1, [3]).view(1, [1]))],
]

for (const [name, expected, loss] of CASES)
  test(`${name} has a gradient`, async () => {
    const before = native.live()
    const x = leaf([1, 2, 3, 4])
    assert.equal(await gradientOf(x, loss), expected)
    x.dispose()
    assert.is(native.live(), before)
  })

test('a view of a leaf adds up where the gradient of the leaf lies', async () => {
  const before = native.live()
  const x = leaf([1, 2, 3, 4])
  x.grad = Tensor.from(Float64Array.of(10, 10, 10, 10), [4]).keep()
  assert.equal(await gradientOf(x, x => sumSquares(x.view(2, [2]))), [10, 10, 16, 18])
  x.grad.dispose()
  x.dispose()
  assert.is(native.live(), before)
})

test('a reshape keeps the number of elements', () => {
  const x = Tensor.zeros([2, 3])
  assert.throws(() => x.reshape([5]), /reshape: \[2, 3\] to \[5\] changes the number of elements/)
  x.dispose()
})

test.run()
