// Trials from one journal: the same for a seed, shared by workers, and tried again when a worker is gone.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { machine } from '../../lib/io/process.ts'
import { native } from '../../lib/native.ts'
import { type Choice, Journal, operations, type Study } from '../../lib/study/journal.ts'
import type { Bench, Spec } from '../../lib/study/member.ts'
import { parseSpace } from '../../lib/study/space.ts'
import { bestTrial, openStudy, ordinalOf, type Sweep, work } from '../../lib/study/sweep.ts'
import { tinyModel } from '../peft/golden.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { sequences } from '../train/support.ts'

const folder = temporaryFolder()

const examples = { train: sequences(40), validation: sequences(20, 9) }
const open = () => tinyModel('bert-mlm', { task: 'sequence-classification', labels: ['a', 'b', 'c'], seed: 1 })
const space = parseSpace({ lr: { from: 1e-4, to: 1e-1, scale: 'log' }, r: [1, 2, 4] }, 'lora')
const sweep: Sweep = { space, sampler: 'tpe', pruner: 'asha', trials: 12, seed: 3, metric: 'accuracy' }
const specOf = ({ lr, r }: Readonly<Record<string, Choice>>): Spec => {
  return { method: 'lora', options: { r }, training: { lr: lr as number }, seed: 1 }
}
const options = { specOf, waits: true }

async function studied(name: string, prepare?: (journal: Journal) => Promise<void>, workers = 1): Promise<Study> {
  const journal = new Journal(join(folder, name))
  await openStudy(journal, sweep, {})
  await prepare?.(journal)
  const live = native.live()
  const models = await Promise.all(Array.from({ length: workers }, open))
  await Promise.all(
    models.map(async model => {
      // Trials of workers side by side take longer than one may wait for the journal's lock.
      const bench: Bench = { model, examples, options: { epochs: workers > 1 ? 12 : 3, batchSize: 8 } }
      const own = new Journal(journal.path)
      own.sync()
      await work(bench, own, sweep, options)
    }),
  )
  for (const model of models) model.dispose()
  assert.is(native.live(), live)
  journal.sync()
  return journal.study('lowrank')!
}

const told = (study: Study) =>
  study.trials
    .filter(({ state, userAttrs }) => state !== 'fail' || userAttrs.diverged)
    .toSorted((a, b) => ordinalOf(a) - ordinalOf(b))
    .map(trial => ({
      ...trial,
      id: 0,
      number: 0,
      owner: '',
      userAttrs: {},
      systemAttrs: {},
      ordinal: ordinalOf(trial),
    }))

test('a search is the same for its seed; some trials end early, the best of the others is found', async () => {
  const [first, second] = [await studied('a.log'), await studied('b.log')]
  assert.equal(told(first), told(second))
  assert.is(first.trials.length, 12)
  const pruned = first.trials.filter(({ state }) => state === 'pruned')
  assert.ok(pruned.length > 0 && pruned.length < 12, `${pruned.length} pruned`)
  for (const { intermediate } of pruned) assert.ok(intermediate.size < 3, 'ended at its first or second validation')
  const best = bestTrial(first, sweep)!
  const complete = first.trials.filter(({ state }) => state === 'complete')
  assert.is(best.values![0], Math.max(...complete.map(({ values }) => values![0]!)))
})

/** A trial whose worker has died; on this machine, its process is known to be gone. */
async function orphan(journal: Journal, retries: number): Promise<void> {
  const { pid } = spawnSync(process.execPath, ['-e', ''])
  const study = journal.study('lowrank')!
  const params = { lr: 0.0123, r: 4 }
  const user = { ordinal: 0, retries, worker: { pid, machine: machine() }, heartbeat: new Date().toISOString() }
  await journal.append(() => [operations.createTrial(study, 'running', params, space, { user })])
}

test('the trial of a worker that is gone is failed, and tried again with the same parameters in its place', async () => {
  const study = await studied('c.log', journal => orphan(journal, 0))
  const [dead, again] = study.trials.filter(trial => ordinalOf(trial) === 0)
  assert.equal([dead!.state, dead!.userAttrs.failed], ['fail', 'its worker is gone'])
  assert.equal([again!.params, again!.userAttrs.retries], [{ lr: 0.0123, r: 4 }, 1])
  assert.equal(again!.systemAttrs.failed_trial, dead!.number)
  assert.ok(again!.state === 'complete' || again!.state === 'pruned')
  assert.is(study.trials.length, 13)
})

test('one that fails again and again is given up, and the search goes on', async () => {
  const study = await studied('d.log', journal => orphan(journal, 2))
  assert.is(study.trials.filter(trial => ordinalOf(trial) === 0).length, 1)
  assert.is(study.trials.filter(({ state }) => state === 'complete' || state === 'pruned').length, 11)
})

test("another program's trial without all parameters of the space is neither learned from nor the best", async () => {
  const study = await studied('foreign.log', async journal => {
    const { lr } = space
    const begun = operations.createTrial(journal.study('lowrank')!, 'running', { lr: 0.01 }, { lr: lr! }, { user: {} })
    await journal.append(() => [begun])
    const [trial] = journal.study('lowrank')!.trials
    await journal.append(() => [operations.state(trial!, 'complete', 2)])
  })
  assert.equal([study.trials[0]!.params, study.trials[0]!.values], [{ lr: 0.01 }, [2]])
  assert.is(study.trials.filter(({ state }) => state === 'complete' || state === 'pruned').length, 12)
  assert.is.not(bestTrial(study, sweep)!.number, 0)
})

test('a trial of a worker elsewhere counts as gone when it gives no sign of life', async () => {
  const user = (age: number) => ({
    ordinal: 0,
    worker: { pid: 1, machine: 'elsewhere' },
    heartbeat: new Date(Date.now() - age).toISOString(),
  })
  const prepare = (age: number) => async (journal: Journal) => {
    const params = { lr: 0.01, r: 1 }
    await journal.append(() => [
      operations.createTrial(journal.study('lowrank')!, 'running', params, space, { user: user(age) }),
    ])
  }
  const silent = await studied('e.log', prepare(200_000))
  assert.is(silent.trials[0]!.state, 'fail')
  const other = new Journal(join(folder, 'f.log'))
  await openStudy(other, sweep, {})
  await prepare(1000)(other)
  const journal = new Journal(other.path)
  journal.sync()
  const model = await open()
  const bench: Bench = { model, examples, options: { epochs: 1, batchSize: 8 } }
  await work(bench, journal, { ...sweep, trials: 2 }, { ...options, waits: false })
  model.dispose()
  assert.equal(journal.study('lowrank')!.trials.map(({ state }) => state)[0], 'running', 'it lives, and is left alone')
})

test('two workers share the trials of one study', async () => {
  const study = await studied('g.log', undefined, 2)
  assert.is(study.trials.length, 12)
  assert.is(new Set(study.trials.map(ordinalOf)).size, 12)
  assert.is(new Set(study.trials.map(({ owner }) => owner)).size, 2)
  assert.ok(study.trials.every(({ state }) => state === 'complete' || state === 'pruned' || state === 'fail'))
})

test('a run that diverges and one that is refused have failed; the search goes on', async () => {
  const journal = new Journal(join(folder, 'h.log'))
  const wild: Sweep = {
    ...sweep,
    space: parseSpace({ lr: [1e30, 1e-3], r: [2, 4000] }, 'lora'),
    sampler: 'grid',
    pruner: 'none',
  }
  await openStudy(journal, wild, {})
  const model = await open()
  await work({ model, examples, options: { epochs: 1, batchSize: 8 } }, journal, wild, options)
  model.dispose()
  const states = journal.study('lowrank')!.trials.map(({ state, params }) => [params.lr, params.r, state])
  assert.equal(states, [
    [1e30, 2, 'fail'],
    [1e30, 4000, 'fail'],
    [1e-3, 2, 'complete'],
    [1e-3, 4000, 'fail'],
  ])
})

test.run()
