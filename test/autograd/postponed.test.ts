import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isLeaf, type Postponed, postpone, record, Tape, takePostponed } from '../../lib/autograd/tape.ts'
import { native } from '../../lib/native.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { scale } from '../../lib/ops/scale.ts'
import { sum } from '../../lib/ops/sum.ts'
import { scope, Tensor } from '../../lib/tensor.ts'

const constant = (values: number[]) => Tensor.from(Float64Array.from(values), [values.length])
const leaf = (values: number[]) => {
  const tensor = constant(values)
  tensor.requiresGrad = true
  return tensor
}
const values = async (tensor: Tensor | undefined) => [...(await tensor!.data())]

test('postponed gradients are made by the next rule of their kind, or alone before anybody reads them', async () => {
  const before = native.live()
  const told: string[] = []
  class Late implements Postponed {
    readonly reads: readonly Tensor[]
    readonly gradients: Postponed['gradients']
    constructor(dy: Tensor, x: Tensor, w: Tensor) {
      this.reads = [dy.view(0, dy.shape), x]
      this.gradients = [[w, Tensor.empty(w.shape, { dtype: 'f64' })]]
    }
    make(who: string): void {
      told.push(who)
      const [[dy, x], [pair]] = [this.reads, this.gradients]
      scope(() => native.copyInto(pair![1].handle, multiply(dy!, x!).handle))
    }
    run(): void {
      this.make('alone')
    }
  }
  // y = x w; the gradient of w waits. What is scaled between them is freed by the tape as soon as its reader is done.
  const weighted = (x: Tensor, w: Tensor) =>
    record(multiply(x, w), [x, w], [x, w], dy => {
      assert.ok(isLeaf(w))
      takePostponed((work): work is Late => work instanceof Late)?.make('by the next')
      const held = new Tensor(native.cast(dy.handle, 1))
      postpone(new Late(held, x, w))
      held.dispose()
      return [multiply(dy, w), undefined]
    })
  const [x, w, v, grads] = [leaf([1, 2]), leaf([3, 4]), leaf([5, 6]), constant([0, 0, 10, 20])]
  w.grad = grads.view(0, [2])
  v.grad = grads.view(2, [2])
  const tape = new Tape()
  const loss = tape.run(() => sum(weighted(scale(weighted(scale(x, 2), w), 10), v)))
  const found = tape.backward(loss)
  assert.equal(told, ['by the next', 'alone'])
  assert.equal(await values(grads), [100, 240, 70, 180])
  assert.equal(await values(found.get(x)), [300, 480])
  for (const tensor of [x, w, v, w.grad, v.grad, grads, loss, ...found.values()]) tensor.dispose()
  assert.is(native.live(), before)
})

test.run()
