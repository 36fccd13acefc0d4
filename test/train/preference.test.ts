// A run on preferences: the same bytes however it was cut, threads aside; its reference is the one it began with.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { counting, eventsOf, runToEnd, tinyDecoder, trainedBytes } from './support.ts'

/** Sequences that count are better than the same backwards. */
function pairs(count: number, beta = 0.1, reference: 'start' | 'base' = 'start'): Example[] {
  return counting(count).map(example => {
    const back = Int32Array.from(example.ids).reverse()
    const goal = { loss: 'dpo', beta, reference, weights: [1, 1] as const }
    return { ...example, other: { ids: back, label: back }, preference: { goal } }
  })
}

const settings: TrainOptions = { epochs: 2, batchSize: 3, lr: 0.01, seed: 7 }
const data = (beta?: number) => ({ train: pairs(24, beta), validation: pairs(6, beta), test: pairs(4, beta) })
const own = (seed = 3) => {
  const model = tinyDecoder({ task: 'preference' })
  return { model, adapter: attach(model, lora({ r: 4, alpha: 8, dropout: 0.1 }), { seed }) }
}

async function run(options: TrainOptions, splits = data()) {
  const { model, adapter } = own()
  try {
    const events = await runToEnd(adapter, splits, { ...settings, ...options })
    return { events, bytes: await trainedBytes(adapter) }
  } finally {
    model.dispose()
  }
}

test('the first loss is that of a coin, and a run learns', async () => {
  const { events } = await run({})
  const [start] = eventsOf(events, 'start')
  assert.is(start!.reference, 'start')
  assert.ok(Math.abs(eventsOf(events, 'step')[0]!.loss - Math.LN2) < 0.02, 'but for dropout')
  const tests = eventsOf(events, 'evaluation').filter(({ split }) => split === 'test')
  assert.is(tests[0]!.metrics.margin, 0)
  assert.ok(Math.abs(tests[0]!.loss - Math.LN2) < 1e-6)
  assert.ok(tests.at(-1)!.metrics.margin! > 0.05, `${tests.at(-1)!.metrics.margin}`)
})

test('aborted and resumed, a run ends as if it had been left alone', async () => {
  const whole = await run({})
  const outputDir = temporaryFolder()
  const control = new AbortController()
  const { model, adapter } = own()
  for await (const event of train(adapter, data(), { ...settings, outputDir, signal: control.signal }))
    if (event.type === 'step' && event.step === 5) control.abort()
  model.dispose()
  const resumed = await run({ outputDir, resume: true })
  const { step } = eventsOf(resumed.events, 'start')[0]!.resumed!
  assert.ok(step >= 5 && step < 16, `resumed after step ${step}`)
  assert.is(resumed.bytes, whole.bytes)
  const refused = await run({ outputDir, resume: true }, data(0.3)).then(
    () => '',
    (error: Error) => error.message,
  )
  assert.match(refused, /belongs to another run: the training or validation data differ/)
})

test('accumulated micro-batches are one large batch', async () => {
  const large = await run({ batchSize: 6, lr: 1e-3 })
  const small = await run({ batchSize: 3, accumulate: 2, lr: 1e-3 })
  const losses = [large, small].map(({ events }) => eventsOf(events, 'step').map(({ loss }) => loss))
  losses[0]!.forEach((loss, i) => {
    assert.ok(Math.abs(loss - losses[1]![i]!) < 2e-4, `step ${i}: ${loss} and ${losses[1]![i]}`)
  })
})

test.run()
