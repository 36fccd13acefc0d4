// timeout: 600

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { native } from '../../lib/native.ts'
import { child, type Outcome, startWorker } from './child.ts'

interface Computed {
  sums: number[]
  live: number
  peak: number
}

function compute(seed: number): Promise<Computed> {
  return new Promise((resolve, reject) => {
    const worker = startWorker({ mode: 'compute', seed })
    let result: Computed
    worker.once('message', message => {
      result = message
    })
    worker.once('error', reject)
    worker.once('exit', code => (code === 0 ? resolve(result) : reject(new Error(`exit code ${code}`))))
  })
}

async function repeat(scenario: string, times: number, check: (outcome: Outcome) => void): Promise<void> {
  for (let i = 0; i < times; i += 2)
    for (const outcome of await Promise.all([child(scenario), child(scenario)])) check(outcome)
}

test('three workers at once, each with its own queue, pool and handles', async () => {
  const alone = [await compute(0.1), await compute(0.2), await compute(0.3)]
  const together = await Promise.all([0.1, 0.2, 0.3].map(compute))
  assert.equal(together, alone, 'the same sums, live tensors and peaks as one after the other')
  assert.ok(alone.every(({ live }) => live === 0))
  assert.is.not(alone[0]!.sums[0], alone[1]!.sums[0])
})

test('a device of another environment is an error', () => {
  for (const call of [() => native.memory(90), () => native.empty(-1, 0, [1]), () => native.wait(90)])
    assert.throws(call, (e: unknown) => e instanceof LowrankError && e.code === 'ERR_DEVICE')
})

test('terminated mid-work, 20 times two workers', async () => {
  const { code, stdout, stderr } = await child('terminate workers')
  assert.is(code, 0, stderr)
  assert.match(stdout, 'done')
})

test('workers that end with queued work, 20 times', async () => {
  const { code, stdout, stderr } = await child('workers end with queued work')
  assert.is(code, 0, stderr)
  assert.match(stdout, 'done')
})

for (const scenario of [
  'terminate workers that read',
  'terminate workers that train',
  'workers that read exit',
  'workers that read throw',
])
  test(`${scenario}: 100 times, and the process goes on`, async () => {
    const { code, signal, stdout, stderr } = await child(scenario)
    assert.is(signal, null, stderr)
    assert.is(code, 0, stderr)
    assert.match(stdout, 'done')
  })

test('an idle queue does not keep the process alive, a pending read does', async () => {
  await repeat('idle queue', 4, ({ code, stdout, stderr }) => {
    assert.is(code, 0, stderr)
    assert.match(stdout, 'done')
  })
  await repeat('pending read', 6, ({ code, stdout, stderr }) => {
    assert.is(code, 0, stderr)
    assert.match(stdout, 'read 42')
  })
})

test('leaves at once with work in the queue', async () => {
  for (const [scenario, expected, times] of [
    ['queued work', 0, 10],
    ['process.exit', 3, 20],
    ['process.exit at once', 3, 10],
  ] as const)
    await repeat(scenario, times, ({ code, signal, stderr }) => {
      assert.is(signal, null, `${scenario}: ${signal}\n${stderr}`)
      assert.is(code, expected, `${scenario}: ${stderr}`)
    })
})

test('an uncaught error with work in the queue ends the process with its own message', async () => {
  const { code, stderr } = await child('uncaught error')
  assert.is(code, 1)
  assert.match(stderr, 'Error: uncaught')
})

test.run()
