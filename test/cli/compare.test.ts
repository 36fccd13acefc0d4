// compare as a user runs it: killed and resumed, within a budget, on the bundled sample's rows.
// timeout: 600

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { readAdapterInfo } from '../../lib/peft/index.ts'
import type { MethodsData } from '../../lib/report/methods.ts'
import { cli, records, workFolder } from './support.ts'

const cwd = workFolder()
const lines = readFileSync(join(bundled.sample, 'train.jsonl'), 'utf8').split('\n').slice(0, 100)
writeFileSync(join(cwd, 'sample.jsonl'), lines.join('\n'))
const run = (...args: string[]) => cli(args, { cwd })
const tiny = [
  'compare',
  'sample.jsonl',
  '--methods',
  'lora,full,head',
  '--seeds',
  '2',
  '--lrs',
  '2',
  '--max-steps',
  '2',
]
const members = (out: string) => readdirSync(join(cwd, out, 'members')).sort()
const result = (out: string) => JSON.parse(readFileSync(join(cwd, out, 'compare.json'), 'utf8')) as MethodsData

test('killed in the middle and resumed, no finished run is made again, and the scores are those of one left alone', async () => {
  const watch = (stderr: string, kill: (signal: NodeJS.Signals) => void) => {
    if (/4\/\d+ full lr/.test(stderr)) kill('SIGKILL')
  }
  const killed = await cli([...tiny, '--out', 'a'], { cwd, watch })
  assert.is(killed.code, null)
  const done = members('a')
  assert.ok(done.length >= 3, `${done}`)
  const times = new Map(done.map(name => [name, statSync(join(cwd, 'a/members', name)).mtimeMs]))
  assert.not.ok(existsSync(join(cwd, 'a/compare.json')))
  const again = await run(...tiny, '--out', 'a')
  assert.match(again.stderr, /error ERR_OPTION: --out: a holds a study already; go on with --resume/)
  const resumed = await run(...tiny, '--out', 'a', '--resume')
  assert.is(resumed.code, 0, resumed.stderr)
  assert.match(resumed.stderr, /lora lr [\d.e-]+ seed 42: .* \(done before\)/)
  for (const [name, time] of times) assert.is(statSync(join(cwd, 'a/members', name)).mtimeMs, time, name)
  const whole = await run(...tiny, '--out', 'b', '--quiet')
  assert.is(whole.code, 0, whole.stderr)
  assert.equal(members('a'), members('b'))
  const scores = (out: string) => result(out).rows.map(({ method, lr, grid, score }) => ({ method, lr, grid, score }))
  assert.equal(scores('a'), scores('b'))
})

test('the table says what each method is worth and costs', () => {
  const { rows, seeds, memory, split } = result('b')
  assert.equal([seeds, split], [[42, 43], 'test'])
  assert.match(memory, /^Perplexity of the base: of its own masked-lm head on \d+ texts of the test split/)
  const of = (name: string) => rows.find(({ method }) => method === name)!
  const [lora, full, head] = [of('lora'), of('full'), of('head')]
  for (const row of rows) {
    assert.is(row.score!.count, 2)
    assert.ok(row.cpuSeconds!.mean > 0 && row.seconds!.mean > 0 && row.latency!.unmerged > 0, row.method)
    assert.ok(row.grid.some(({ lr }) => lr === row.lr))
  }
  assert.ok(lora.trainable < full.trainable / 10 && full.trainable === full.total)
  assert.ok(head.peakBytes < lora.peakBytes && lora.peakBytes < full.peakBytes)
  assert.ok(head.adapterBytes! < lora.adapterBytes! && lora.adapterBytes! < full.adapterBytes!)
  assert.ok(lora.latency!.merged! > 0 && full.latency!.merged === undefined)
  assert.equal(head.forgetting, { mean: 1, sd: 0, count: 2 }, 'a frozen base forgets nothing')
  assert.ok(lora.forgetting!.mean !== 1 && full.forgetting!.mean !== 1)
  assert.is(lora.difference!.confidence, 0.95)
  assert.is(full.difference, undefined)
})

test('what it kept can be used, and its runs are those of train', async () => {
  const { lr } = result('b').rows.find(({ method }) => method === 'lora')!
  const kept = readdirSync(join(cwd, 'b/adapters/lora'), { withFileTypes: true })
  assert.ok(kept.some(({ name }) => name === 'adapter_config.json') && kept.every(entry => entry.isFile()))
  const { extra } = await readAdapterInfo(join(cwd, 'b/adapters/lora'))
  assert.is(extra.truncation_side, 'right')
  const predicted = await run('predict', 'b/adapters/lora', 'where is it?', '--json')
  assert.is(predicted.code, 0, predicted.stderr)
  const alone = ['--lr', `${lr}`, '--max-steps', '2', '--out', 'alone', '--trackers', 'none', '--json', '--quiet']
  const trained = await run('train', 'sample.jsonl', ...alone)
  const summary = records(trained.stdout).at(-1) as { after: Record<string, number>; peakBytes: number }
  const { members: all } = result('b') as unknown as { members: Run[] }
  const member = all.find(({ spec }) => spec.method === 'lora' && spec.training.lr === lr && spec.seed === 42)!
  assert.equal(member.outcome.test, summary.after)
  assert.is(member.outcome.peakBytes, summary.peakBytes)
})

interface Run {
  readonly spec: { method: string; training: { lr: number }; seed: number }
  readonly outcome: { test: Record<string, number>; peakBytes: number }
}

test('the page and the Markdown', () => {
  const page = readFileSync(join(cwd, 'b/compare.html'), 'utf8')
  assert.match(page, /<h1>Methods of fine-tuning on sample.jsonl<\/h1>/)
  assert.match(page, /<svg class="chart"/)
  assert.not.match(page, /https?:\/\/(?!www\.w3\.org)/, 'nothing is fetched')
  assert.match(
    readFileSync(join(cwd, 'b/compare.md'), 'utf8'),
    /^# .*\n\n\| method \| accuracy \| difference to full \|/,
  )
})

test('more seeds and methods go on from what is there; other settings do not', async () => {
  const before = members('b')
  const more = ['--methods', 'lora,full,head,bitfit', '--lrs', '2', '--max-steps', '2', '--out', 'b', '--resume']
  const added = await run('compare', 'sample.jsonl', ...more, '--seeds', '2', '--quiet', '--json')
  assert.is(added.code, 0, added.stderr)
  assert.is(members('b').length - before.length, members('b').filter(name => name.startsWith('bitfit')).length)
  const summary = records(added.stdout).at(-1) as unknown as MethodsData
  assert.is(summary.rows.length, 4)
  const other = await run(...tiny, '--out', 'b', '--resume', '--batch-size', '4')
  assert.match(other.stderr, /^error ERR_OPTION: --resume: --batch-size is 4, it was 16/m)
  const rank = await run(...tiny, '--out', 'b', '--resume', '--r', '2')
  assert.match(rank.stderr, /--resume: the options of lora are \{.*"r":2.*\}, they were/)
})

test('a budget decides the steps of all runs, and one that is too short says what it takes', async () => {
  const few = ['compare', 'sample.jsonl', '--methods', 'lora,head', '--seeds', '1', '--lrs', '1']
  const short = await run(...few, '--out', 'c', '--budget', '0.01s')
  assert.match(
    short.stderr,
    /error ERR_OPTION: --budget: 0.01 s is too short, one step of each of the 2 runs takes \d+ s/,
  )
  rmSync(join(cwd, 'c'), { recursive: true, force: true })
  const planned = await run(...few, '--out', 'c', '--budget', '10s')
  assert.is(planned.code, 0, planned.stderr)
  const [, steps] = /up to 2 runs, (\d+) steps? each/.exec(planned.stderr)!
  assert.ok(Number(steps) > 1, steps)
  const { members: all } = result('c') as unknown as { members: { outcome: { steps: number } }[] }
  for (const { outcome } of all) assert.ok(outcome.steps <= Number(steps))
})

test('what cannot be compared is told before anything is trained', async () => {
  const of = async (...args: string[]) => (await run('compare', 'sample.jsonl', ...args)).stderr
  assert.match(await of('--methods', 'lora,lorra'), /method: "lorra" is unknown \(did you mean "lora"\?\)/)
  assert.match(await of('--methods', 'lora,lora'), /--methods: lora, lora repeats a method/)
  assert.match(await of('--methods', 'head', '--r', '4'), /--r: is of lora, .* and none of these is compared/)
  assert.match(await of('--split', '0.9/0/0.1', '--out', 'd'), /there is no validation split/)
  assert.match(await of('--lr', '1e-3'), /--lr: lowrank compare has no such option; train, .*do/)
  const texts = lines.slice(0, 20).map(line => JSON.stringify({ text: (JSON.parse(line) as { text: string }).text }))
  writeFileSync(join(cwd, 'texts.jsonl'), texts.join('\n'))
  const named = await run('compare', 'texts.jsonl', '--methods', 'lora,head')
  assert.match(
    named.stderr,
    /ERR_OPTION: --methods: head is not for this base: head: .* has no head of its own to train/,
  )
  const steps = ['--max-steps', '1', '--seeds', '1', '--lrs', '1', '--batch-size', '4', '--out', 'texts']
  const all = await run('compare', 'texts.jsonl', '--methods', 'all', ...steps)
  assert.is(all.code, 0, all.stderr)
  assert.match(all.stderr, /head is left out: /)
  assert.ok(result('texts').rows.length >= 10)
  mkdirSync(join(cwd, 'mine'))
  writeFileSync(join(cwd, 'mine/notes.txt'), '')
  assert.match(await of('--out', 'mine'), /--out: mine holds notes.txt, which no study made/)
})

test.run()
