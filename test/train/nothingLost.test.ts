// Interruptions and disks that fail: what a run may end as, and what it may not touch.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { faults } from '../../lib/io/atomic.ts'
import type { EndEvent, TrainData, TrainEvent, TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, sequences, tinyLora, tinyModel, trainedBytes } from './support.ts'

const data = { train: sequences(24), validation: sequences(16, 8), test: sequences(16, 9) }
const settings = { epochs: 2, batchSize: 8, lr: 5e-3, metric: 'loss', evaluateBefore: false } as const

/** Runs to the end; `react` sees every event. */
async function run(
  options: Partial<TrainOptions>,
  react: (event: TrainEvent) => void = () => undefined,
  splits: TrainData = data,
): Promise<{ events: TrainEvent[]; bytes: string; end: EndEvent }> {
  const model = tinyModel()
  const method = tinyLora(model)
  const events: TrainEvent[] = []
  try {
    for await (const event of train(method, splits, { ...settings, ...options })) {
      events.push(event)
      react(event)
    }
    return { events, bytes: await trainedBytes(method), end: eventsOf(events, 'end')[0]! }
  } finally {
    method.detach()
    model.dispose()
  }
}
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    e => `${e.code}: ${e.message}`,
  )

test('cut in the last evaluation, a run is aborted, saved, and resumed to the same end', async () => {
  const whole = await run({ evalBatchSize: 4 }) // a loss is summed batch by batch
  for (const checkpointEvery of ['epoch', 'never'] as const) {
    const outputDir = temporaryFolder()
    const control = new AbortController()
    // The test split is evaluated after training alone: its first batch says that the last evaluation is on.
    const progress = (split: string) => void (split === 'test' && control.abort())
    const options = { outputDir, checkpointEvery, evalBatchSize: 4 }
    const cut = await run({ ...options, signal: control.signal, progress })
    assert.is(cut.end.reason, 'aborted')
    assert.is(cut.end.step, 6)
    assert.not.ok(eventsOf(cut.events, 'evaluation').some(({ split }) => split === 'test'))
    assert.ok(existsSync(join(outputDir, 'checkpoint-6')))
    const resumed = await run({ ...options, resume: true })
    assert.is(resumed.end.reason, 'finished')
    assert.is(resumed.bytes, whole.bytes)
    const last = (events: TrainEvent[]) =>
      eventsOf(events, 'evaluation').filter(({ split }) => split === 'test')[0]!.loss
    assert.is(last(resumed.events), last(whole.events))
    rmSync(outputDir, { recursive: true })
  }
})

test('batches by tokens resume to the same end, and steps are those that schedule and epochs count', async () => {
  const budget = { batchSize: undefined, batchTokens: 60, accumulate: 2, epochs: 3 }
  const whole = await run(budget)
  const [start] = eventsOf(whole.events, 'start')
  assert.equal([start!.batchSize, start!.batchTokens], [undefined, 60])
  assert.is(start!.totalSteps, 3 * start!.stepsPerEpoch)
  assert.is(whole.end.step, start!.totalSteps)
  const tokens = data.train.reduce((sum, { ids }) => sum + ids.length, 0)
  assert.is(whole.end.tokens, 3 * tokens)
  const steps = eventsOf(whole.events, 'step')
  assert.is(steps.length, start!.totalSteps)
  assert.ok(steps.at(-1)!.lr < steps[0]!.lr)
  const outputDir = temporaryFolder()
  const control = new AbortController()
  const cut = await run({ ...budget, outputDir, signal: control.signal }, event => {
    if (event.type === 'step' && event.step === start!.stepsPerEpoch + 1) control.abort()
  })
  assert.is(cut.end.reason, 'aborted')
  assert.is((await run({ ...budget, outputDir, resume: true })).bytes, whole.bytes)
  const other = await codeOf(run({ ...budget, batchTokens: 61, outputDir, resume: true }))
  assert.match(other, /batchTokens is 61, it was 60/)
  const both = /^ERR_OPTION: batchTokens: 60 stands in place of batchSize, which is 8; leave one of them out/
  assert.match(await codeOf(run({ batchTokens: 60 })), both)
  rmSync(outputDir, { recursive: true })
})

test('resume with nothing to resume says what is there', async () => {
  const outputDir = temporaryFolder()
  assert.match(await codeOf(run({ outputDir, resume: true })), /^ERR_CHECKPOINT: resume: .* holds nothing, but no/)
  writeFileSync(join(outputDir, 'notes'), '')
  mkdirSync(join(outputDir, 'checkpoint-3'))
  const broken = await codeOf(run({ outputDir, resume: true }))
  assert.match(broken, /^ERR_CHECKPOINT: resume: .* holds no checkpoint that is whole \(.*checkpoint-3.*manifest/)
  assert.equal(readdirSync(outputDir).sort(), ['checkpoint-3', 'notes'])
  rmSync(outputDir, { recursive: true })
})

test('pruning removes a link, never what it leads to', async () => {
  const [outputDir, elsewhere] = [temporaryFolder(), temporaryFolder()]
  writeFileSync(join(elsewhere, 'manifest.json'), 'precious')
  const react = (event: TrainEvent): void => {
    if (event.type === 'step' && event.step === 1) symlinkSync(elsewhere, join(outputDir, 'checkpoint-1'))
  }
  const { end } = await run({ outputDir, keepCheckpoints: 1 }, react)
  assert.is(end.reason, 'finished')
  assert.is(readFileSync(join(elsewhere, 'manifest.json'), 'utf8'), 'precious')
  assert.not.ok(readdirSync(outputDir).includes('checkpoint-1'))
  for (const folder of [outputDir, elsewhere]) rmSync(folder, { recursive: true })
})

test('an old checkpoint that cannot be removed costs a warning', async () => {
  const outputDir = temporaryFolder()
  faults.remove = path => {
    throw Object.assign(new Error(`EBUSY: ${path}`), { code: 'EBUSY' })
  }
  const { end, events } = await run({ outputDir, checkpointEvery: 1, keepCheckpoints: 1 }).finally(() => {
    faults.remove = undefined
  })
  assert.is(end.reason, 'finished')
  const [warning] = eventsOf(events, 'warning').filter(({ code }) => code === 'checkpoint-left')
  assert.match(warning!.message, /checkpoint-\d is no longer needed and cannot be removed \(EBUSY\)/)
  assert.ok(existsSync(join(outputDir, 'checkpoint-6')))
  rmSync(outputDir, { recursive: true })
})

test('a second run on the same folder is refused, and the first goes on', async () => {
  const outputDir = temporaryFolder()
  let second: Promise<string> | undefined
  const react = (event: TrainEvent): void => {
    if (event.type === 'step') second ??= codeOf(run({ outputDir, overwrite: true }))
  }
  const { end } = await run({ outputDir }, react)
  assert.is(end.reason, 'finished')
  assert.match(await second!, /^ERR_OPTION: output: .* is being written by process \d+/)
  assert.equal(
    readdirSync(outputDir).filter(name => name.startsWith('.')),
    [],
  )
  assert.ok(existsSync(join(outputDir, 'checkpoint-6')))
  rmSync(outputDir, { recursive: true })
})

test.run()
