// Losses of preferences and their gradients, as TRL has them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { type MicroBatch, packExamples, splitMicroBatch } from '../../lib/data/batches.ts'
import { type Example, IGNORED } from '../../lib/data/example.ts'
import { uploadTargets } from '../../lib/data/targets.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { withNoise } from '../../lib/nn/noise.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { Arena } from '../../lib/optim/arena.ts'
import { type Adapter, loadAdapter } from '../../lib/peft/index.ts'
import { scope } from '../../lib/tensor.ts'
import { withReference } from '../../lib/train/reference.ts'

const folder = join(packageRoot, 'test/golden/preference')
type Answer = readonly number[]
interface Golden {
  beta: number
  smoothing: number
  undesirable: number
  pairs: [Answer, Answer, Answer][]
  short: [Answer, Answer, Answer][]
  alone: [Answer, Answer, boolean][]
  logProbs: { chosen: number[]; rejected: number[] }
  losses: Record<string, { loss: number; gradients: Record<string, number[]> }>
}
const golden = JSON.parse(readFileSync(join(folder, 'trl.json'), 'utf8')) as Golden

function sequence(prompt: Answer, answer: Answer) {
  const ids = Int32Array.of(...prompt, ...answer)
  return { ids, label: ids.map((id, t) => (t < prompt.length ? IGNORED : id)) }
}

function exampleOf(loss: string, sequences: ReturnType<typeof sequence>[], wanted?: boolean): Example {
  const goal = { loss, beta: golden.beta, reference: 'base' as const, weights: [1, golden.undesirable] as const }
  const row = { values: {}, file: '', line: 1 }
  return { ...sequences[0]!, other: sequences[1]!, preference: { goal, wanted }, truncated: false, row }
}

function examplesFor(loss: string): Example[] {
  if (loss === 'kto')
    return golden.alone.map(([prompt, answer, wanted], i) => {
      const [, other] = golden.alone.at(i - 1)!
      return exampleOf(loss, [sequence(prompt, answer), sequence(prompt, other)], wanted)
    })
  return (loss === 'orpo' ? golden.short : golden.pairs).map(([prompt, chosen, rejected]) => {
    return exampleOf(loss, [sequence(prompt, chosen), sequence(prompt, rejected)])
  })
}

function close(found: ArrayLike<number>, wanted: readonly number[], what: string) {
  assert.is(found.length, wanted.length, what)
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3)
  wanted.forEach((value, i) => {
    assert.ok(Math.abs(found[i]! - value) <= 2e-5 * largest, `${what}[${i}] is ${found[i]}, TRL has ${value}`)
  })
}

/** The loss with all sequences on the tape. */
function wholeLoss(model: Model, batch: MicroBatch, total: number) {
  const targets = batch.targets!
  return model.onRows(batch, targets, hidden => {
    const uploaded = uploadTargets(targets, hidden.rows, model.head.outputs, model.device)
    return model.head.loss(hidden, uploaded, { total }, batch, targets)
  })
}

const lossOf = (model: Model, batch: MicroBatch, total: number, options = {}) =>
  model.loss(batch, batch.targets!, { total, ...options })

async function lossAndGradients(
  model: Model,
  adapter: Adapter<Model>,
  examples: readonly Example[],
  options = {},
  parts = 1,
  made: typeof lossOf = lossOf,
) {
  const arena = new Arena(adapter.trainable, model.device)
  try {
    const all = packExamples(examples, Int32Array.from(examples.keys()), { collate: model.head.collate })
    let loss = 0
    for (const batch of splitMicroBatch(all, parts)) {
      const { read } = scope(() => {
        const tape = new Tape()
        const part = tape.run(() => made(model, batch, examples.length, options))
        tape.backward(part)
        return { read: part.item() }
      })
      loss += await read
    }
    const gradients: Record<string, Float32Array> = {}
    for (const [key, parameter] of adapter.tensors())
      gradients[key] = Float32Array.from(await parameter.tensor.grad!.floats())
    return { loss, gradients }
  } finally {
    arena.dispose()
  }
}

const keyOf = (name: string) => name.replace('.default', '').replace('.modules_to_save', '')
const CASES = [
  ['dpo', 'dpo', {}],
  ['ipo', 'ipo', {}],
  ['hinge', 'hinge', {}],
  ['orpo', 'orpo', {}],
  ['kto', 'kto', {}],
  ['conservative', 'dpo', { labelSmoothing: golden.smoothing }],
] as const

for (const [name, loss, options] of CASES)
  test(`${name}: the loss and every gradient are TRL's`, async () => {
    const before = native.live()
    const model = await loadModel(join(packageRoot, 'test/golden/models/llama-lm'), { task: 'preference' })
    try {
      const adapter = await loadAdapter(model, join(folder, 'adapter'), { trainable: true })
      const examples = (await withReference(model, examplesFor(loss), { batchSize: 2 })).slice()
      const found = await lossAndGradients(model, adapter, examples, options)
      const wanted = golden.losses[name]!
      close([found.loss], [wanted.loss], 'loss')
      for (const [key, values] of Object.entries(wanted.gradients)) close(found.gradients[keyOf(key)]!, values, key)
      if (loss === 'kto') return
      const cut = await lossAndGradients(model, adapter, examples, options, examples.length)
      close([cut.loss], [wanted.loss], 'loss of micro-batches of one')
      for (const [key, values] of Object.entries(wanted.gradients)) close(cut.gradients[keyOf(key)]!, values, key)
    } finally {
      model.dispose()
    }
    assert.is(native.live(), before)
  })

test('kto: answers to other prompts go forward alone: the same gradients in less memory', async () => {
  const model = await loadModel(join(packageRoot, 'test/golden/models/llama-lm'), { task: 'preference' })
  const adapter = await loadAdapter(model, join(folder, 'adapter'), { trainable: true })
  const examples = (await withReference(model, examplesFor('kto'), { batchSize: 2 })).slice()
  const measured = async (made?: typeof lossOf) => {
    model.device.resetPeak()
    const { live } = model.device.memory()
    const found = await lossAndGradients(model, adapter, examples, {}, 1, made)
    return { ...found, bytes: model.device.memory().peak - live }
  }
  const [whole, apart] = [await measured(wholeLoss), await measured()]
  close([apart.loss], [whole.loss], 'loss')
  for (const [key, values] of Object.entries(whole.gradients)) close(apart.gradients[key]!, [...values], key)
  const noisy =
    (alpha: number): typeof lossOf =>
    (...of) => {
      const random = { seed: 1, step: 0, rowOffset: 0, sequenceOffset: 0 }
      const { cuSeqlens } = of[1]
      return withRandom(random, () => withNoise(model.backbone.wordEmbeddings, alpha, cuSeqlens, () => lossOf(...of)))
    }
  const [still, moved] = [await measured(noisy(0)), await measured(noisy(5))]
  assert.is.not(moved.loss, still.loss, 'noise reaches what is learned')
  assert.ok(apart.bytes < 0.8 * whole.bytes, `${apart.bytes} bytes, ${whole.bytes} with all on the tape`)
  model.dispose()
})

test("reward: the loss and every gradient are TRL's", async () => {
  const before = native.live()
  const model = await loadModel(join(packageRoot, 'test/golden/models/llama-lm'), {
    task: 'reward',
    labels: ['reward'],
  })
  try {
    const adapter = await loadAdapter(model, join(folder, 'reward'), { trainable: true })
    const examples = golden.pairs.map(([prompt, chosen, rejected]): Example => {
      const { ids } = sequence(prompt, chosen)
      const row = { values: {}, file: '', line: 1 }
      return { ids, other: { ids: sequence(prompt, rejected).ids }, truncated: false, row }
    })
    const wanted = golden.losses.reward!
    for (const parts of [1, 3]) {
      const found = await lossAndGradients(model, adapter, examples, {}, parts)
      close([found.loss], [wanted.loss], 'loss')
      for (const [key, values] of Object.entries(wanted.gradients)) close(found.gradients[keyOf(key)]!, values, key)
    }
  } finally {
    model.dispose()
  }
  assert.is(native.live(), before)
})

test.run()
