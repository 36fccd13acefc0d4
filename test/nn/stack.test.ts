import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { packExamples } from '../../lib/data/batches.ts'
import { sequenceClasses } from '../../lib/data/targets.ts'
import { native } from '../../lib/native.ts'
import { splitColumns } from '../../lib/nn/columns.ts'
import { normal } from '../../lib/nn/init.ts'
import { Linear } from '../../lib/nn/linear.ts'
import { Parameter } from '../../lib/nn/module.ts'
import { LayerNorm, RmsNorm } from '../../lib/nn/norm.ts'
import { add } from '../../lib/ops/add.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { sumSquares } from '../../lib/ops/sum.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { sequences, tinyLora, tinyModel } from '../train/support.ts'

const batch = packExamples(sequences(6), Int32Array.of(0, 1, 2, 3, 4, 5), { collate: sequenceClasses })

test('layers run again in backward give the same gradients to the bit, in less memory', async () => {
  const run = async (checkpoint: boolean) => {
    const model = tinyModel()
    const adapter = tinyLora(model, { dropout: 0.3, targetModules: 'all-linear', initLoraWeights: false })
    const arena = new Arena(adapter.trainable, model.device)
    model.device.resetPeak()
    const loss = scope(() => {
      const tape = new Tape()
      const random = { seed: 3, step: 1, rowOffset: 0, sequenceOffset: 0 }
      const loss = withRandom(random, () => tape.run(() => model.loss(batch, batch.targets!, { total: 6, checkpoint })))
      tape.backward(loss)
      return loss
    })
    const { peak } = model.device.memory()
    const result = { loss: await loss.item(), grads: await arena.grads.bytes(), peak }
    loss.dispose()
    arena.dispose()
    model.dispose()
    return result
  }
  const before = native.live()
  const [plain, again] = [await run(false), await run(true)]
  assert.is(again.loss, plain.loss)
  assert.ok(new Float32Array(plain.grads).some(Boolean), 'there are gradients')
  assert.equal(Buffer.from(again.grads).compare(Buffer.from(plain.grads)), 0)
  assert.ok(again.peak < plain.peak, `peak ${again.peak} and ${plain.peak}`)
  assert.is(native.live(), before, 'every tensor is freed')
})

const matrix = (name: string, shape: readonly number[]) =>
  Tensor.from(
    Float64Array.from(
      normal(
        shape.reduce((a, b) => a * b, 1),
        1,
        5,
        name,
      ),
    ),
    shape,
  )

function trained(name: string, shape: readonly number[]): Parameter {
  const parameter = new Parameter(name, matrix(name, shape))
  parameter.tensor.requiresGrad = true
  parameter.tensor.grad = Tensor.zeros(shape, { dtype: 'f64' }).keep()
  return parameter
}

/** Values of an output and all gradients of the sum of its squares. */
async function gradients(parameters: readonly Parameter[], forward: (x: Tensor) => Tensor, width: number) {
  const x = matrix('x', [5, width])
  x.requiresGrad = true
  for (const parameter of parameters) native.fill(parameter.gradient!.handle, 0)
  const found = scope(() => {
    const tape = new Tape()
    const loss = tape.run(() => sumSquares(forward(x)))
    const grads = tape.backward(loss)
    return { loss, dx: grads.get(x)! }
  })
  const values = [await found.loss.data(), await found.dx.data()]
  for (const parameter of parameters) values.push(await parameter.gradient!.data())
  for (const tensor of [x, found.loss, found.dx]) tensor.dispose()
  return values
}

test('parts of a fused layer are those of the whole, with their gradients', async () => {
  const before = native.live()
  const [weight, bias, a, b] = [trained('w', [12, 8]), trained('b', [12]), trained('A', [2, 8]), trained('B', [12, 2])]
  const adapted = (output?: (y: Tensor) => Tensor) => {
    const layer = new Linear('fused', weight, bias, 'f32')
    const factors = () => ({ a: a.tensor, b: b.tensor, scale: 0.5, dropout: 0, site: 1 })
    layer.adapters.push({ name: 'default', params: [a, b], active: true, factors, ...(output ? { output } : {}) })
    return layer
  }
  const heights = [6, 2, 4]
  const sum = (parts: readonly Tensor[]) => parts.map(sumSquares).reduce(add)
  for (const layer of [new Linear('plain', weight, bias, 'f32'), adapted(), adapted(y => y)]) {
    const parameters = layer.adapters.length ? [bias, a, b] : [weight, bias]
    const whole = await gradients(parameters, x => sum(splitColumns(layer.apply(x), heights)), 8)
    const parts = await gradients(parameters, x => sum(layer.applyParts(x, heights)), 8)
    for (const [i, values] of parts.entries()) compare(`value ${i}`, values, whole[i]!, { relative: 1e-12 })
  }
  for (const each of [weight, bias, a, b]) {
    each.gradient!.dispose()
    each.dispose()
  }
  assert.is(native.live(), before)
})

test('a norm that adds a branch in its pass equals a sum and a norm', async () => {
  const before = native.live()
  const [w, b] = [trained('w', [8]), trained('b', [8])]
  for (const norm of [new LayerNorm(w, b, 1e-5), new LayerNorm(w, undefined, 1e-5), new RmsNorm(w, 1e-5, 1)]) {
    const parameters = norm instanceof LayerNorm && norm.bias ? [w, b] : [w]
    // Both outputs are read, as a decoder reads them.
    const joined = await gradients(
      parameters,
      x => {
        const { y, h } = norm.join(x, sumlike(x))
        return add(y, h)
      },
      8,
    )
    const apart = await gradients(
      parameters,
      x => {
        const h = add(x, sumlike(x))
        return add(norm.apply(h), h)
      },
      8,
    )
    for (const [i, values] of joined.entries()) compare(`value ${i}`, values, apart[i]!, { relative: 1e-12 })
  }
  for (const each of [w, b]) {
    each.gradient!.dispose()
    each.dispose()
  }
  assert.is(native.live(), before)
})

/** A branch that depends on x. */
const sumlike = (x: Tensor) => add(x, x)

test.run()
