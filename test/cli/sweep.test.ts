// sweep as a user runs it: killed and resumed, with workers, its best configuration trained again.
// timeout: 600

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { readAdapterInfo } from '../../lib/peft/index.ts'
import { Journal, type Trial } from '../../lib/study/journal.ts'
import { ordinalOf } from '../../lib/study/sweep.ts'
import { cli, records, workFolder } from './support.ts'

const cwd = workFolder()
const lines = readFileSync(join(bundled.sample, 'train.jsonl'), 'utf8').split('\n').slice(0, 100)
writeFileSync(join(cwd, 'sample.jsonl'), lines.join('\n'))
writeFileSync(join(cwd, 'space.yaml'), 'lr: {from: 1e-4, to: 1e-2, scale: log}\nr: [2, 4]\nepochs: {from: 1, to: 3}\n')
const run = (...args: string[]) => cli(args, { cwd })
const base = [
  'sweep',
  'sample.jsonl',
  '--space',
  'space.yaml',
  '--sampler',
  'random',
  '--trials',
  '4',
  '--batch-size',
  '8',
  '--together',
  '1',
]

function trialsOf(out: string): readonly Trial[] {
  const journal = new Journal(join(cwd, out, 'study.log'))
  journal.sync()
  return journal.study('lowrank')!.trials
}

const told = (out: string) =>
  trialsOf(out)
    .filter(({ state }) => state !== 'fail')
    .toSorted((a, b) => ordinalOf(a) - ordinalOf(b))
    .map(({ params, state, values, intermediate }) => ({ params, state, values, intermediate: [...intermediate] }))

test('killed in a trial and resumed, finished trials stay, and the search ends as one left alone', async () => {
  const watch = (stderr: string, kill: (signal: NodeJS.Signals) => void) => {
    if (/trial 2 \(3\/4\).* \d+\/\d+ \(\d+%\)/.test(stderr)) kill('SIGKILL')
  }
  const killed = await cli([...base, '--out', 'a'], { cwd, watch })
  assert.is(killed.code, null, killed.stderr)
  const before = trialsOf('a').map(({ state }) => state)
  assert.equal(before.slice(2), ['running'], `${before}`)
  const resumed = await run(...base, '--out', 'a', '--resume')
  assert.is(resumed.code, 0, resumed.stderr)
  assert.match(resumed.stderr, /trial 2: its worker is gone; it is tried again/)
  assert.equal(
    trialsOf('a')
      .map(({ state }) => state)
      .slice(0, 3),
    [...before.slice(0, 2), 'fail'],
  )
  const whole = await run(...base, '--out', 'b', '--json', '--quiet')
  assert.is(whole.code, 0, whole.stderr)
  assert.equal(told('a'), told('b'))
})

test('the best configuration trains to the same scores, and the test split was read for it alone', async () => {
  const found = JSON.parse(readFileSync(join(cwd, 'b/sweep.json'), 'utf8')) as Found
  const { params, outcome } = found.best
  const yaml = readFileSync(join(cwd, 'b/best.yaml'), 'utf8')
  for (const [name, value] of Object.entries(params)) assert.match(yaml, new RegExp(`^${name}: ${value}$`, 'm'))
  const flags = ['--out', 'again', '--trackers', 'none', '--json', '--quiet']
  const trained = await run('train', '--config', 'b/best.yaml', ...flags)
  assert.is(trained.code, 0, trained.stderr)
  const events = records(trained.stdout) as { type: string; when?: string; split?: string; metrics?: object }[]
  const after = (split: string) => events.find(each => each.when === 'after' && each.split === split)!.metrics
  assert.equal(after('test'), outcome.test)
  assert.equal(after('validation'), outcome.validation)
  assert.not.match(readFileSync(join(cwd, 'b/study.log'), 'utf8'), /"test"\s*:\s*\{/)
  const [best, again] = await Promise.all(['b/best', 'again/adapter'].map(each => readAdapterInfo(join(cwd, each))))
  assert.equal(best!.extra, again!.extra, 'what using it takes is beside either')
  const predicted = await run('predict', 'b/best', 'where is it?', '--json')
  assert.is(predicted.code, 0, predicted.stderr)
  const page = readFileSync(join(cwd, 'b/sweep.html'), 'utf8')
  assert.match(page, /<path class="line c2" d="M/, 'the best trial in parallel coordinates')
  assert.match(page, /What made the difference/)
})

interface Found {
  readonly best: { readonly params: object; readonly outcome: { readonly validation: object; readonly test: object } }
}

test('more trials go on from those there are, another space does not', async () => {
  const more = [...base.slice(0, 6), '--trials', '6', '--batch-size', '8', '--out', 'b', '--resume']
  const done = await run(...more)
  assert.is(done.code, 0, done.stderr)
  assert.is(trialsOf('b').length, 6)
  const other = await run('sweep', 'sample.jsonl', '--sampler', 'random', '--batch-size', '8', '--out', 'b', '--resume')
  assert.match(other.stderr, /^error ERR_OPTION: --resume: space is .*, it was /m)
})

test('workers take trials of a study, here two beside the one that began it', async () => {
  const trials = ['--trials', '8', '--max-steps', '6', '--together', '1', '--out', 'c']
  const space = [
    'sweep',
    'sample.jsonl',
    '--sampler',
    'grid',
    '--pruner',
    'none',
    '--batch-size',
    '8',
    '--space',
    'space.yaml',
  ]
  let workers: ReturnType<typeof run>[] = []
  const watch = (stderr: string) => {
    if (workers.length > 0 || !/trial 0 .*1\/\d+ /.test(stderr)) return
    workers = [1, 2].map(() => run('sweep', 'worker', '--study', 'c/study.log', '--json'))
  }
  const main = await cli([...space, ...trials], { cwd, watch })
  assert.is(main.code, 0, main.stderr)
  const ended = await Promise.all(workers)
  for (const each of ended) assert.is(each.code, 0, each.stderr)
  const all = trialsOf('c')
  assert.is(all.length, 8)
  assert.ok(all.every(({ state }) => state === 'complete'))
  const taken = ended.map(({ stdout }) => (records(stdout).at(-1) as { trials: number }).trials)
  const own = all.filter(({ owner }) => owner === all[0]!.owner).length
  assert.is(own + taken[0]! + taken[1]!, 8)
})

test('trials at once come to what they come to one after another', async () => {
  const args = [
    'sweep',
    'sample.jsonl',
    '--sampler',
    'grid',
    '--pruner',
    'none',
    '--space',
    'small.yaml',
    '--epochs',
    '2',
  ]
  writeFileSync(join(cwd, 'small.yaml'), 'lr: [1e-3, 5e-3]\nr: [2, 8]\n')
  const [one, all] = [await run(...args, '--together', '1', '--out', 'd'), await run(...args, '--out', 'e')]
  assert.is(one.code, 0, one.stderr)
  assert.is(all.code, 0, all.stderr)
  assert.match(all.stderr, /trials 0 to 3 at once|trial 3, lr 0.005, r 8/)
  assert.equal(told('e'), told('d'))
})

test('a budget plans the steps of all trials, and stays when the search is resumed', async () => {
  const args = ['sweep', 'sample.jsonl', '--sampler', 'random', '--trials', '2', '--space', 'small.yaml', '--out', 'f']
  const planned = await run(...args, '--budget', '10s')
  assert.is(planned.code, 0, planned.stderr)
  assert.match(planned.stderr, /\d+ steps? a trial/)
  const steps = trialsOf('f').map(({ userAttrs }) => userAttrs.steps)
  assert.ok(
    steps.every(each => each === undefined || Number(each) > 0),
    `${steps}`,
  )
  const again = await run(...args, '--budget', '10s', '--trials', '3', '--resume')
  assert.is(again.code, 0, again.stderr)
  const refused = await run('sweep', 'sample.jsonl', '--space', 'space.yaml', '--budget', '20s', '--out', 'g')
  assert.match(refused.stderr, /^error ERR_OPTION: --budget: plans epochs, which the space searches/m)
})

test('what cannot be searched is told before anything is trained', async () => {
  writeFileSync(join(cwd, 'wrong.yaml'), 'learning_rate: [1e-3]\n')
  const wrong = await run('sweep', 'sample.jsonl', '--space', 'wrong.yaml')
  assert.match(wrong.stderr, /^error ERR_OPTION: --space: "learning_rate" is not searched \(here it is "lr"\)/)
  const none = await run('sweep', 'worker')
  assert.match(none.stderr, /^error ERR_OPTION: sweep worker: study is missing/)
  const absent = await run('sweep', 'worker', '--study', 'nowhere.log')
  assert.match(absent.stderr, /^error ERR_CONFIG: (?:--)?study: there is no file/)
  writeFileSync(join(cwd, 'notes.log'), 'a note\n')
  const notes = await run('sweep', 'worker', '--study', 'notes.log')
  assert.match(notes.stderr, /^error ERR_CONFIG: (?:--)?study: .* is no journal of Optuna's/)
  assert.not.ok(existsSync(join(cwd, 'lowrank-sweep-sample')))
  const help = await run('sweep', 'worker', '--help')
  assert.match(help.stdout, /--study <path>/)
})

test.run()
