// Optuna's journal: what optuna wrote is read as optuna reads it, and what we write optuna reads.

import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { halve } from '../../lib/study/halving.ts'
import { type Distribution, Journal, operations, type Study, type Trial } from '../../lib/study/journal.ts'
import { temporaryFolder } from '../support/temporary.ts'

const FOLDER = join(packageRoot, 'test/golden/study')
const work = temporaryFolder()

/** A study as make.py describes it. */
interface Described {
  readonly name: string
  readonly directions: readonly string[]
  readonly user_attrs: object
  readonly best: number | null
  readonly trials: readonly {
    readonly number: number
    readonly state: string
    readonly values: readonly number[] | null
    readonly params: object
    readonly distributions: object
    readonly user_attrs: object
    readonly system_attrs: object
    readonly intermediate: object
  }[]
}

const described = (study: Study) => ({
  name: study.name,
  directions: [study.direction.toUpperCase()],
  user_attrs: study.userAttrs,
  trials: study.trials.map(trial => ({
    number: trial.number,
    state: trial.state.toUpperCase(),
    values: trial.values ?? null,
    params: trial.params,
    distributions: trial.distributions,
    user_attrs: trial.userAttrs,
    system_attrs: trial.systemAttrs,
    intermediate: Object.fromEntries(trial.intermediate),
  })),
})

const withoutBest = (studies: readonly Described[]) => studies.map(({ best: _, ...study }) => study)

function opened(path: string): Journal {
  const journal = new Journal(path)
  journal.sync()
  return journal
}

test('the journal that optuna wrote is read as optuna reads it', () => {
  const golden = JSON.parse(readFileSync(join(FOLDER, 'journal.json'), 'utf8')) as Described[]
  const { studies } = opened(join(FOLDER, 'journal.log'))
  assert.equal(studies.map(described), withoutBest(golden))
  const states = new Set(golden.flatMap(({ trials }) => trials.map(({ state }) => state)))
  assert.ok(
    states.has('COMPLETE') && states.has('PRUNED') && states.has('FAIL') && states.has('WAITING'),
    `${[...states]}`,
  )
})

test('successive halving ends the trials that optuna ended, at the same rungs', () => {
  const { trials, ...study } = opened(join(FOLDER, 'journal.log')).study('sweep')!
  const seen: Trial[] = []
  for (const trial of trials) {
    let attrs: Record<string, unknown> = {}
    let pruned = false
    for (const [step, value] of trial.intermediate) {
      const judged = halve({ ...study, trials: seen }, { ...trial, systemAttrs: attrs }, step, value)
      attrs = { ...attrs, ...Object.fromEntries(judged.attrs) }
      pruned ||= judged.prune
    }
    const rungs = Object.entries(trial.systemAttrs).filter(([key]) => key.startsWith('completed_rung_'))
    assert.equal(attrs, Object.fromEntries(rungs), `trial ${trial.number}`)
    assert.is(pruned, trial.state === 'pruned', `trial ${trial.number}`)
    seen.push(trial)
  }
})

const SPACE: Record<string, Distribution> = {
  lr: { name: 'FloatDistribution', attributes: { step: null, low: 1e-4, high: 1e-2, log: true } },
  epochs: { name: 'IntDistribution', attributes: { log: false, step: 1, low: 1, high: 9 } },
  method: { name: 'CategoricalDistribution', attributes: { choices: ['lora', 'dora', null, true, 2] } },
}

/** A study with a trial of each state. */
async function written(path: string): Promise<Journal> {
  const journal = new Journal(path)
  await journal.append(() => [operations.createStudy('lowrank', 'maximize')])
  const study = () => journal.study('lowrank')!
  await journal.append(() => [operations.studyAttr(study(), 'lowrank', { é: [1, null] })])
  const params = { lr: 1e-3, epochs: 3, method: null }
  for (const end of ['complete', 'pruned', 'fail', undefined] as const) {
    await journal.append(() => [operations.createTrial(study(), 'running', params, SPACE, { user: { ordinal: 1 } })])
    const trial = () => study().trials.at(-1)!
    await journal.append(() => [
      operations.report(trial(), 1, 0.25),
      operations.systemAttr(trial(), 'completed_rung_0', 0.25),
    ])
    await journal.append(() => [operations.userAttr(trial(), 'seconds', 1.5)])
    if (end) await journal.append(() => [operations.state(trial(), end, end === 'complete' ? 0.5 : undefined)])
  }
  const system = { fixed_params: params }
  await journal.append(() => [operations.createTrial(study(), 'waiting', params, SPACE, { user: {}, system })])
  await journal.append(() => [operations.createTrial(study(), 'waiting', {}, {}, { user: {} })])
  await journal.append(() => [operations.param(study().trials.at(-1)!, 'method', 'dora', SPACE.method!)])
  return journal
}

const python = process.env.LOWRANK_PYTHON
const hasOptuna = python !== undefined && spawnSync(python, ['-c', 'import optuna']).status === 0

test('optuna reads what we wrote, goes on with it, and we with that', async () => {
  if (!hasOptuna) return console.log('skip: LOWRANK_PYTHON names no Python with optuna')
  const path = join(work, 'ours.log')
  const journal = await written(path)
  const read = execFileSync(python!, [join(FOLDER, 'make.py'), work, path], { encoding: 'utf8' })
  const [theirs] = JSON.parse(read) as Described[]
  assert.equal(withoutBest([theirs!])[0], described(journal.study('lowrank')!))
  assert.is(theirs!.best, 0)
  const more = [
    'import optuna, sys',
    's = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(sys.argv[1]))',
    'study = optuna.load_study(study_name="lowrank", storage=s)',
    'study.optimize(lambda t: t.suggest_float("lr", 1e-4, 1e-2, log=True), n_trials=3)',
  ].join('\n')
  execFileSync(python!, ['-c', more, path], { stdio: 'ignore' })
  journal.sync()
  const { trials } = journal.study('lowrank')!
  // Two waited and were taken, one is new.
  assert.is(trials.length, 7)
  assert.is(trials.filter(({ state }) => state === 'complete').length, 4)
  await journal.append(() => [operations.state(trials[3]!, 'complete', 0.75)])
  const again = JSON.parse(
    execFileSync(python!, [join(FOLDER, 'make.py'), work, path], { encoding: 'utf8' }),
  ) as Described[]
  assert.is(again[0]!.best, 3)
})

test('a line that a killed writer left unfinished is taken away, and nothing else is lost', async () => {
  const path = join(work, 'torn.log')
  const journal = await written(path)
  const before = described(journal.study('lowrank')!)
  appendFileSync(path, '{"op_code":4,"worker_id":"x","study')
  assert.equal(described(opened(path).study('lowrank')!), before)
  const other = opened(path)
  await other.append(() => [operations.studyAttr(other.study('lowrank')!, 'more', 1)])
  journal.sync()
  assert.equal(journal.study('lowrank')!.userAttrs.more, 1)
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) JSON.parse(line)
  assert.not.ok(existsSync(`${path}.lock`))
})

test('many writers lose nothing, and one of them has a trial that two take', async () => {
  const path = join(work, 'many.log')
  await written(path)
  const journals = Array.from({ length: 5 }, () => opened(path))
  await Promise.all(
    journals.flatMap((journal, k) =>
      Array.from({ length: 8 }, (_, i) =>
        journal.append(() => [operations.studyAttr(journal.study('lowrank')!, `from ${k}`, i)]),
      ),
    ),
  )
  const { userAttrs } = opened(path).study('lowrank')!
  for (let k = 0; k < 5; k++) assert.is(userAttrs[`from ${k}`], 7)
  const [first, second] = journals as [Journal, Journal]
  const waiting = (journal: Journal) => journal.study('lowrank')!.trials.find(({ state }) => state === 'waiting')!
  const taken = waiting(first)
  await Promise.all([first, second].map(each => each.append(() => [operations.state(taken, 'running')])))
  for (const each of [first, second]) each.sync()
  const owners = [first, second].map(each => each.study('lowrank')!.trials[taken.number]!.owner)
  assert.is(owners[0], owners[1])
  assert.ok([first.worker, second.worker].includes(owners[0]!))
})

test('a file of another kind is refused by its line', () => {
  const path = join(work, 'other.log')
  writeFileSync(path, '{"step":1}\n')
  assert.throws(
    () => opened(path),
    (error: Error) => /no journal of Optuna's; a line of it is \{"step":1\}/.test(error.message),
  )
  copyFileSync(join(FOLDER, 'journal.log'), path)
  appendFileSync(path, '{"op_code":7,"worker_id":"x","trial_id":1,"step":9,"intermediate_value":NaN}\n')
  opened(path) // Python's JSON has NaN
})

test.run()
