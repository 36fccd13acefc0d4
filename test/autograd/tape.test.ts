import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { claim, record, Tape, take } from '../../lib/autograd/tape.ts'
import type { LowrankError } from '../../lib/errors.ts'
import { type Handle, native } from '../../lib/native.ts'
import { activation } from '../../lib/ops/activation.ts'
import { add } from '../../lib/ops/add.ts'
import { linear } from '../../lib/ops/linear.ts'
import { loraLinear } from '../../lib/ops/loraLinear.ts'
import { loraLinearGroup } from '../../lib/ops/loraLinearGroup.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { scale } from '../../lib/ops/scale.ts'
import { sum, sumSquares } from '../../lib/ops/sum.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'

const cpu = Device.get('cpu')
const leaf = (values: number[], shape = [values.length]) => {
  const tensor = Tensor.from(Float64Array.from(values), shape)
  tensor.requiresGrad = true
  return tensor
}
const constant = (values: number[], shape = [values.length]) => Tensor.from(Float64Array.from(values), shape)
const values = async (tensor: Tensor | undefined) => [...(await tensor!.data())]
const throwsCode = (code: string, call: () => unknown, message: RegExp) =>
  assert.throws(call, (e: LowrankError) => e.code === code && message.test(e.message))

let before = 0
let bytes = 0
test.before.each(() => {
  before = native.live()
  bytes = cpu.memory().live
})
test.after.each(() => {
  assert.is(native.live(), before, 'every test leaves as many tensors as it found')
  assert.is(cpu.memory().live, bytes)
})

test('gradients of other leaves are handed out, to the scope around', async () => {
  const [x, y] = [leaf([1, 2]), leaf([3, 4])]
  const grads = scope(() => {
    const tape = new Tape()
    return tape.backward(tape.run(() => sum(multiply(x, y))))
  })
  assert.equal(await values(grads.get(x)), [3, 4])
  assert.equal(await values(grads.get(y)), [1, 2])
  for (const tensor of [x, y, ...grads.values()]) tensor.dispose()
})

test('a rule may claim what the gradient of its input has so far, and returns the sum', async () => {
  const claims: boolean[] = []
  const double = (x: Tensor) =>
    record(new Tensor(native.scale(x.handle, 2)), [x], [], dy => {
      const soFar = claim(x)
      claims.push(soFar !== undefined)
      const dx = new Tensor(native.scale(dy.handle, 2))
      return [soFar ? new Tensor(native.add(dx.handle, soFar.handle)) : dx]
    })
  const cases: [(x: Tensor) => Tensor, number[]][] = [
    [x => double(x), [2, 2]],
    [x => add(x, double(x)), [3, 3]], // add hands both the same gradient
    [x => multiply(x, double(x)), [4, 8]],
    [x => add(scale(x, 3), double(x)), [5, 5]], // the other reader's turn comes later
    [x => multiply(double(x), double(x)), [8, 16]],
  ]
  for (const [body, expected] of cases) {
    const x = leaf([1, 2])
    const grads = scope(() => {
      const tape = new Tape()
      return tape.backward(tape.run(() => sum(body(x))))
    })
    assert.equal(await values(grads.get(x)), expected)
    for (const tensor of [x, ...grads.values()]) tensor.dispose()
  }
  assert.equal(claims, [false, true, true, false, false, true])
})

test('leaves with a gradient slice add up in it, micro-batch after micro-batch', async () => {
  const [arena, x] = [Tensor.zeros([4], { dtype: 'f64' }), leaf([1, 2])]
  x.grad = arena.view(2, [2])
  for (const factor of [1, 10])
    scope(() => {
      const tape = new Tape()
      const grads = tape.backward(tape.run(() => sum(scale(add(x, x), factor))))
      assert.is(grads.size, 0)
    })
  assert.equal(await values(arena), [0, 0, 22, 22])
  for (const tensor of [arena, x, x.grad]) tensor.dispose()
})

test('many leaves are added to at once, each in the order in which its gradients come', async () => {
  // Sums that keep their order give 1: each large gradient hides a small one that comes before it is gone.
  const parts = [1e17, -1e17, 1]
  const x = constant([1])
  const leaves = Array.from({ length: 70 }, () => leaf([2]))
  for (const each of leaves) each.grad = Tensor.zeros([1], { dtype: 'f64' })
  let calls = 0
  const { accumulateAll } = native
  Object.defineProperty(native, 'accumulateAll', {
    configurable: true,
    value: (y: readonly Handle[], dx: readonly Handle[]) => {
      calls++
      assert.is(new Set(y).size, y.length, 'no leaf twice at once')
      accumulateAll(y, dx)
    },
  })
  try {
    scope(() => {
      const tape = new Tape()
      const y = tape.run(() => {
        let total = scale(x, 0)
        // Backward goes from the last part to the first.
        for (const part of [...parts].reverse())
          for (const each of leaves) total = add(total, scale(multiply(each, x), part))
        return total
      })
      tape.backward(y)
    })
  } finally {
    delete (native as unknown as Record<string, unknown>).accumulateAll
  }
  for (const each of leaves) assert.equal(await values(each.grad), [1])
  assert.ok(calls <= (3 * 70) / 32 + 3, `${calls} calls`)
  for (const each of leaves) {
    each.grad!.dispose()
    each.dispose()
  }
  x.dispose()
})

test('one op may have more leaves than are added to at once, and leaves larger than wait', async () => {
  const leaves = [...Array.from({ length: 70 }, () => leaf([2])), leaf([0], [1])]
  const large = Tensor.zeros([1 << 19], { dtype: 'f64' })
  large.requiresGrad = true
  for (const each of [...leaves, large]) each.grad = Tensor.zeros(each.shape, { dtype: 'f64' })
  scope(() => {
    const tape = new Tape()
    const y = tape.run(() => {
      const inputs = [...leaves, large, leaves[0]!]
      return record(constant([0]), inputs, [], () =>
        inputs.map(({ size, shape }) => constant(Array(size).fill(1), [...shape])),
      )
    })
    tape.backward(y)
  })
  for (const [i, each] of leaves.entries()) assert.equal(await values(each.grad), [i === 0 ? 2 : 1])
  assert.is((await values(large.grad)).at(-1), 1)
  for (const each of [...leaves, large]) {
    each.grad!.dispose()
    each.dispose()
  }
})

test('the tape holds what backward reads, and backward frees it as it goes', async () => {
  const [w, x] = [
    leaf(
      [...Array(64)].map((_, i) => i / 64),
      [8, 8],
    ),
    constant(
      [...Array(64)].map((_, i) => i % 5),
      [8, 8],
    ),
  ]
  const tape = new Tape()
  const loss = tape.run(() => {
    let h = x
    for (let i = 0; i < 5; i++) h = matmul(h, w)
    return sum(h)
  })
  // Each product is saved by the next; the last one only feeds the sum.
  assert.is(native.live(), before + 2 + 4 + 1)
  w.grad = Tensor.zeros([8, 8], { dtype: 'f64' })
  cpu.resetPeak()
  const start = cpu.memory().live
  tape.backward(loss)
  assert.is(native.live(), before + 4)
  assert.ok(cpu.memory().peak - start <= 4 * 512, `backward took ${cpu.memory().peak - start} bytes more at its peak`)
  for (const tensor of [w.grad, w, x, loss]) tensor.dispose()
  await cpu.synchronize()
})

test('what is saved and returned is borrowed: it stays the caller’s', async () => {
  const x = leaf([1, 2])
  const tape = new Tape()
  const { loss, logits } = tape.run(() => {
    const logits = scale(x, 3)
    return { loss: sum(multiply(logits, logits)), logits }
  })
  const grads = tape.backward(loss)
  assert.equal(await values(logits), [3, 6])
  assert.equal(await values(grads.get(x)), [18, 36])
  for (const tensor of [x, loss, logits, ...grads.values()]) tensor.dispose()
})

test('a borrowed tensor that the caller frees too early is a named error, and nothing leaks', () => {
  const x = leaf([1, 2])
  scope(() => {
    const tape = new Tape()
    const { loss, logits } = tape.run(() => {
      const logits = scale(x, 3)
      return { loss: sum(multiply(logits, logits)), logits }
    })
    logits.dispose()
    throwsCode('ERR_DISPOSED', () => tape.backward(loss), /disposed/)
  })
  x.dispose()
})

test('an op of several outputs runs backward once, for those that were used', async () => {
  const [x, a, b] = [leaf([1, 2], [1, 2]), leaf([0.5, -1], [1, 2]), leaf([2, 3], [2, 1])]
  const w = constant([1, 2, 3, 4], [2, 2])
  const factors = { a, b, scale: 2, dropout: 0, site: 1 }
  const layer = { weight: w, bias: undefined, factors }
  const gradients = async (run: () => Tensor) => {
    const grads = scope(() => {
      const tape = new Tape()
      return tape.backward(tape.run(run))
    })
    const found: number[][] = []
    for (const each of [x, a, b]) found.push(await values(grads.get(each)))
    for (const tensor of grads.values()) tensor.dispose()
    return found
  }
  const alone = await gradients(() => sumSquares(loraLinear(x, w, undefined, factors)))
  for (const used of [0, 1])
    assert.equal(await gradients(() => sumSquares(loraLinearGroup(x, [layer, layer])[used]!)), alone)
  const both = await gradients(() => {
    const [y, z] = loraLinearGroup(x, [layer, layer])
    return add(sumSquares(y!), sumSquares(z!))
  })
  assert.equal(
    both,
    alone.map(each => each.map(value => 2 * value)),
  )
  for (const tensor of [x, a, b, w]) tensor.dispose()
})

test('take gives dy itself where nobody else holds it, else a copy', async () => {
  const taken: boolean[] = []
  const triple = (x: Tensor) =>
    record(scale(x, 3), [x], [], dy => {
      const mine = take(dy)
      taken.push(mine === dy)
      native.accumulate(mine.handle, dy.handle, 2)
      return [mine]
    })
  const x = leaf([1, 2])
  const gradient = async (f: () => Tensor) => {
    const grads = scope(() => {
      const tape = new Tape()
      return tape.backward(tape.run(f))
    })
    const result = await values(grads.get(x))
    for (const tensor of grads.values()) tensor.dispose()
    return result
  }
  assert.equal(await gradient(() => sum(triple(x))), [3, 3])
  assert.equal(taken, [true])
  // add passes one dy to both branches.
  assert.equal(await gradient(() => sum(add(triple(x), triple(x)))), [6, 6])
  assert.equal(taken.slice(1), [false, true])
  assert.equal(await gradient(() => sum(add(triple(x), x))), [4, 4])
  assert.equal(taken.slice(3), [false])
  x.dispose()
})

test('one tensor used many times gets the sum, and shared gradients are not overwritten', async () => {
  const [x, y] = [leaf([1, -2]), leaf([5, 6])]
  const grads = scope(() => {
    const tape = new Tape()
    return tape.backward(
      tape.run(() => {
        const s = add(x, y)
        return sum(add(multiply(s, s), add(s, activation(s, 'relu'))))
      }),
    )
  })
  // d/ds (s² + s + relu(s)) = 2 s + 1 + [s > 0] at s = [6, 4]
  assert.equal(await values(grads.get(x)), [14, 10])
  assert.equal(await values(grads.get(y)), [14, 10])
  for (const tensor of new Set([x, y, ...grads.values()])) tensor.dispose()
})

test('frozen inputs get no gradient and save nothing', () => {
  const [x, w, b] = [constant([1, 2], [1, 2]), constant([1, 2, 3, 4], [2, 2]), constant([1, 1])]
  const tape = new Tape()
  const y = tape.run(() => linear(x, w, b))
  assert.not(y.requiresGrad)
  assert.is(native.live(), before + 4)
  throwsCode('ERR_OPTION', () => tape.backward(y), /^backward: the loss has no gradient \(nothing was recorded/)
  for (const tensor of [x, w, b, y]) tensor.dispose()
})

test('a loss that does not train, of another tape, or of a used tape is refused', () => {
  const x = leaf([1, 2])
  scope(() => {
    const [tape, other] = [new Tape(), new Tape()]
    const [loss, fixed] = tape.run(() => [sum(x), sum(constant([1]))])
    throwsCode('ERR_OPTION', () => tape.backward(fixed!), /depends on no tensor that trains/)
    const foreign = other.run(() => sumSquares(x))
    throwsCode('ERR_OPTION', () => tape.backward(foreign), /another tape recorded it/)
    other.dispose()
    tape.backward(loss!)
    throwsCode('ERR_OPTION', () => tape.backward(loss!), /backward ran before/)
  })
  x.dispose()
})

test('a seed has the shape of the output, and is needed for more than one element', () => {
  const x = leaf([1, 2])
  scope(() => {
    const tape = new Tape()
    const y = tape.run(() => scale(x, 2))
    throwsCode('ERR_SHAPE', () => tape.backward(y), /output has shape \[2\], expected one element; pass a seed/)
    throwsCode('ERR_SHAPE', () => tape.backward(y, constant([1, 1, 1])), /seed has shape \[3\], the output \[2\]/)
    tape.backward(y, constant([1, 1]))
  })
  x.dispose()
})

test('a tape inside a tape records its own pass', async () => {
  const [x, inner] = [leaf([1, 2]), leaf([3, 4])]
  const grads: Map<Tensor, Tensor>[] = []
  const outside = scope(() => {
    const tape = new Tape()
    const loss = tape.run(() => {
      const h = multiply(x, x)
      const small = new Tape()
      grads.push(small.backward(small.run(() => sum(multiply(inner, h)))))
      for (const gradient of grads[0]!.values()) gradient.keep()
      return sum(multiply(h, x))
    })
    return tape.backward(loss)
  })
  assert.equal(await values(grads[0]!.get(inner)), [1, 4])
  assert.equal(await values(outside.get(x)), [3, 12])
  for (const tensor of [x, inner, ...outside.values(), ...grads[0]!.values()]) tensor.dispose()
})

test('an exception in forward or backward frees what the tape held', () => {
  const x = leaf([1, 2])
  const boom = () => {
    throw new Error('boom')
  }
  assert.throws(
    () =>
      new Tape().run(() => {
        multiply(x, scale(x, 2))
        return boom()
      }),
    'boom',
  )
  assert.is(native.live(), before + 1)
  const tape = new Tape()
  const loss = tape.run(() => {
    const y = multiply(x, scale(x, 2))
    return sum(multiply(record(scale(y, 1), [y], [y], boom), y))
  })
  assert.throws(() => tape.backward(loss), 'boom')
  assert.is(native.live(), before + 2)
  assert.is(loss.requiresGrad, true)
  for (const tensor of [x, loss]) tensor.dispose()
})

test('dispose frees a pass whose backward is not wanted', () => {
  const x = leaf([1, 2])
  const tape = new Tape()
  const loss = tape.run(() => sumSquares(scale(x, 2)))
  assert.ok(native.live() > before + 2)
  tape.dispose()
  assert.is(native.live(), before + 2)
  for (const tensor of [x, loss]) tensor.dispose()
})

test('nothing is recorded outside of a tape, or of a branch that leads nowhere', () => {
  const x = leaf([1, 2])
  scope(() => {
    assert.not(scale(x, 2).requiresGrad)
    const tape = new Tape()
    const loss = tape.run(() => {
      multiply(scale(x, 5), x)
      return sum(x)
    })
    tape.backward(loss)
  })
  x.dispose()
})

test.run()
