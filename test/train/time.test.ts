// How long runs are: within a time, and where nothing is said. Held against their plans, not against a clock.

import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { secondsOf } from '../../lib/options.ts'
import type { Adapter } from '../../lib/peft/adapter.ts'
import { patienceFor } from '../../lib/train/defaults.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { type Costs, measure, planWithin } from '../../lib/train/time.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, runToEnd, sequences, tinyLora, tinyModel } from './support.ts'

const settings = {
  epochs: 20,
  maxSteps: undefined,
  evalEvery: 'epoch',
  checkpointEvery: 'epoch',
  evaluateBefore: true,
  outputDir: 'out',
} as const
const costs: Costs = { step: 1, validation: 5, test: 3, save: 1, spent: 2 }

/** What a plan takes, added up anew. */
function secondsOfPlan(steps: number, each: number, { step, validation, test, save, spent }: Costs): number {
  const checks = Math.ceil(steps / each)
  return spent + validation + 2 * test + steps * step + checks * (validation + save)
}

test('a run that fits is left as it is', () => {
  const plan = planWithin(1e5, costs, settings, 50, true)
  assert.equal(plan, { epochs: 20, maxSteps: undefined, evalEvery: 'epoch' })
})

test('the most steps that fit, evaluation and saving counted, with a tenth to spare', () => {
  for (const time of [100, 200, 500, 1000]) {
    const { maxSteps, epochs, evalEvery } = planWithin(time, costs, settings, 50, true)
    assert.is(evalEvery, 'epoch')
    assert.is(epochs, Math.ceil(maxSteps! / 50))
    assert.ok(secondsOfPlan(maxSteps!, 50, costs) <= 0.9 * time, `${maxSteps} steps in ${time} s`)
    assert.ok(secondsOfPlan(maxSteps! + 1, 50, costs) > 0.9 * time, `${maxSteps} steps in ${time} s`)
  }
})

test('validations that would take the time are rarer, unless how often was said', () => {
  const short = { ...settings, epochs: 100, checkpointEvery: 'never' } as const
  const free = planWithin(100, { ...costs, save: 0 }, short, 2, true)
  assert.is(free.evalEvery, 20)
  const asked = planWithin(100, { ...costs, save: 0 }, short, 2, false)
  assert.is(asked.evalEvery, 'epoch')
  assert.ok(asked.maxSteps! < free.maxSteps!)
})

test('a time in which nothing fits is refused, with the time that would do', () => {
  assert.throws(
    () => planWithin(10, costs, settings, 50, true),
    (error: Error) => /^time: 10 s is too short.* takes 23 s; give more time/.test(error.message),
  )
})

test('texts of times', () => {
  const known = { '90': 90, '90s': 90, '2m': 120, '2 min': 120, '1h30m': 5400, '1.5h': 5400, '1h 1m 1s': 3661 }
  for (const [text, seconds] of Object.entries(known)) assert.is(secondsOf(text), seconds, text)
  for (const text of ['', 'm', '2d', '-3s', '1m2h', 'soon']) assert.is(secondsOf(text), undefined, text)
})

async function hashOf(method: Adapter): Promise<string> {
  const hash = createHash('sha256')
  for (const { tensor } of method.trainable) hash.update(new Uint8Array(await tensor.bytes()))
  return hash.digest('hex')
}

test('measuring leaves weights as they are, and finds every part', async () => {
  using model = tinyModel()
  const method = tinyLora(model)
  const data = { train: sequences(24), validation: sequences(12, 3) }
  const before = await hashOf(method)
  const found = await measure(method, data, resolveTrainSettings(method, { batchSize: 8 }, data))
  assert.is(await hashOf(method), before)
  assert.ok(found.step > 0 && found.validation > 0 && found.spent >= found.step)
  assert.is(found.test, 0)
  assert.is(found.save, 0)
  method.detach()
})

async function weightsAfter(options: Partial<TrainOptions>, stopAfter = Number.POSITIVE_INFINITY): Promise<string> {
  using model = tinyModel()
  const method = tinyLora(model)
  const data = { train: sequences(24), validation: sequences(12, 3) }
  const controller = new AbortController()
  const common = { epochs: 3, batchSize: 8, lr: 1e-3, signal: controller.signal }
  const events = await runToEnd(method, data, { ...common, ...options }, event => {
    if (event.type === 'step' && event.step === stopAfter) controller.abort()
  })
  assert.is(eventsOf(events, 'start')[0]!.totalSteps, 9)
  return await hashOf(method)
}

test('a run within a time ends with the bytes of one without, also where it was stopped and resumed', async () => {
  const outputDir = temporaryFolder()
  const plain = await weightsAfter({})
  assert.equal(await weightsAfter({ time: 1000 }), plain)
  await weightsAfter({ time: '1h', outputDir }, 4)
  assert.equal(await weightsAfter({ time: '1h', outputDir, resume: true }), plain)
  rmSync(outputDir, { recursive: true })
})

test('patience grows as the validation split gets smaller', () => {
  assert.is(patienceFor(10_000), 5)
  assert.is(patienceFor(1000), 5)
  assert.is(patienceFor(250), 10)
  assert.is(patienceFor(100), 16)
  using model = tinyModel()
  const method = tinyLora(model)
  const sizes = { train: { length: 100 }, validation: { length: 250 } }
  assert.is(resolveTrainSettings(method, {}, sizes).patience, 10)
  assert.is(resolveTrainSettings(method, { epochs: 3 }, sizes).patience, 0)
  method.detach()
})

test.run()
