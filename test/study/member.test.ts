// A run of a study is the run that train makes of a model of its own, and leaves the shared model as it was.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { attach, createMethod, METHODS } from '../../lib/peft/index.ts'
import { type Bench, type Outcome, runMember, type Spec } from '../../lib/study/member.ts'
import { tinyModel } from '../peft/golden.ts'
import { eventsOf, runToEnd, sequences } from '../train/support.ts'

const examples = { train: sequences(40), validation: sequences(12, 9), test: sequences(12, 10) }
const options = { epochs: 2, batchSize: 8 }
const open = (seed: number) => tinyModel('bert-mlm', { task: 'sequence-classification', labels: ['a', 'b', 'c'], seed })

for (const [method, own] of [
  ['lora', { r: 2, dropout: 0.1 }],
  ['full', {}],
  ['head', {}],
  ['adalora', { initR: 4, targetR: 2 }],
] as const)
  test(`${method}: scores, steps and peak memory are those of a process of its own`, async () => {
    const alone = await open(7)
    const adapter = attach(alone, createMethod(method, own), { seed: 7 })
    const events = await runToEnd(adapter, examples, {
      ...options,
      lr: 2e-3,
      seed: 7,
      evaluateBefore: false,
    })
    const [end] = eventsOf(events, 'end')
    const after = eventsOf(events, 'evaluation').filter(({ when }) => when === 'after')
    alone.dispose()

    const model = await open(1)
    const bench: Bench = { model, examples, options }
    const live = native.live()
    const spec = { method, options: own, training: { lr: 2e-3 }, seed: 7 }
    const outcome = (await runMember(bench, spec)) as Outcome
    assert.is(native.live(), live, 'nothing is left on the model')
    for (const { split, metrics } of after) assert.equal(outcome[split], metrics, split)
    assert.is(outcome.steps, end!.step)
    assert.is(outcome.peakBytes, end!.memory.peak)
    const again = (await runMember(bench, spec)) as Outcome
    assert.equal(again.test, outcome.test, 'a run does not depend on the one before')
    model.dispose()
  })

test('a run that diverges is a result, another error is not', async () => {
  const model = await open(1)
  const bench: Bench = { model, examples, options }
  const failed = await runMember(bench, { method: 'full', options: {}, training: { lr: 1e30 }, seed: 1 })
  assert.ok('failed' in failed)
  assert.match((failed as { failed: string }).failed, /^train: /)
  assert.is(model.adapters.size, 0)
  const error = await runMember(bench, { method: 'lora', options: { r: 0 }, training: {}, seed: 1 }).catch(e => e)
  assert.match((error as Error).message, /^r: 0/)
  model.dispose()
})

// What the defaults are too large for.
const OPTIONS: Record<string, Spec['options']> = {
  miss: { r: 4 },
  adapter: { reductionFactor: 4 },
  vera: { r: 16 },
  prompt: { numVirtualTokens: 2 },
  prefix: { numVirtualTokens: 2 },
  ptuning: { numVirtualTokens: 2 },
  'token-rows': { tokenIndices: [5, 6] },
}

test('every method of the registry can be a member', async () => {
  const model = await open(1)
  const bench: Bench = { model, examples, options: { maxSteps: 2, batchSize: 8 } }
  for (const { type } of METHODS) {
    const outcome = (await runMember(bench, {
      method: type,
      options: OPTIONS[type] ?? {},
      training: {},
      seed: 1,
    })) as Outcome
    assert.is(outcome.steps, 2, type)
    assert.type(outcome.test!.accuracy, 'number')
    assert.ok(outcome.trainable > 0 && outcome.peakBytes! > 0)
  }
  model.dispose()
})

test.run()
