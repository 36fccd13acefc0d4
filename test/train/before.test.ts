// What a resumed run knows of the model before training: as much as one left alone.

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import type { LowrankError } from '../../lib/errors.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../../lib/io/safetensors.ts'
import type { ModelOptions } from '../../lib/model.ts'
import { type RunRecord, recordRun, resultOf } from '../../lib/report/run.ts'
import { readBefore } from '../../lib/train/before.ts'
import type { HistoryEntry, TrainExamples, TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { LABELS, sentences, sequences, TAGS, tinyLora, tinyModel } from './support.ts'

const settings = { epochs: 2, batchSize: 8, lr: 5e-3, metric: 'loss', checkpointEvery: 1 } as const

async function run(head: Partial<ModelOptions>, data: TrainExamples, options: Partial<TrainOptions> = {}, stopAt = 0) {
  const model = tinyModel(head)
  const attached = tinyLora(model)
  const control = new AbortController()
  const recorder = recordRun({ model, attached, examples: data, reader: { columns: {} } as RunRecord['reader'] })
  for await (const event of train(attached, data, { ...settings, signal: control.signal, ...options })) {
    recorder.take(event)
    if (event.type === 'step' && event.step === stopAt) control.abort()
  }
  return recorder.record()
}

test('a record is of a whole run', () => {
  const recorder = recordRun({ examples: splitsOf(sequences) } as RunRecord)
  assert.throws(() => recorder.record(), /^recordRun: the events have no start/)
})

const withLabels = (count: number, seed: number, label: (example: Example) => Example['label']): Example[] =>
  sequences(count, seed).map(example => ({ ...example, label: label(example) }))
const splitsOf = (make: (count: number, seed: number) => Example[]): TrainExamples => {
  return { train: make(24, 5), validation: make(16, 8), test: make(20, 9) }
}

const several = (example: Example) => Float32Array.from(LABELS, (_, c) => (example.ids[c]! > 30 ? 1 : 0))
const numbers = (example: Example) => Float32Array.of(example.ids[2]! / 60, example.ids[1]! / 60)
const cases: [name: string, head: Partial<ModelOptions>, data: TrainExamples][] = [
  ['one class', {}, splitsOf(sequences)],
  ['several labels', { problem: 'multi' }, splitsOf((count, seed) => withLabels(count, seed, several))],
  ['numbers', { problem: 'regression', labels: ['a', 'b'] }, splitsOf((n, seed) => withLabels(n, seed, numbers))],
  ['tags', { task: 'token-classification', labels: TAGS }, splitsOf(sentences)],
]

for (const [name, head, data] of cases)
  test(`${name}: a resumed run has the comparison of one left alone, intervals and McNemar's test included`, async () => {
    const whole = (await resultOf(await run(head, data))).comparison!
    assert.ok(whole.metrics.some(({ interval }) => interval))
    assert.is(whole.mcnemar !== undefined, head.problem !== 'regression')
    const outputDir = temporaryFolder()
    await run(head, data, { outputDir }, 3)
    const resumed = await run(head, data, { outputDir, resume: true })
    assert.is(resumed.start.resumed!.step, 3)
    assert.equal((await resultOf(resumed)).comparison, whole)
    // Twice, so that what was carried over is carried over again.
    const again = await resultOf(await run(head, data, { outputDir, resume: true }))
    assert.equal(again.comparison, whole)
    rmSync(outputDir, { recursive: true })
  })

test('of a test split that is another one now nothing is said', async () => {
  const [, head, data] = cases[0]!
  const outputDir = temporaryFolder()
  await run(head, data, { outputDir }, 3)
  const other = { ...data, test: sequences(20, 10) }
  const { before } = await run(head, other, { outputDir, resume: true })
  assert.equal(
    before.map(({ split }) => split),
    ['validation'],
  )
  rmSync(outputDir, { recursive: true })
})

test('parts that do not fit are coded errors', async () => {
  const [, head, data] = cases[3]!
  const outputDir = temporaryFolder()
  await run(head, data, { outputDir }, 3)
  const path = join(
    outputDir,
    readdirSync(outputDir).find(name => name.startsWith('checkpoint-'))!,
    'before.safetensors',
  )
  const file = openSafetensors(path)
  const tensors = file.names().map((name): TensorToWrite => ({ ...file.info(name), name, data: file.read(name) }))
  const { metadata } = file
  file.close()
  const history = ['validation', 'test'].map(split => {
    return { kind: 'evaluation', when: 'before', split, metrics: {} } as unknown as HistoryEntry
  })
  assert.is(readBefore(path, history, data).length, 2)
  const I32 = (name: string, values: number[]): TensorToWrite => {
    return { name, dtype: 'I32', shape: [values.length], data: Int32Array.from(values) }
  }
  const wrong = [
    I32('test.gold', [1]),
    I32('test.lengths', [1]),
    I32('validation.lengths', Array(16).fill(-1)),
    { name: 'test.predicted', dtype: 'I64', shape: [1], data: new BigInt64Array(1) } as const,
  ]
  for (const changed of wrong) {
    await writeSafetensors(path, [...tensors.filter(({ name }) => name !== changed.name), changed], metadata)
    assert.throws(
      () => readBefore(path, history, data),
      (error: LowrankError) => error.code === 'ERR_CHECKPOINT' && error.message.includes('use another checkpoint'),
      changed.name,
    )
  }
  rmSync(outputDir, { recursive: true })
})

test.run()
