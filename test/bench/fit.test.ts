// The training loop of the comparisons: which epoch's weights it leaves, when it stops, what it says of itself.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fit } from '../../bench/fit.ts'
import { deviation, mean, median } from '../../bench/machine.ts'
import type { Example } from '../../lib/data/example.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import { evaluate } from '../../lib/train/evaluate.ts'

const WEIGHTS = join(packageRoot, 'test/golden/traces/weights/tiny-bert')
const settings = { epochs: 4, batchSize: 4, lr: 2e-2, warmup: 0.1, weightDecay: 0.01, clip: 1, seed: 3 }

/** Two classes, told apart by one token. */
const examples: Example[] = Array.from({ length: 18 }, (_, i) => ({
  ids: Int32Array.of(2, 5 + (i % 2), 7 + (i % 5), 3),
  label: i % 2,
  truncated: false,
  row: { values: {}, file: '', line: i + 1 },
}))

const load = () => loadModel(WEIGHTS, { task: 'sequence-classification', labels: ['a', 'b'] })
const lossOf = async (model: Model) => (await evaluate(model, examples)).loss

/** Trains with dev scores told in advance; gives the loss after each epoch, and in the end. */
async function trained(scores: readonly number[], patience?: number) {
  using model = await load()
  const attached = attach(model, lora({ r: 2, targetModules: 'all-linear' }))
  const losses: number[] = []
  const validate = async () => {
    losses.push(await lossOf(model))
    return { score: scores[losses.length - 1]! }
  }
  const options = patience === undefined ? settings : { ...settings, patience }
  const done = await fit(model, attached.trainable, examples, options, validate, 'score')
  const end = await lossOf(model)
  attached.detach()
  return { done, losses, end }
}

test('the weights of the best epoch are left, the earliest of equals', async () => {
  const { done, losses, end } = await trained([0.5, 0.9, 0.7, 0.9])
  assert.is(done.bestEpoch, 2)
  assert.is(end, losses[1])
  assert.is.not(end, losses[3])
})

test('it learns, and counts its steps', async () => {
  const { done, losses } = await trained([0, 1, 2, 3])
  assert.is(done.steps, 4 * Math.ceil(examples.length / settings.batchSize))
  assert.is(done.epochs.length, 4)
  assert.ok(losses[3]! < losses[0]! * 0.7, `loss ${losses.join(' ')}`)
  assert.ok(done.cpu > 0 && done.evalCpu > 0)
})

test('it stops when patience is lost', async () => {
  const { done } = await trained([0.9, 0.1, 0.1, 1], 2)
  assert.is(done.epochs.length, 3)
  assert.is(done.bestEpoch, 1)
})

test('it leaves no tensor behind', async () => {
  const before = native.live()
  await trained([0, 1, 2, 3])
  assert.is(native.live(), before)
})

test('middle, mean and sample deviation', () => {
  assert.is(median([3, 1, 2]), 2)
  assert.is(mean([1, 2, 6]), 3)
  assert.is(deviation([2, 4]), Math.SQRT2)
  assert.is(deviation([5]), 0)
})

test.run()
