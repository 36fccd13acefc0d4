// Every command as a user runs it, on a small data set and the bundled encoder.
// timeout: 600

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cli, cliHere, cliInto, records, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const control = /[^\P{Cc}\n]/u
writeJsonl(join(cwd, 'reviews.jsonl'), reviews(80))
const run = (...args: string[]) => cliHere(args, cwd)
const alone = (...args: string[]) => cli(args, { cwd })
const fast = ['--epochs', '2', '--batch-size', '8', '--lr', '0.002', '--target-modules', 'all-linear']

test('train with nothing but a file: infers, splits, trains, writes everything', async () => {
  const { code, stdout, stderr } = await alone('train', 'reviews.jsonl', ...fast)
  assert.is(code, 0, stderr)
  assert.match(stderr, /task sequence-classification: "label" holds one of 2 labels a row/)
  assert.match(stderr, /split 0.8\/0.1\/0.1 by seed 42, stratified: 64\/8\/8 rows/)
  assert.match(stderr, /newly initialised, to be trained and saved: .*classifier.weight/)
  assert.match(stderr, /Training 16\/16 \(100%\) loss \d/)
  assert.match(stdout, /metric +before +after +difference/)
  assert.match(stdout, /McNemar's test/)
  assert.match(stdout, /trained +[\d,]+ of [\d,]+ parameters/)
  assert.not.match(stdout + stderr, control)
  const out = join(cwd, 'lowrank-reviews')
  const files = readdirSync(out).sort()
  for (const name of ['adapter', 'checkpoints', 'log.jsonl', 'metrics.json', 'predictions.jsonl', 'report.html'])
    assert.ok(files.includes(name), name)
  const adapter = readdirSync(join(out, 'adapter')).sort()
  assert.equal(adapter, [
    'README.md',
    'adapter_config.json',
    'adapter_model.safetensors',
    'lowrank.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
  assert.is(records(readFileSync(join(out, 'predictions.jsonl'), 'utf8')).length, 8)
  assert.match(readFileSync(join(out, 'report.html'), 'utf8'), /LoRA on reviews.jsonl/)
})

test('a second run does not overwrite the first', async () => {
  const { code, stderr } = await run('train', 'reviews.jsonl', ...fast)
  assert.is(code, 1)
  assert.match(stderr, /error ERR_OPTION: out: .*holds a run already \(adapter\); continue it with --resume/)
})

test('--json: every line is an object, the last is the summary; --quiet leaves only warnings', async () => {
  const { code, stdout, stderr } = await run('train', 'reviews.jsonl', ...fast, '--overwrite', '--json', '--quiet')
  assert.is(code, 0, stderr)
  const lines = records(stdout)
  assert.is(lines[0]!.type, 'start')
  assert.ok(lines.some(line => line.type === 'step' && typeof line.loss === 'number'))
  assert.ok(lines.some(line => line.type === 'evaluation' && line.when === 'before'))
  const last = lines.at(-1) as { type: string; before: { accuracy: number }; after: { accuracy: number } }
  assert.is(last.type, 'summary')
  assert.type(last.before.accuracy, 'number')
  assert.type(last.after.accuracy, 'number')
  for (const line of stderr.trimEnd().split('\n')) assert.match(line, /^warning: /)
})

test('the dry run knows the peak of the tensor pool to the byte', async () => {
  const args = ['train', 'reviews.jsonl', ...fast, '--json', '--quiet']
  const plan = records((await alone(...args, '--dry-run')).stdout).at(-1) as { peakBytes: number; totalSteps: number }
  const trained = records((await alone(...args, '--out', 'dry')).stdout).at(-1) as { peakBytes: number; steps: number }
  assert.is(plan.peakBytes, trained.peakBytes)
  assert.is(plan.totalSteps, trained.steps)
  const { stdout } = await run('train', 'reviews.jsonl', '--dry-run')
  assert.match(stdout, /attention\.self\.query +2 +r 8, scale 2\n/)
  assert.match(stdout, /good|bad {2}\[CLS\]/)
})

test('evaluate measures, and compares with the base', async () => {
  const { code, stdout, stderr } = await run('evaluate', 'lowrank-reviews', 'reviews.jsonl', '--baseline')
  assert.is(code, 0, stderr)
  assert.match(stdout, /accuracy +\d\.\d{4} +\d\.\d{4} +[+-]/)
  assert.match(stdout, /class +precision/)
  const written = await run(
    'evaluate',
    'lowrank-reviews/adapter',
    'reviews.jsonl',
    '--json',
    '--predictions',
    'p.jsonl',
  )
  const [summary] = records(written.stdout) as [{ metrics: { accuracy: number }; examples: number }]
  assert.is(summary.examples, 80)
  const over = await run('evaluate', 'lowrank-reviews', 'reviews.jsonl', '--predictions', './reviews.jsonl')
  assert.match(over.stderr, /ERR_OPTION: --predictions: .*reviews.jsonl holds data that are read/)
  const rows = records(readFileSync(join(cwd, 'p.jsonl'), 'utf8'))
  const right = rows.filter(row => row.label === row.gold).length
  assert.ok(Math.abs(right / 80 - summary.metrics.accuracy) < 1e-12)
})

test('predict reads arguments, files and the standard input', async () => {
  const texts = ['the film was great', 'the meal was terrible']
  const byArgument = records((await run('predict', 'lowrank-reviews', ...texts, '--json')).stdout)
  assert.is(byArgument.length, 3)
  assert.is(byArgument[0]!.text, texts[0])
  writeFileSync(join(cwd, 'texts.txt'), `${texts.join('\n')}\n`)
  writeFileSync(join(cwd, 'texts.csv'), `id,text\n1,${texts[0]}\n2,${texts[1]}\n`)
  const byFile = records((await run('predict', 'lowrank-reviews', '--input', 'texts.txt', '--json')).stdout)
  const byTable = records((await run('predict', 'lowrank-reviews', '--input', 'texts.csv', '--json')).stdout)
  const piped = await cli(['predict', 'lowrank-reviews', '--json'], { cwd, input: texts.join('\n') })
  const byPipe = records(piped.stdout)
  for (const other of [byFile, byTable, byPipe]) assert.equal(other.slice(0, 2), byArgument.slice(0, 2))
  const pretty = await run('predict', 'lowrank-reviews', ...texts, '--top', '2')
  assert.match(pretty.stdout, /^(good|bad) +\d+\.\d % {2}the film was great {2}\((good|bad) /)
  assert.not.match(pretty.stdout, control)
  const refused = await run('predict', 'lowrank-reviews', ...texts, '--columns', 'text=body')
  assert.match(refused.stderr, /ERR_OPTION: --columns: has no effect on texts that are given/)
  const table = await cli(['predict', 'lowrank-reviews', '--format', 'jsonl'], { cwd, input: '{"text":"a"}' })
  assert.match(table.stderr, /ERR_OPTION: --format: has no effect on the standard input, which is one text a line/)
  writeFileSync(join(cwd, 'of-data.yaml'), 'columns:\n  text: body\nformat: csv\nencoding: cp1252\n')
  const empty = await run('predict', 'lowrank-reviews', 'fine', ' ', '--config', 'of-data.yaml')
  assert.is(empty.code, 0)
  assert.match(empty.stderr, /1 text without a word: what is predicted there says nothing/)
  const wrong = await cli(['predict', 'lowrank-reviews'], { cwd, input: Buffer.from([0x61, 0xf6, 0x0a]) })
  assert.match(
    wrong.stderr,
    /ERR_DATA: data: standard input:1: invalid UTF-8 \(0xf6\) at byte 1; give --encoding cp1252/,
  )
  const named = ['predict', 'lowrank-reviews', '--json', '--encoding', 'cp1252']
  assert.is(records((await cli(named, { cwd, input: Buffer.from([0x61, 0xf6]) })).stdout)[0]!.text, 'aö')
  const none = await alone('predict', 'lowrank-reviews')
  assert.is(none.code, 1)
  assert.match(none.stderr, /error ERR_DATA: predict: there is no text/)
})

test('merge writes a model folder that says the same', async () => {
  const { code, stdout, stderr } = await run('merge', 'lowrank-reviews', '--out', 'merged')
  assert.is(code, 0, stderr)
  assert.match(stdout, /merged into/)
  assert.ok(existsSync(join(cwd, 'merged', 'tokenizer.json')))
  const of = async (adapter: string) => {
    const [record] = records((await run('predict', adapter, 'the film was great', '--json')).stdout)
    return record as { label: string; probability: number }
  }
  const [apart, merged] = [await of('lowrank-reviews'), await of('merged')]
  assert.is(merged.label, apart.label)
  assert.ok(Math.abs(merged.probability - apart.probability) < 0.02, 'the base is saved as bf16')
  const again = await run('merge', 'lowrank-reviews', '--out', 'merged')
  assert.match(again.stderr, /error ERR_OPTION: --out: merged is not empty/)
})

test('full fine-tuning writes a model, and --init-from goes on from adapter or model', async () => {
  const full = ['--method', 'full', '--epochs', '1', '--batch-size', '16', '--lr', '0.0005', '--out', 'full']
  const trained = await run('train', 'reviews.jsonl', ...full)
  assert.is(trained.code, 0, trained.stderr)
  assert.ok(existsSync(join(cwd, 'full', 'model', 'model.safetensors')))
  assert.is((await run('evaluate', 'full', 'reviews.jsonl')).code, 0)
  for (const [from, out] of [
    ['lowrank-reviews', 'on1'],
    ['full', 'on2'],
  ] as const) {
    const next = await run('train', 'reviews.jsonl', '--init-from', from, '--epochs', '1', '--out', out)
    assert.is(next.code, 0, next.stderr)
    assert.not.match(next.stderr, /newly initialised/)
  }
  const clash = await run('train', 'reviews.jsonl', '--init-from', 'full', '--r', '4', '--out', 'on3')
  assert.match(clash.stderr, /--r: the adapter of --init-from keeps its own settings/)
  const useless = await run('train', 'reviews.jsonl', '--method', 'full', '--r', '4', '--out', 'on4')
  assert.match(useless.stderr, /--r: method full has no such option; lora, .* do/)
})

test('Ctrl-C stops after the step with a checkpoint; resumed, the adapter is that of an uninterrupted run', async () => {
  const args = ['train', 'reviews.jsonl', ...fast, '--checkpoint-every', '1', '--epochs', '4']
  let sent = false
  const watch = (stderr: string, kill: (signal: NodeJS.Signals) => void) => {
    if (!sent && /Training \d/.test(stderr)) kill('SIGINT')
    sent ||= /Training \d/.test(stderr)
  }
  const stopped = await cli([...args, '--out', 'stopped'], { cwd, watch })
  assert.is(stopped.code, 130, stopped.stderr)
  assert.match(stopped.stderr, /stopped after step \d+; continue with: npx lowrank train reviews.jsonl .*--resume/)
  assert.not.ok(existsSync(join(cwd, 'stopped', 'adapter')))
  const resumed = await run(...args, '--out', 'stopped', '--resume')
  assert.is(resumed.code, 0, resumed.stderr)
  assert.match(resumed.stderr, /continuing after step \d+/)
  await run(...args, '--out', 'whole')
  const bytes = (out: string) => readFileSync(join(cwd, out, 'adapter', 'adapter_model.safetensors'))
  assert.ok(bytes('stopped').equals(bytes('whole')))
})

test('inspect shows models, data and batches', async () => {
  const data = await run('inspect', 'data', 'reviews.jsonl')
  assert.match(data.stdout, /reviews.jsonl: 80 rows, 0 repeated texts/)
  assert.match(data.stdout, /good +40 +50.0 %/)
  assert.match(data.stdout, /0 rows \(0.0 %\) would be cut at 256 \(--max-length\)/)
  const cut = records((await run('inspect', 'data', 'reviews.jsonl', '--max-length', '8', '--json')).stdout)
  const [file] = (cut[0] as { files: { truncated: number; rows: number }[] }).files
  assert.is(file!.truncated, 80)
  const batch = await run('inspect', 'batch', 'reviews.jsonl', '--batch-size', '3')
  assert.match(batch.stdout, /step 1: 3 sequences, \d+ tokens, loss divided by 3/)
  const model = await run('inspect', 'model', join('full', 'model'), '--json')
  const found = records(model.stdout)[0] as { task: string; labels: string[]; newTensors: string[] }
  assert.equal([found.task, found.labels, found.newTensors], ['sequence-classification', ['bad', 'good'], []])
})

test('doctor tells what is there and tests it', async () => {
  const { code, stdout } = await alone('doctor')
  assert.is(code, 0)
  assert.match(stdout, /self-test +lora_linear +ok/)
  const found = records((await alone('doctor', '--json', '--threads', '1')).stdout)[0] as {
    ok: boolean
    cpu: { threads: number }
    addon: { path: string }
    selfTest: unknown[]
  }
  assert.is(found.ok, true)
  assert.is(found.cpu.threads, 1)
  assert.ok(existsSync(found.addon.path))
  assert.ok(found.selfTest.length >= 5)
})

test('tags, several labels, values and masked words are learned from the look of the data', async () => {
  const words = ['Anna lives in Paris', 'Tom met Eva in Rome', 'it rained in Oslo'].map(text => text.split(' '))
  const tag = (word: string) => (/^(Paris|Rome|Oslo)$/.test(word) ? 'B-LOC' : /^[A-Z]/.test(word) ? 'B-PER' : 'O')
  const tokens = Array.from({ length: 30 }, (_, i) => words[i % 3]!)
  const sets: Record<string, [rows: object[], text: string, key: string]> = {
    tags: [tokens.map(list => ({ tokens: list, tags: list.map(tag) })), 'Anna went to Paris.', 'entities'],
    lists: [reviews(30).map(({ text }, i) => ({ text, labels: i % 3 ? ['a'] : ['a', 'b'] })), 'the film', 'labels'],
    scores: [reviews(30).map(({ text }, i) => ({ text, score: (i % 4) + 0.5 })), 'the film', 'value'],
    texts: [reviews(30).map(({ text }) => ({ text })), 'the [MASK] was good', 'tokens'],
  }
  for (const [name, [rows, text, key]] of Object.entries(sets)) {
    writeJsonl(join(cwd, `${name}.jsonl`), rows)
    const trained = await run('train', `${name}.jsonl`, '--epochs', '1', '--out', `of-${name}`)
    assert.is(trained.code, 0, trained.stderr)
    const measured = await run('evaluate', `of-${name}`, `${name}.jsonl`, '--baseline')
    assert.is(measured.code, 0, measured.stderr)
    const [found] = records((await run('predict', `of-${name}`, text, '--json')).stdout)
    assert.ok(key in found!, `${name}: ${JSON.stringify(found)}`)
    assert.is((await run('predict', `of-${name}`, text)).code, 0)
  }
})

test('a reader that leaves early ends nothing and is no error', async () => {
  const early = await cli(['inspect', 'data', 'reviews.jsonl'], { cwd, closeAfter: 10 })
  assert.is(early.code, 0)
  assert.not.match(early.stderr, /EPIPE/)
})

test('output that cannot be written is an error in one line', () => {
  if (!existsSync('/dev/full')) return console.log('skip: no /dev/full')
  for (const args of [['--help'], ['inspect', 'data', 'reviews.jsonl']]) {
    const { code, stderr } = cliInto('/dev/full', args, cwd)
    assert.is(code, 1)
    assert.match(stderr, /^error ERR_CHECKPOINT: output: the standard output cannot be written \(ENOSPC\): .*\n$/)
  }
})

test('explicit splits, and a YAML file', async () => {
  mkdirSync(join(cwd, 'parts'), { recursive: true })
  writeJsonl(join(cwd, 'parts/a.jsonl'), reviews(40))
  writeJsonl(join(cwd, 'parts/b.jsonl'), reviews(60).slice(40))
  writeFileSync(
    join(cwd, 'o.yaml'),
    'train: parts/a.jsonl\ntest: parts/b.jsonl\nvalidation: parts/b.jsonl\nepochs: 1\n',
  )
  const { code, stderr, stdout } = await run('train', '--config', 'o.yaml', '--out', 'parts-out', '--trackers', 'none')
  assert.is(code, 0, stderr)
  assert.match(stdout, /on 20 test examples/)
  assert.match(stderr, /20 texts stand in more than one split/)
  assert.not.ok(existsSync(join(cwd, 'parts-out', 'log.jsonl')))
})

test.run()
