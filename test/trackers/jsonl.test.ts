import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createTracker, jsonlTracker, trackerNames } from '../../lib/trackers/index.ts'
import { inTemporaryFolder } from './temporary.ts'

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)
}

test('one object a line, there as soon as the call returns, non-finite numbers kept', () =>
  inTemporaryFolder(folder => {
    const path = join(folder, 'run', 'log.jsonl')
    const tracker = jsonlTracker(path, { now: () => 5 })
    tracker.start({ hyperparameters: { rank: 8 }, metrics: ['eval/f1'] })
    tracker.scalars(1, { 'train/loss': 0.5, gradientNorm: Number.POSITIVE_INFINITY })
    assert.equal(lines(path).at(-1), {
      event: 'scalars',
      time: 5,
      step: 1,
      'train/loss': 0.5,
      gradientNorm: 'Infinity',
    })
    tracker.text!(2, 'sample', 'two\nlines')
    tracker.histogram!(2, 'scale', [1, 3])
    tracker.finish('stopped')
    const all = lines(path)
    assert.equal(
      all.map(line => line.event),
      ['start', 'scalars', 'text', 'histogram', 'finish'],
    )
    assert.is(all[2]!.text, 'two\nlines')
    assert.equal([all[3]!.mean, all[3]!.std, all[3]!.count], [2, 1, 2])
    assert.is(all[4]!.status, 'stopped')
  }))

test('a resumed run appends, and half a line left by a kill stays a line of its own', () =>
  inTemporaryFolder(folder => {
    const path = join(folder, 'log.jsonl')
    const first = jsonlTracker(path)
    first.start({ hyperparameters: {} })
    appendFileSync(path, '{"event":"scal')
    const second = jsonlTracker(path)
    second.start({ hyperparameters: {}, firstStep: 7 })
    second.finish()
    const raw = readFileSync(path, 'utf8').trimEnd().split('\n')
    assert.is(raw.length, 4)
    assert.is(raw[1], '{"event":"scal')
    assert.is((JSON.parse(raw[2]!) as { firstStep: number }).firstStep, 7)
  }))

test('trackers are made by name, and the nearest is named', () =>
  inTemporaryFolder(folder => {
    assert.equal(trackerNames(), ['tensorboard', 'jsonl'])
    createTracker('jsonl', folder).start({ hyperparameters: {} })
    assert.is(lines(join(folder, 'log.jsonl')).length, 1)
    assert.throws(() => createTracker('tensorbord', folder), /did you mean "tensorboard"/)
    assert.throws(() => jsonlTracker(join(folder, 'x')).scalars(1, {}), /before start/)
  }))

test.run()
