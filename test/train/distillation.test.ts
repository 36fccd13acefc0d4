// Learning from a teacher: the loss is the divergence that its definition gives, pieces change nothing, what does not
// fit is refused, and a run comes nearer to what the teacher says.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { type MicroBatch, packExamples } from '../../lib/data/batches.ts'
import type { Example } from '../../lib/data/example.ts'
import type { Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { withRandom } from '../../lib/ops/random.ts'
import { Arena } from '../../lib/optim/arena.ts'
import type { Adapter } from '../../lib/peft/adapter.ts'
import { scope } from '../../lib/tensor.ts'
import { type DistillationOptions, distilled } from '../../lib/train/distillation.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  answers,
  counting,
  eventsOf,
  LABELS,
  runToEnd,
  sentences,
  sequences,
  TAGS,
  tinyDecoder,
  tinyLora,
  tinyModel,
  tinySeq2seq,
  trainedBytes,
} from './support.ts'

const still = { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 }
const batchOf = ({ head }: Model, examples: readonly Example[]): MicroBatch =>
  packExamples(examples, Int32Array.from(examples.keys()), { collate: head.collate })

async function logitsOf(model: Model, batch: MicroBatch): Promise<Float32Array | Float64Array> {
  const { floats } = scope(() => ({ floats: model.logits(batch, batch.targets).floats() }))
  return await floats
}

/** log softmax of a row divided by the temperature, in f64. */
function logSoftmax(row: ArrayLike<number>, temperature: number): number[] {
  const values = Array.from(row, value => value / temperature)
  const top = Math.max(...values)
  const sum = Math.log(values.reduce((all, value) => all + Math.exp(value - top), 0)) + top
  return values.map(value => value - sum)
}

/** T² · the mean over supervised rows of KL(teacher ‖ student) by its definition; `order`: the teacher's columns. */
async function expected(student: Model, teacher: Model, batch: MicroBatch, temperature: number, order?: number[]) {
  const [ours, theirs] = [await logitsOf(student, batch), await logitsOf(teacher, batch)]
  const width = student.head.outputs
  let [sum, rows] = [0, 0]
  batch.targets!.values.forEach((label, i) => {
    if (label === -100) return
    const cut = (all: Float32Array | Float64Array) => all.subarray(i * width, (i + 1) * width)
    const [q, given] = [logSoftmax(cut(ours), temperature), cut(theirs)]
    const p = logSoftmax(order ? order.map(place => given[place]!) : given, temperature)
    sum += p.reduce((kl, log, c) => kl + Math.exp(log) * (log - q[c]!), 0)
    rows++
  })
  return (temperature ** 2 * sum) / rows
}

async function lossOf(model: Model, batch: MicroBatch, options: DistillationOptions, random = false): Promise<number> {
  const objective = distilled(options)
  const forward = () => objective.loss(model, batch, batch.targets!.weight)
  const keyed = { seed: 1, step: 0, rowOffset: 0, sequenceOffset: 0 }
  const { item } = scope(() => ({ item: (random ? withRandom(keyed, forward) : forward()).item() }))
  return await item
}

const close = (found: number, wanted: number, what: string) =>
  assert.ok(Math.abs(found - wanted) <= 2e-5 * Math.max(1, Math.abs(wanted)), `${what}: ${found}, expected ${wanted}`)

const PAIRS: Record<string, { make: (seed: number) => Model; examples: readonly Example[] }> = {
  classes: { make: seed => tinyModel({ seed }, still), examples: sequences(9) },
  tags: {
    make: seed => tinyModel({ seed, task: 'token-classification', labels: TAGS }, still),
    examples: sentences(7),
  },
  decoder: { make: seed => tinyDecoder({ seed }), examples: counting(6) },
  'encoder-decoder': { make: seed => tinySeq2seq({ seed }), examples: answers(6) },
}

for (const [name, { make, examples }] of Object.entries(PAIRS))
  test(`${name}: the loss is the divergence and the labels, whatever the pieces`, async () => {
    const before = native.live()
    const [student, teacher] = [make(1), make(2)]
    const batch = batchOf(student, examples)
    const kl = await expected(student, teacher, batch, 2)
    assert.ok(kl > 1e-3)
    close(await lossOf(student, batch, { teacher, weight: 1 }), kl, 'weight 1')
    const { item } = scope(() => ({
      item: student.loss(batch, batch.targets!, { total: batch.targets!.weight }).item(),
    }))
    close(await lossOf(student, batch, { teacher, weight: 0.3 }), 0.7 * (await item) + 0.3 * kl, 'weight 0.3')
    close(await lossOf(student, batch, { teacher, weight: 1, chunk: 2 }), kl, 'pieces of two rows')
    close(await lossOf(student, batch, { teacher: student, weight: 1 }), 0, 'its own teacher')
    close(
      await lossOf(student, batch, { teacher, weight: 1, temperature: 5 }),
      await expected(student, teacher, batch, 5),
      'temperature 5',
    )
    for (const model of [student, teacher]) model.dispose()
    assert.is(native.live(), before)
  })

async function gradientsOf(student: Model, adapter: Adapter<Model>, batch: MicroBatch, options: DistillationOptions) {
  const arena = new Arena(adapter.trainable, student.device)
  const objective = distilled(options)
  scope(() => {
    const tape = new Tape()
    tape.backward(tape.run(() => objective.loss(student, batch, batch.targets!.weight)))
  })
  const all = [...(await arena.grads.floats())]
  arena.dispose()
  return all
}

test('gradients are the same in pieces, in layers run again, and those of the definition', async () => {
  const before = native.live()
  const [student, teacher] = [tinyDecoder({ seed: 1 }), tinyDecoder({ seed: 2 })]
  const adapter = tinyLora(student, { dropout: 0 })
  const batch = batchOf(student, counting(5))
  const whole = await gradientsOf(student, adapter, batch, { teacher })
  const size = Math.max(...whole.map(Math.abs))
  assert.ok(size > 1e-4)
  for (const options of [{ chunk: 3 }, { checkpoint: true }, { chunk: 1, checkpoint: true }]) {
    const other = await gradientsOf(student, adapter, batch, { teacher, ...options })
    for (const [i, value] of other.entries())
      assert.ok(Math.abs(value - whole[i]!) <= 1e-5 * size, `${i}: ${value}, ${whole[i]}`)
  }
  for (const model of [student, teacher]) model.dispose()
  assert.is(native.live(), before)
})

test('labels may stand in another order, and a teacher has no dropout', async () => {
  const names = ['high', 'low', 'middle']
  const [student, teacher] = [tinyModel({ seed: 1 }, still), tinyModel({ seed: 2, labels: names })]
  const batch = batchOf(student, sequences(8))
  const order = LABELS.map(label => names.indexOf(label))
  const wanted = await expected(student, teacher, batch, 2, order)
  assert.ok(Math.abs(wanted - (await expected(student, teacher, batch, 2))) > 1e-3, 'the order matters')
  close(await lossOf(student, batch, { teacher, weight: 1 }), wanted, 'in the order of the student')
  close(await lossOf(student, batch, { teacher, weight: 1 }, true), wanted, 'in training mode')
  for (const model of [student, teacher]) model.dispose()
})

const data = { train: sequences(24), validation: sequences(8, 9) }
const settings = { epochs: 6, batchSize: 8, lr: 0.01, seed: 7, teacherWeight: 1 } as const

async function taught(teacher: Model | undefined, more: object = {}) {
  const student = tinyModel({ seed: 1 })
  const adapter = tinyLora(student)
  const events = await runToEnd(adapter, data, { ...settings, ...(teacher ? { teacher } : {}), ...more })
  return { student, events, bytes: await trainedBytes(adapter) }
}

test('a run comes nearer to its teacher, says so, leaves it as it is and goes on only with it', async () => {
  const teacher = tinyModel({ seed: 2 }, { hidden_size: 48 })
  const [weight] = teacher.parameters.values()
  const bytes = Buffer.from(await weight!.tensor.bytes())
  const { student, events } = await taught(teacher)
  const [start] = eventsOf(events, 'start')
  assert.equal({ ...start!.teacher, parameters: 0 }, { parameters: 0, weight: 1, temperature: 2 })
  assert.ok(start!.teacher!.parameters > start!.total, 'the teacher is larger')
  const steps = eventsOf(events, 'step').map(({ loss }) => loss)
  assert.ok(steps.at(-1)! < 0.5 * steps[0]!, `${steps[0]} to ${steps.at(-1)}`)
  student.dispose()
  assert.ok(bytes.equals(Buffer.from(await weight!.tensor.bytes())))

  const outputDir = temporaryFolder()
  const cut = await taught(teacher, { outputDir, epochs: 2 })
  cut.student.dispose()
  const other = tinyModel({ seed: 4 }, { hidden_size: 48 })
  await taught(other, { outputDir, epochs: 2, resume: true }).then(
    () => assert.unreachable(),
    error => assert.match(error.message, /teacher is [0-9a-f]{64}, it was/),
  )
  for (const model of [teacher, other]) model.dispose()
})

test('what does not fit is refused', async () => {
  const student = tinyModel({ seed: 1 })
  const adapter = tinyLora(student)
  const refuses = async (teacher: Model | undefined, message: RegExp, more: object = {}) => {
    const options = { ...settings, ...(teacher ? { teacher } : {}), ...more }
    await runToEnd(adapter, data, options).then(
      () => assert.unreachable(`${message}`),
      error => assert.match(`${error.code} ${error.message}`, message),
    )
    teacher?.dispose()
  }
  await refuses(undefined, /ERR_OPTION teacherWeight: 1 has no effect/)
  await refuses(
    tinyModel({ labels: ['a', 'b', 'c'] }),
    /ERR_OPTION teacher: its labels are a, b, c, the model's high, low/,
  )
  await refuses(tinyModel({}, { vocab_size: 90 }), /ERR_OPTION teacher: it embeds 90 tokens, the model 60/)
  await refuses(tinyModel({ task: 'token-classification', labels: LABELS }), /ERR_OPTION teacher: its task is token/)
  await refuses(tinyModel(), /ERR_OPTION classWeights: weigh labels/, { classWeights: 'balanced' })
  await refuses(tinyModel({}, { max_position_embeddings: 8 }), /ERR_OPTION teacher: it has positions for 8 tokens/)
  student.dispose()
})

test.run()
