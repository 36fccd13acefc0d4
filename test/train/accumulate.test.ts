import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batches, splitMicroBatch } from '../../lib/data/batches.ts'
import type { Example } from '../../lib/data/example.ts'
import { sequenceClasses } from '../../lib/data/targets.ts'
import type { Transform } from '../../lib/data/transform.ts'
import type { Model, ModelOptions } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { Tensor } from '../../lib/tensor.ts'
import { optimizerOf } from '../../lib/train/run.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { Stepper, supervised } from '../../lib/train/step.ts'
import {
  answers,
  counting,
  hideTokens,
  row,
  sentences,
  sequences,
  TAGS,
  tinyDecoder,
  tinyLora,
  tinyModel,
  tinySeq2seq,
} from './support.ts'

const multi = sequences(16).map(e => ({ ...e, label: Float32Array.of(...[0, 1, 2].map(c => (e.label === c ? 1 : 0))) }))

interface Case {
  /** Default: a tiny encoder. */
  make?: (options: Partial<ModelOptions>) => Model
  options: Partial<ModelOptions>
  examples: readonly Example[]
  transform?: Transform
  classWeights?: readonly number[]
}

const CASES: Record<string, Case> = {
  classes: { options: {}, examples: sequences(16) },
  'weighted classes': { options: {}, examples: sequences(16), classWeights: [0.5, 1, 3] },
  'several labels': { options: { problem: 'multi' }, examples: multi },
  tags: { options: { task: 'token-classification', labels: TAGS }, examples: sentences(16) },
  answers: {
    options: { task: 'question-answering' },
    examples: sequences(16).map(e => ({ ...e, label: Int32Array.of(1, 2) })),
  },
  'hidden tokens': {
    options: { task: 'masked-lm' },
    examples: sequences(16).map(({ label: _, ...e }) => e),
    transform: hideTokens,
  },
  'next tokens': { make: tinyDecoder, options: {}, examples: counting(16) },
  'text to text': { make: tinySeq2seq, options: { storage: 'f64' }, examples: answers(16) },
}

/** Loss and gradients of one optimizer step over all 16 examples, cut into micro-batches. */
async function gradients(which: Case, kind: 'lora' | 'full', batchSize: number, parts = 1) {
  const model = (which.make ?? tinyModel)({ storage: 'f32', ...which.options })
  const targets = { dropout: 0.3, targetModules: 'all-linear', initLoraWeights: false }
  const method = kind === 'full' ? attach(model, fullFineTuning()) : tinyLora(model, targets)
  const settings = resolveTrainSettings(method, { transform: which.transform }, { train: { length: 16 } })
  const optimizer = optimizerOf(method, settings)
  const { classWeights } = which
  const weights = classWeights && Tensor.from(Float32Array.from(classWeights), [3]).keep()
  const options = {
    batchSize,
    accumulate: 16 / batchSize,
    seed: 3,
    transform: which.transform,
    collate: model.head.collate,
  }
  const step = batches(which.examples, classWeights ? { ...options, classWeights } : options).at(0)
  const microBatches = step.microBatches.flatMap(batch => splitMicroBatch(batch, parts))
  const stepper = new Stepper(model, optimizer, { seed: 9, objective: supervised({ classWeights: weights }) })
  let loss = 0
  for (const batch of microBatches) loss += await (await stepper.forwardBackward(batch, step.total, 4)).loss
  const result = { loss, grads: await optimizer.arena.grads.data() }
  weights?.dispose()
  optimizer.arena.dispose()
  model.dispose()
  return result
}

function closeTo(a: ArrayLike<number>, b: ArrayLike<number>, bar: number): void {
  let [worst, most] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!))
    most = Math.max(most, Math.abs(a[i]!))
  }
  assert.ok(most > 1e-3, 'there are gradients')
  assert.ok(worst <= bar * Math.max(1, most), `differ by ${worst}, of ${most}`)
}

for (const [name, which] of Object.entries(CASES))
  for (const kind of ['lora', 'full'] as const)
    test(`accumulation is exact under ragged lengths and dropout: ${name}, ${kind}`, async () => {
      const whole = await gradients(which, kind, 16)
      for (const [size, parts] of [
        [4, 1],
        [1, 1],
        [16, 2],
        [8, 4],
      ] as const) {
        const cut = await gradients(which, kind, size, parts)
        closeTo(whole.grads, cut.grads, 1e-6)
        assert.ok(Math.abs(whole.loss - cut.loss) < 1e-6, `loss ${whole.loss} and ${cut.loss}`)
      }
    })

test('a cut micro-batch is the same sequences', () => {
  const examples = [3, 1, 4, 1, 5].map((length, line) => {
    return { ids: new Int32Array(length).fill(line + 3), label: line, truncated: false, row: row(line) }
  })
  const whole = batches(examples, { batchSize: 5, collate: sequenceClasses }).at(0).microBatches[0]!
  const cut = splitMicroBatch(whole, 2)
  assert.equal(
    cut.map(part => Array.from(part.cuSeqlens)),
    [
      [0, 3, 4, 8],
      [0, 1, 6],
    ],
  )
  assert.equal(
    cut.map(part => Array.from(part.targets!.values)),
    [
      [0, 1, 2],
      [3, 4],
    ],
  )
  assert.equal(
    cut.map(part => [part.offsets, part.maxLength]),
    [
      [{ row: 0, sequence: 0, selected: 0, decoder: 0 }, 4],
      [{ row: 8, sequence: 3, selected: 3, decoder: 0 }, 5],
    ],
  )
  assert.equal(
    cut.flatMap(part => Array.from(part.ids)),
    Array.from(whole.ids),
  )
})

test('two processes that each take a part of every step end where one does', async () => {
  const trainer = (others?: () => Tensor) => {
    const model = tinyModel()
    const method = tinyLora(model)
    const optimizer = optimizerOf(method, resolveTrainSettings(method, {}, { train: { length: 16 } }))
    const allReduce = (grads: Tensor) => native.accumulate(grads.handle, others!().handle, 1)
    const communicator = others && { rank: 0, size: 2, allReduce }
    return { model, optimizer, stepper: new Stepper(model, optimizer, { seed: 9, communicator }) }
  }
  const copies: Tensor[] = []
  const alone = trainer()
  const two = [trainer(() => copies[1]!), trainer(() => copies[0]!)]
  const plan = { batchSize: 4, accumulate: 4, seed: 3, collate: alone.model.head.collate }
  const { microBatches, total } = batches(sequences(16), plan).at(0)
  for (let index = 0; index < 3; index++) {
    await (await alone.stepper.launch({ microBatches, total }, index, 0.01)).numbers
    for (const [rank, { stepper, optimizer }] of two.entries()) {
      optimizer.arena.zeroGrads()
      for (const batch of microBatches.slice(2 * rank, 2 * rank + 2)) await stepper.forwardBackward(batch, total, index)
      copies[rank] = Tensor.zeros(optimizer.arena.grads.shape).keep()
      native.copyInto(copies[rank].handle, optimizer.arena.grads.handle)
    }
    for (const { stepper } of two) await stepper.optimStep(0.01).gradNorm
    for (const copy of copies) copy.dispose()
  }
  const [expected, ...reduced] = await Promise.all([alone, ...two].map(each => each.optimizer.arena.params.data()))
  for (const params of reduced) closeTo(expected!, params!, 1e-6)
  for (const { model, optimizer } of [alone, ...two]) {
    optimizer.arena.dispose()
    model.dispose()
  }
})

test.run()
