// What was trained with is what is read, and an option that can't have an effect is an error.
// timeout: 300

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { cli, cliHere, records, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const rows = reviews(40).map(({ text, label }, i) => ({ title: text, text: `day ${i}`, label }))
writeJsonl(join(cwd, 'titles.jsonl'), rows)
const run = (...args: string[]) => cliHere(args, cwd)
const fast = ['--max-steps', '1', '--no-report', '--no-evaluate-before', '--quiet', '--trackers', 'none']

test('predict reads the column that was trained with, and says so where it is not there', async () => {
  const trained = await run('train', 'titles.jsonl', '--columns', 'text=title', ...fast, '--out', 'titles')
  assert.is(trained.code, 0, trained.stderr)
  const found = records((await run('predict', 'titles', '--input', 'titles.jsonl', '--json')).stdout)
  assert.is(found[0]!.text, rows[0]!.title)
  const plain = records((await run('predict', 'titles', 'a fine day', '--json')).stdout)
  assert.is(plain[0]!.text, 'a fine day')
  const unread = await run('predict', 'titles', 'a fine day', '这个产品非常好', '--json')
  const [known, unknown, summary] = records(unread.stdout)
  assert.equal([known!.unknown, unknown!.unknown, summary!.unknown], [undefined, 7, 1])
  assert.match(unread.stderr, /more than a fifth of 1 text is \[UNK\]: .*; take a model of this language/)
  writeJsonl(join(cwd, 'other.jsonl'), [{ body: 'x', text: 'y' }])
  const other = await run('predict', 'titles', '--input', 'other.jsonl')
  assert.match(
    other.stderr,
    /ERR_DATA: (?:--)?columns: the adapter was trained on "title", other.jsonl has "body", "text"/,
  )
})

test('the name of a file is no text, and - is the standard input', async () => {
  const named = await run('predict', 'titles', 'titles.jsonl')
  assert.is(named.code, 1)
  assert.match(named.stderr, /ERR_OPTION: texts: "titles.jsonl" is a file, not a text; give it with --input/)
  const absent = records((await run('predict', 'titles', 'none.jsonl', '--json')).stdout)
  assert.is(absent[0]!.text, 'none.jsonl')
  const piped = records((await cli(['predict', 'titles', '-', '--json'], { cwd, input: 'a fine day\n' })).stdout)
  assert.equal(
    piped.map(({ text }) => text),
    ['a fine day', undefined],
  )
})

test('data that are read once are refused', async () => {
  const dash = await run('inspect', 'data', '-')
  assert.match(dash.stderr, /ERR_DATA: data: the standard input is read once, data more often; write them to a file/)
  if (process.platform === 'win32') return
  execFileSync('mkfifo', [join(cwd, 'pipe.csv')])
  const pipe = await run('train', 'pipe.csv')
  assert.match(pipe.stderr, /ERR_DATA: data: pipe.csv is no file but a pipe or a device, .*; write them to a file/)
})

test('names that contradict those trained with are refused', async () => {
  const { code, stderr } = await run('predict', 'titles', 'x', '--labels', 'a,b')
  assert.is(code, 1)
  assert.match(stderr, /ERR_OPTION: (?:--)?labels: the adapter was trained on bad, good, not a, b/)
})

test('a folder without a trained head is refused', async () => {
  const dir = join(cwd, 'bare')
  mkdirSync(dir)
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(bundled.encoder, file), join(dir, file))
  const args = ['--task', 'sequence-classification', '--labels', 'a,b']
  const { code, stderr } = await run('predict', 'bare', 'x', ...args)
  assert.is(code, 1)
  assert.match(stderr, /ERR_CHECKPOINT: adapter: .*bare lacks .*, so it has no trained head/)
})

test('label smoothing where there are no classes is refused; rows are as many as asked for', async () => {
  writeJsonl(
    join(cwd, 'scores.jsonl'),
    rows.map(({ text }, i) => ({ text, score: i / 7 })),
  )
  const smoothed = await run('train', 'scores.jsonl', '--label-smoothing', '0.1', ...fast, '--out', 'scores')
  assert.match(smoothed.stderr, /ERR_OPTION: --label-smoothing: 0.1, but regression has no classes/)
  const many = Array.from({ length: 150 }, (_, i) => ({ text: `t ${i}`, label: `c${i % 30}` }))
  writeJsonl(join(cwd, 'many.jsonl'), many)
  const dry = await run('train', 'many.jsonl', '--rows', '10', '--dry-run', '--out', 'many')
  assert.match(dry.stderr, /^10 of \d+ training rows taken/m)
})

test.run()
