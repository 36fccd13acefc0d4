import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { native } from '../../lib/native.ts'
import { activation } from '../../lib/ops/activation.ts'
import { layerNorm } from '../../lib/ops/layerNorm.ts'
import { linear } from '../../lib/ops/linear.ts'
import { loraLinear } from '../../lib/ops/loraLinear.ts'
import { mse } from '../../lib/ops/mse.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'
import { child } from './child.ts'

const cpu = Device.get('cpu')

/** A training step of one block; `rows` varies as batches do. */
function step(device: Device, rows: number): void {
  const [width, rank] = [48, 4]
  scope(() => {
    const f = (...shape: number[]) => Tensor.zeros(shape, { device })
    const trains = (tensor: Tensor) => {
      tensor.requiresGrad = true
      return tensor
    }
    const [x, w, b, weight, target] = [f(rows, width), f(width, width), f(width), f(width), f(rows, width)]
    const factors = { a: trains(f(rank, width)), b: trains(f(width, rank)), scale: 2, dropout: 0, site: 1 }
    const tape = new Tape()
    const loss = tape.run(() => {
      const h = activation(loraLinear(x, w, b, factors), 'gelu')
      return mse(linear(layerNorm({ x: h, residual: x, weight, bias: b, eps: 1e-5 }), w, b), target, 1)
    })
    tape.backward(loss)
  })
}

test('live and peak count each tensor, rounded up to 256 bytes', () => {
  const before = cpu.memory()
  cpu.resetPeak()
  const a = Tensor.empty([100])
  const b = Tensor.empty([65])
  assert.is(cpu.memory().live - before.live, 512 + 512)
  b.dispose()
  const c = Tensor.empty([0])
  assert.is(cpu.memory().live - before.live, 512 + 256)
  assert.is(cpu.memory().peak - before.live, 1024)
  const view = a.view(3, [4])
  a.dispose()
  assert.is(cpu.memory().live - before.live, 512 + 256, 'a view keeps the memory')
  view.dispose()
  c.dispose()
  assert.is(cpu.memory().live, before.live)
})

test('the same work has the same peak, whatever the queue does meanwhile', async () => {
  const peaks: number[] = []
  for (let i = 0; i < 5; i++) {
    cpu.resetPeak()
    step(cpu, 64)
    if (i % 2) await cpu.synchronize()
    peaks.push(cpu.memory().peak)
  }
  assert.is(new Set(peaks).size, 1, String(peaks))
})

test('100 ragged steps reuse the blocks of the first ones', async () => {
  cpu.trim()
  const rows = (i: number) => 40 + ((i * 7) % 25)
  for (let i = 0; i < 25; i++) step(cpu, rows(i))
  const { reserved, live } = cpu.memory()
  for (let i = 25; i < 125; i++) step(cpu, rows(i))
  assert.is(cpu.memory().reserved, reserved)
  assert.is(cpu.memory().live, live)
  await cpu.synchronize()
  cpu.trim()
  assert.ok(cpu.memory().reserved < reserved)
})

test('trim waits for the work that uses the blocks', async () => {
  const x = Tensor.from(new Float32Array(1 << 18).fill(1), [1 << 18])
  const sums = Array.from({ length: 40 }, () =>
    scope(() => {
      const copies = Array.from({ length: 4 }, () => new Tensor(native.scale(x.handle, 2)))
      return new Tensor(native.sum(copies[3]!.handle))
    }),
  )
  cpu.trim()
  for (const sum of sums) {
    assert.is(await sum.item(), 2 * (1 << 18))
    sum.dispose()
  }
  x.dispose()
})

test('meta predicts the CPU to the byte', () => {
  const meta = Device.get('meta')
  const use = (device: Device) => {
    const before = device.memory().live
    device.resetPeak()
    step(device, 33)
    step(device, 70)
    return { peak: device.memory().peak - before, left: device.memory().live - before }
  }
  assert.equal(use(meta), use(cpu))
  assert.is(use(meta).left, 0)
  assert.ok(use(meta).peak > 70 * 48 * 4)
  assert.is(meta.memory().reserved, 0)
})

test('LOWRANK_MEMORY_LIMIT is an error with its numbers, and the process goes on', async () => {
  const { code, stdout, stderr } = await child('limit', { LOWRANK_MEMORY_LIMIT: '1MiB' })
  assert.is(code, 0, stderr)
  const result = JSON.parse(stdout)
  assert.is(result.code, 'ERR_MEMORY')
  assert.match(result.message, '4194304 bytes requested, 4096 in use, 1048576 reserved, limit 1048576;')
  assert.ok(result.reserved <= 1048576)
  assert.is(result.first, 0)
})

test('unreachable sizes are refused before anything is allocated', () => {
  const before = cpu.memory().live
  for (const shape of [[2 ** 51], [2 ** 40, 2 ** 40], [0, 2 ** 40, 2 ** 40], [2 ** 52], [1.5], [-1], [Number.NaN]])
    assert.throws(
      () => Tensor.empty(shape),
      (e: { code?: string }) => e.code === 'ERR_SHAPE',
    )
  assert.throws(() => Tensor.empty([1, 1, 1, 1, 1]), /rank 5 is more than 4/)
  assert.is(cpu.memory().live, before)
})

test.run()
