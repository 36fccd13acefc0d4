import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { native } from '../../lib/native.ts'
import { add } from '../../lib/ops/add.ts'
import { Device, Tensor } from '../../lib/tensor.ts'
import { child } from './child.ts'
import { enqueue, lookUpNowhere, productsFor } from './work.ts'

const cpu = Device.get('cpu')

async function rejection(promise: Promise<unknown>): Promise<LowrankError> {
  try {
    await promise
  } catch (error) {
    assert.instance(error, LowrankError)
    return error as LowrankError
  }
  throw new Error('it did not reject')
}

test('timers fire while a long step runs', async () => {
  // How long the work takes depends on what else runs here: more of it until there is time for timers.
  for (let count = await productsFor(600), tries = 0; ; count *= 2, tries++) {
    let [ticks, done] = [0, false]
    const timer = setInterval(() => ticks++, 5)
    const start = performance.now()
    for (let left = count; left > 0; left -= 100) enqueue(Math.min(100, left))
    const work = cpu.synchronize().then(() => (done = true))
    assert.is(await Promise.race([work, Promise.resolve(done)]), false, 'handing over waits for no work')
    await work
    const wall = performance.now() - start
    clearInterval(timer)
    if (wall < 300 && tries < 6) continue
    assert.ok(ticks >= 5, `${ticks} ticks in ${wall.toFixed(0)} ms`)
    return
  }
})

test('a full ring holds the caller up, and nothing is lost', async () => {
  const x = Tensor.zeros([1])
  const one = Tensor.from(Float32Array.of(1), [1])
  enqueue(2)
  for (let i = 0; i < 5000; i++) native.accumulate(x.handle, one.handle, 1)
  assert.is(await x.item(), 5000)
  x.dispose()
  one.dispose()
})

test('a fault names its op, skips later work and rejects every wait until reset', async () => {
  const before = native.live()
  const x = Tensor.from(Float32Array.of(1, 2), [2])
  await cpu.synchronize()
  const bad = lookUpNowhere()
  const y = add(x, x)
  for (const wait of [bad.data(), y.data(), cpu.synchronize(), x.data()]) {
    const error = await rejection(wait)
    assert.is(error.code, 'ERR_OPTION')
    assert.is(error.message, 'embedding: id 7 at index 1, expected 0 to 2')
  }
  native.fill(x.handle, 5)
  cpu.reset()
  assert.equal(await x.data(), Float32Array.of(1, 2), 'work enqueued before the reset stays skipped')
  const z = add(x, x)
  assert.equal(await z.data(), Float32Array.of(2, 4))
  for (const tensor of [x, bad, y, z]) tensor.dispose()
  assert.is(native.live(), before)
})

test('reset right after a fault runs nothing that was enqueued before it', async () => {
  // The kernel behind a refused index must not run.
  for (let i = 0; i < 200; i++) {
    lookUpNowhere().dispose()
    cpu.reset()
  }
  await cpu.synchronize()
})

test('every data-dependent index is looked at before it reaches memory', async () => {
  const t = (data: number[], shape = [data.length]) => Tensor.from(Int32Array.from(data), shape)
  const f = (...shape: number[]) => Tensor.zeros(shape)
  const attention = Float64Array.of(2, 2, 3, 0, 4, 4, 1, 0, 0, 0)
  const loss = Float64Array.of(-100, 0, 1)
  const table = Tensor.from(Float64Array.of(0, 9, 1, 1), [1, 4])
  const cases: [string, () => unknown][] = [
    ['embeddingBackward: id -1 at index 0', () => native.embeddingBackward(f(1, 2).handle, t([-1]).handle, 3, 0)],
    ['crossEntropy: label 4 at index 1', () => native.crossEntropy(f(2, 4).handle, t([0, 4]).handle, 0, loss)],
    ['crossEntropy: label -1 at index 0', () => native.crossEntropy(f(1, 4).handle, t([-1]).handle, 0, loss)],
    ...[
      ['attention: cuSeqlens from 0 to 5, expected 0 to 4', [0, 5]] as const,
      ['attention: sequence 0 has 9 tokens, maxLength is 4', [0, 9, 4]] as const,
      ['attention: cuSeqlens from 1 to 4, expected 0 to 4', [1, 4]] as const,
      ['attention: cuSeqlens falls from 3 to 2 at index 2', [0, 3, 2, 4]] as const,
    ].map(([message, cu]): [string, () => unknown] => [
      message,
      () => native.attention(f(4, 6).handle, f(4, 6).handle, f(4, 6).handle, t([...cu]).handle, 0, 0, attention, null),
    ]),
    [
      'adamw: slice 0 is 0 to 9 of 8 parameters',
      () => {
        const [p, g, m, v] = [f(8), f(8), f(8), f(8)].map(x => x.handle) as never[]
        native.adamw(p!, g!, m!, v!, table.handle, f(1).handle, Float64Array.of(0.1, 0.9, 0.99, 1e-8, 0, 1, 1))
      },
    ],
  ]
  for (const [message, call] of cases) {
    call()
    const error = await rejection(cpu.synchronize())
    assert.ok(error.message.startsWith(message), `${error.message}, expected ${message}`)
    cpu.reset()
  }
})

test('LOWRANK_SYNC=1 throws where the op was called, with the JavaScript stack', async () => {
  const { code, stdout, stderr } = await child('sync', { LOWRANK_SYNC: '1' })
  assert.is(code, 0, stderr)
  const { message, stack, after } = JSON.parse(stdout)
  assert.is(message, 'embedding: id 7 at index 1, expected 0 to 2')
  assert.match(stack, /callsTheOp/)
  assert.equal(after, [2, 4], 'the next op runs')
})

test('settings that are no numbers are refused by name', async () => {
  for (const [name, value] of [
    ['LOWRANK_THREADS', 'two'],
    ['LOWRANK_THREADS', '0'],
    ['LOWRANK_MEMORY_LIMIT', '4 pages'],
    ['LOWRANK_MEMORY_LIMIT', '-1'],
  ] as const) {
    const { code, stdout, stderr } = await child('open', { [name]: value })
    assert.is(code, 0, stderr)
    assert.match(stdout, new RegExp(`^ERR_OPTION ${name}: "${value}", expected `))
  }
})

test.run()
