// combine, convert and diff as a user runs them.
// timeout: 300

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cliHere, records, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
writeJsonl(join(cwd, 'reviews.jsonl'), reviews(60))
const run = (...args: string[]) => cliHere(args, cwd)
const fast = ['--max-steps', '6', '--batch-size', '8', '--lr', '0.005', '--trackers', 'none', '--no-report', '--quiet']
const config = (folder: string) => JSON.parse(readFileSync(join(cwd, folder, 'adapter_config.json'), 'utf8'))
const probability = async (folder: string) => {
  const { stdout, stderr } = await run('predict', folder, 'the film was great', '--json')
  const [record] = records(stdout || stderr) as [{ label: string; probability: number }]
  return record.label === 'good' ? record.probability : 1 - record.probability
}

test('two adapters are trained', async () => {
  const plain = await run('train', 'reviews.jsonl', ...fast, '--out', 'a')
  assert.is(plain.code, 0, plain.stderr)
  const dora = await run('train', 'reviews.jsonl', ...fast, '--method', 'dora', '--seed', '7', '--out', 'b')
  assert.is(dora.code, 0, dora.stderr)
})

test('convert: a DoRA adapter as plain LoRA says nearly the same, and how nearly', async () => {
  const { code, stdout, stderr } = await run('convert', 'b', '--out', 'plain', '--rank', '24')
  assert.is(code, 0, stderr)
  assert.match(stdout, /plain: dora as LoRA of rank 24 on \d+ layers\nerror .*mean [\d.e-]+ %, largest [\d.e-]+ % \(/)
  assert.equal([config('plain').r, config('plain').use_dora], [24, false])
  const [before, after] = [await probability('b'), await probability('plain')]
  assert.ok(Math.abs(before - after) < 0.05, `${before} and ${after}`)
  const taken = await run('convert', 'b', '--out', 'plain')
  assert.match(taken.stderr, /^error ERR_OPTION: --out: plain is not empty/)
  const itself = await run('convert', 'b', '--out', 'b/adapter', '--overwrite')
  assert.match(itself.stderr, /^error ERR_OPTION: --out: b\/adapter is the adapter itself/)
})

test("convert --layout adapterhub writes AdapterHub's files of bottleneck adapters, and of no others", async () => {
  const trained = await run(
    'train',
    'reviews.jsonl',
    ...fast,
    '--method',
    'adapter',
    '--form',
    'parallel',
    '--out',
    'c',
  )
  assert.is(trained.code, 0, trained.stderr)
  const { code, stdout, stderr } = await run('convert', 'c', '--out', 'hub', '--layout', 'adapterhub')
  assert.is(code, 0, stderr)
  assert.match(stdout, /hub: adapter in AdapterHub's files/)
  assert.is(config('hub').config.is_parallel, true)
  const again = await run('convert', 'c', '--out', 'hub', '--layout', 'adapterhub', '--overwrite')
  assert.is(again.code, 0, again.stderr)
  const other = await run('convert', 'a', '--out', 'none', '--layout', 'adapterhub')
  assert.match(other.stderr, /bottleneck adapters alone are written so/)
})

test('a budget of ranks: trackers follow ranks and singular values by layer, and the report shows what is left', async () => {
  const steps = ['--max-steps', '6', '--batch-size', '8', '--eval-every', '3', '--tfinal', '1']
  const { code, stderr } = await run('train', 'reviews.jsonl', '--method', 'adalora', ...steps, '--quiet', '--out', 'd')
  assert.is(code, 0, stderr)
  const log = readFileSync(join(cwd, 'd', 'log.jsonl'), 'utf8')
  const lines = log
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const ranks = lines.flatMap(line => Object.entries(line).filter(([key]) => key.startsWith('ranks/')))
  const sigmas = lines.filter(({ event, name }) => event === 'histogram' && /^sigma\/.*query$/.test(name))
  assert.ok(sigmas.length >= 2 && sigmas.every(({ count }) => count === 12), `${sigmas.length}`)
  assert.ok(
    ranks.some(([, rank]) => Number(rank) < 12),
    'the budget cuts',
  )
  assert.match(readFileSync(join(cwd, 'd', 'report.html'), 'utf8'), /<h2>Ranks<\/h2>[\s\S]*ranks in use/)
})

test('combine: weights, rank, head; with all the weight on one adapter it is that one', async () => {
  const none = await run('combine', 'a', 'plain', '--out', 'both')
  assert.match(none.stderr, /adapter1, adapter2 each have a head of their own/)
  const shared = ['--out', 'both', '--head-from', 'a', '--overwrite']
  const { code, stdout, stderr } = await run('combine', 'a', 'plain', ...shared, '--weights', '1,0', '--json')
  assert.is(code, 0, stderr)
  const [summary] = records(stdout) as [{ kind: string; rank: number; weights: number[] }]
  assert.equal([summary.kind, summary.rank, summary.weights], ['cat', 32, [1, 0]])
  const [before, after] = [await probability('a'), await probability('both')]
  assert.ok(Math.abs(before - after) < 1e-4, `${before} and ${after}`)
  const low = await run('combine', 'a', 'plain', ...shared, '--combination', 'svd', '--rank', '4')
  assert.match(low.stdout, /svd of 2 adapters, LoRA of rank 4 on \d+ layers\nerror /)
  assert.is(config('both').r, 4)
  const wrong = await run('combine', 'a', 'plain', ...shared, '--weights', '1')
  assert.match(wrong.stderr, /^error ERR_OPTION: --weights: 1 numbers for 2 adapters/)
  const rank = await run('combine', 'a', 'plain', ...shared, '--rank', '4')
  assert.match(rank.stderr, /^error ERR_OPTION: (?:--)?rank: cat has the rank that follows/)
})

test('diff: distances by layer, none to itself', async () => {
  const { code, stdout, stderr } = await run('diff', 'a', 'b')
  assert.is(code, 0, stderr)
  assert.match(stdout, /attention\.self\.query +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+\n/)
  const [summary] = records((await run('diff', 'a', 'a', '--json')).stdout) as [{ all: Record<string, number> }]
  assert.ok(summary.all.first! > 0 && summary.all.difference! < 1e-5 * summary.all.first!)
  const one = await run('diff', 'a')
  assert.match(one.stderr, /^error ERR_OPTION: diff: compares two adapters, 1 is given/)
})

test('report: two runs as one page, and what it cannot lay over each other', async () => {
  const { code, stdout, stderr } = await run('report', 'a', 'b', '--out', 'both.html')
  assert.is(code, 0, stderr)
  assert.match(stdout, /accuracy +\d.*\d/)
  const page = readFileSync(join(cwd, 'both.html'), 'utf8')
  // Another seed, another split: the page says so.
  assert.match(page, /a and b were scored on other examples/)
  assert.match(page, /<th>method<\/th><td class="num">lora<\/td><td class="num">dora<\/td>/)
  assert.is((await run('report', 'a', 'b', '--out', 'both.html')).code, 0, 'a page is replaced')
  const mine = join('a', 'metrics.json')
  const kept = readFileSync(join(cwd, mine), 'utf8')
  const other = await run('report', 'a', 'b', '--out', mine)
  assert.match(other.stderr, /ERR_OPTION: --out: a.metrics.json is there already, and is no report/)
  assert.is(readFileSync(join(cwd, mine), 'utf8'), kept)
  const one = await run('report', 'a')
  assert.is(one.code, 1, one.stderr)
  assert.match(one.stderr, /2 to 5 runs .*the page of one run is a\/report\.html/)
})

test.run()
