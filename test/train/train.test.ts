import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { native } from '../../lib/native.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import type { TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'
import {
  eventsOf,
  hideTokens,
  runToEnd,
  sentences,
  sequences,
  TAGS,
  tinyLora,
  tinyModel,
  trainedBytes,
} from './support.ts'

const data = { train: sequences(50), validation: sequences(20, 11), test: sequences(20, 12) }
const quick = { epochs: 2, batchSize: 8, lr: 5e-3, seed: 7 }

test('events come in order, and nothing is left behind', async () => {
  const live = native.live()
  const model = tinyModel()
  const method = tinyLora(model)
  const before = native.live()
  const told: string[] = []
  const progress = (split: string, done: number, total: number) => told.push(`${split} ${done}/${total}`)
  const events = await runToEnd(method, data, { ...quick, progress })
  assert.equal(told.slice(0, 4), ['validation 8/20', 'validation 16/20', 'validation 20/20', 'test 8/20'])
  const order = events.map(e => (e.type === 'evaluation' ? `${e.when} ${e.split}` : e.type))
  const epoch = [...Array(7).fill('step'), 'epoch', 'epoch validation']
  const expected = ['start', 'before validation', 'before test', ...epoch, ...epoch]
  assert.equal(order, [...expected, 'after validation', 'after test', 'end'])
  const steps = eventsOf(events, 'step')
  assert.equal(
    steps.map(s => s.step),
    steps.map((_, i) => i + 1),
  )
  assert.is(new Set(steps.map(s => s.memory.live)).size, 1, 'memory in use is the same after every step')
  assert.is(native.live(), before)
  method.detach()
  model.dispose()
  assert.is(native.live(), live)
})

test('the epoch loss is the mean over examples, and the last event sums the run up', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const events = await runToEnd(method, data, { ...quick, epochs: 1 })
  const steps = eventsOf(events, 'step')
  const mean = steps.reduce((sum, s) => sum + s.loss * s.samples, 0) / 50
  assert.ok(Math.abs(eventsOf(events, 'epoch')[0]!.loss - mean) < 1e-9)
  const end = eventsOf(events, 'end')[0]!
  assert.is(end.reason, 'finished')
  assert.is(end.step, 7)
  assert.is(
    end.tokens,
    data.train.reduce((sum, e) => sum + e.ids.length, 0),
  )
  assert.is(end.history.filter(h => h.kind === 'evaluation').length, 5)
  model.dispose()
})

async function bytesOf(options: Partial<TrainOptions>, threads: number): Promise<string> {
  const { threads: usual } = native.info()
  native.setThreads(threads)
  const model = tinyModel()
  const method = tinyLora(model)
  await runToEnd(method, data, { ...quick, epochs: 1, ...options })
  const bytes = await trainedBytes(method)
  model.dispose()
  native.setThreads(usual)
  return bytes
}

test('the same seed gives the same bytes, for any number of threads; another one does not', async () => {
  const first = await bytesOf({}, 2)
  assert.is(await bytesOf({}, 2), first)
  assert.is(await bytesOf({}, 1), first)
  assert.is.not(await bytesOf({ seed: 8 }, 2), first)
})

test('the best step is put back, and early stopping counts validations', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const seen = new Map<number, string>()
  const events = []
  for await (const event of train(method, data, {
    ...quick,
    epochs: 30,
    lr: 0.02,
    patience: 2,
    metric: 'loss',
  })) {
    events.push(event)
    if (event.type === 'evaluation' && event.when === 'epoch') seen.set(event.step, await trainedBytes(method))
  }
  const end = eventsOf(events, 'end')[0]!
  const validations = eventsOf(events, 'evaluation').filter(e => e.when === 'epoch')
  assert.is(end.reason, 'early-stopping')
  const best = validations.reduce((a, b) => (b.loss < a.loss ? b : a))
  assert.is(end.bestStep, best.step)
  assert.is(validations.at(-1)!.step, best.step + 2 * 7)
  assert.is(await trainedBytes(method), seen.get(best.step))
  const after = eventsOf(events, 'evaluation').filter(e => e.when === 'after')
  assert.equal(after[0]!.metrics, best.metrics)
  model.dispose()
})

test('a penalty on the factors is told beside the loss', async () => {
  const model = tinyModel()
  const method = tinyLora(model, { regularizer: 1e-2 })
  let squares = 0
  for (const { a } of [...model.linears.values()].flatMap(linear => linear.adapters.map(each => each.factors!())))
    for (const x of await a.data()) squares += x * x
  const [first] = eventsOf(await runToEnd(method, data, { ...quick, maxSteps: 1 }), 'step')
  assert.ok(Math.abs(first!.penalty! / (1e-2 * squares) - 1) < 1e-5, `${first!.penalty} ${squares}`)
  model.dispose()
})

test('leaving the loop early leaves nothing behind', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const before = native.live()
  for await (const event of train(method, data, { ...quick })) if (event.type === 'step' && event.step === 3) break
  assert.is(native.live(), before)
  model.dispose()
})

test('the signal stops a run after the step in progress', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const control = new AbortController()
  const events = await runToEnd(method, data, { ...quick, signal: control.signal }, event => {
    if (event.type === 'step' && event.step === 3) control.abort()
  })
  const end = events.at(-1)
  assert.ok(end?.type === 'end' && end.reason === 'aborted' && end.step === 4)
  const twice = new AbortController()
  const short = await runToEnd(method, data, { ...quick, signal: twice.signal }, event => {
    if (event.type === 'evaluation') twice.abort()
  })
  assert.equal(
    short.map(e => e.type),
    ['start', 'evaluation', 'end'],
  )
  model.dispose()
})

for (const kind of ['lora', 'full'] as const)
  test(`32 examples are learnt by heart: ${kind}`, async () => {
    const model = tinyModel({}, { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 })
    const method =
      kind === 'full'
        ? attach(model, fullFineTuning())
        : tinyLora(model, { r: 8, dropout: 0, targetModules: 'all-linear' })
    const few = { train: sequences(32, 9) }
    const options = { epochs: 60, batchSize: 16, lr: kind === 'full' ? 2e-3 : 1e-2, weightDecay: 0 }
    const events = await runToEnd(method, few, { ...options })
    assert.ok(eventsOf(events, 'epoch').at(-1)!.loss < 0.02, `loss ${eventsOf(events, 'epoch').at(-1)!.loss}`)
    model.dispose()
  })

test('taggers, several labels, numbers and masked LM train', async () => {
  const runs = [
    { options: { task: 'token-classification', labels: TAGS } as const, examples: sentences(40), metric: 'f1' },
    {
      options: { problem: 'multi' } as const,
      examples: sequences(40).map(e => ({
        ...e,
        label: Float32Array.of(...[0, 1, 2].map(c => (e.label === c ? 1 : 0))),
      })),
      metric: 'f1',
    },
    {
      options: { problem: 'regression', labels: ['y'] } as const,
      examples: sequences(40).map(e => ({ ...e, label: Float32Array.of((e.label as number) / 2) })),
      metric: 'loss',
    },
    {
      options: { task: 'masked-lm' } as const,
      examples: sequences(40).map(({ label: _, ...e }) => e),
      metric: 'loss',
      transform: hideTokens,
    },
  ]
  for (const { options, examples, metric, transform } of runs) {
    const model = tinyModel(options)
    const method = attach(model, fullFineTuning())
    const split = { train: examples, validation: examples.slice(0, 16) }
    const events = await runToEnd(method, split, { epochs: 4, batchSize: 8, lr: 2e-3, transform })
    const [before, ...rest] = eventsOf(events, 'evaluation')
    assert.ok(rest.at(-1)!.loss < before!.loss, `${model.task}: ${before!.loss} to ${rest.at(-1)!.loss}`)
    assert.is(eventsOf(events, 'start')[0]!.metric, metric)
    model.dispose()
  }
})

test('the event loop stays free during long steps', async () => {
  const model = tinyModel(
    {},
    { hidden_size: 256, intermediate_size: 1024, num_hidden_layers: 4, max_position_embeddings: 512 },
  )
  const method = tinyLora(model)
  const long = sequences(160, 4, 400).map(e => ({ ...e, ids: new Int32Array(400).fill(7) }))
  let fired = 0
  const timer = setInterval(() => fired++, 5)
  const counts: { fired: number; seconds: number }[] = []
  const options = { epochs: 1, batchSize: 32, lr: 1e-3 }
  for await (const event of train(method, { train: long }, options)) {
    if (event.type !== 'step') continue
    counts.push({ fired, seconds: event.seconds })
    fired = 0
  }
  clearInterval(timer)
  const slow = counts.filter(c => c.seconds >= 0.3)
  assert.ok(slow.length >= 2, `steps took ${counts.map(c => c.seconds.toFixed(2))} s, too short to tell`)
  for (const { fired, seconds } of slow) assert.ok(fired >= 20, `${fired} timers in ${seconds} s`)
  model.dispose()
})

test('when memory runs out, smaller micro-batches go on with the same gradients', async () => {
  const run = async (limit: number) => {
    const model = tinyModel()
    const method = tinyLora(model)
    const { stepperLosses } = await shortOfMemory(method, limit)
    model.dispose()
    return stepperLosses
  }
  const free = await run(0)
  const scarce = await run(1)
  assert.is(free.warnings, 0)
  assert.is(scarce.warnings, 1)
  for (const [i, loss] of scarce.losses.entries())
    assert.ok(Math.abs(loss - free.losses[i]!) < 1e-5, `step ${i}: ${loss} ${free.losses[i]}`)
})

/** A run whose first attempt at its second step fails `failures` times for want of memory. */
async function shortOfMemory(method: ReturnType<typeof tinyLora>, failures: number) {
  const original = native.layerNorm
  let left = failures
  const before = native.live()
  const events = await runToEnd(method, { train: data.train }, { ...quick, epochs: 1 }, event => {
    if (event.type !== 'step' || event.step !== 2 || left === 0) return
    native.layerNorm = (...args) => {
      if (left-- > 0) throw new LowrankError('ERR_MEMORY', 'out of memory: made up for the test')
      native.layerNorm = original
      return original(...args)
    }
  })
  native.layerNorm = original
  assert.is(native.live(), before, 'a failed attempt leaves nothing behind')
  const losses = eventsOf(events, 'step').map(s => s.loss)
  return { stepperLosses: { losses, warnings: eventsOf(events, 'warning').length } }
}

test.run()
