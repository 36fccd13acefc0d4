// A decoder that chats, trained and asked from the command line.
// timeout: 300

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { open } from '../../lib/open/open.ts'
import { capitals, chatModelFolder } from '../support/chatModel.ts'
import { cli, records, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const model = await chatModelFolder()
writeJsonl(join(cwd, 'chat.jsonl'), capitals(40))
const run = (...args: string[]) => cli(args, { cwd })

test('inspect batch shows the tokens that are learned', async () => {
  const { code, stdout, stderr } = await run('inspect', 'batch', 'chat.jsonl', '--model', model, '--batch-size', '4')
  assert.is(code, 0, stderr)
  assert.match(stderr, /task causal-lm: "messages" holds conversations/)
  const lines = stdout.split('\n').filter(line => line.includes('⟦'))
  assert.is(lines.length, 4)
  for (const line of lines) assert.match(line, /<\|im_start\|> [^⟦⟧<]+ Ċ ⟦[^⟦⟧]+ <\|im_end\|>⟧ Ċ$/)
})

interface Scores {
  readonly loss: number
  readonly accuracy: number
  readonly exactMatch: number
  readonly rougeL: number
}

interface Summary {
  readonly before: Scores
  readonly after: Scores
  readonly comparison: { metrics: { metric: string; interval: { low: number; high: number } }[] }
}

test('train infers the task from messages, and learns answers and nothing else', async () => {
  const options = ['--epochs', '16', '--batch-size', '8', '--lr', '0.01', '--target-modules', 'all-linear', '--json']
  options.push('--generate-rows', '3', '--max-new-tokens', '12')
  const { code, stdout, stderr } = await run('train', 'chat.jsonl', '--model', model, '--out', 'run', ...options)
  assert.is(code, 0, stderr)
  const summary = records(stdout).at(-1) as unknown as Summary
  assert.ok(summary.before.accuracy < 0.1 && summary.after.accuracy === 1, JSON.stringify(summary))
  assert.ok(summary.after.loss < summary.before.loss)
  assert.is(summary.before.exactMatch, 0)
  assert.is(summary.after.exactMatch, 1)
  assert.is(summary.after.rougeL, 1)
  const exact = summary.comparison.metrics.find(({ metric }) => metric === 'exactMatch')!
  assert.equal([exact.interval.low, exact.interval.high], [1, 1])
  const predictions = records(readFileSync(join(cwd, 'run/predictions.jsonl'), 'utf8'))
  assert.equal(
    predictions.map(({ generated, wanted }) => generated === wanted && wanted !== undefined),
    [true, true, true, false],
  )
  const report = readFileSync(join(cwd, 'run/report.html'), 'utf8')
  assert.match(report, /What is learned/)
  assert.match(report, /Exact match/)
  assert.match(report, /<mark class="right">[^<]*&lt;\|im_end\|&gt;<\/mark>/)
  const info = JSON.parse(readFileSync(join(cwd, 'run/adapter/lowrank.json'), 'utf8')) as { extra: object }
  assert.equal(info.extra, {
    ...info.extra,
    truncation_side: 'right',
    task_options: {},
    columns: { messages: 'messages' },
  })
})

test('what was learned is said: generate, predict and chat', async () => {
  const said = await run('generate', 'run', 'What is the capital of Norway?', '--max-new-tokens', '12')
  assert.is(said.code, 0, said.stderr)
  assert.is(said.stdout, 'Oslo\n')
  const two = ['What is the capital of Italy?', 'What is the capital of Spain?']
  const both = records((await run('generate', 'run', ...two, '--json', '--max-new-tokens', '12')).stdout)
  assert.equal(
    both.filter(({ type }) => type === 'generation').map(({ text }) => text),
    ['Rome', 'Madrid'],
  )
  const input = `${two[0]}\n/reset\n\n${two[1]}\n/exit\nnever read\n`
  const talk = await cli(['chat', 'run', '--max-new-tokens', '12'], { cwd, input })
  assert.is(talk.code, 0, talk.stderr)
  assert.is(talk.stdout, 'Rome\nMadrid\n')
  const told = await run('predict', 'run', two[1]!, '--json', '--max-new-tokens', '12')
  assert.is(told.code, 0, told.stderr)
  const [record] = records(told.stdout)
  assert.is(record!.text, two[1])
  assert.is(record!.generated, 'Madrid')
  const rows = await run('predict', 'run', '--input', 'chat.jsonl', '--json', '--max-new-tokens', '12')
  assert.equal(
    records(rows.stdout)
      .slice(0, 4)
      .map(({ generated }) => generated),
    ['Paris', 'Rome', 'Madrid', 'Oslo'],
  )
})

test('an opened model answers, many at a time', async () => {
  const before = native.live()
  const opened = await open(join(cwd, 'run'))
  const ask = (country: string) => opened.generate(`What is the capital of ${country}?`, { maxNewTokens: 12 })
  const answers = await Promise.all(['France', 'Spain', 'Norway', 'Italy', 'France'].map(ask))
  assert.equal(
    answers.map(({ text }) => text),
    ['Paris', 'Madrid', 'Oslo', 'Rome', 'Paris'],
  )
  const messages = [...capitals(2)[1]!.messages, capitals(1)[0]!.messages[0]!]
  let said = ''
  for await (const piece of opened.stream(messages, { maxNewTokens: 12 })) said += piece.text
  assert.ok(said.length > 0)
  const stream = opened.stream('What is the capital of Italy?', { maxNewTokens: 12 })
  await stream.next()
  const swapped = opened.swap(join(cwd, 'run'))
  let rest = ''
  for await (const piece of stream) rest += piece.text
  assert.ok(rest.length > 0)
  await swapped
  assert.is((await ask('Norway')).text, 'Oslo')
  opened.dispose()
  assert.is(native.live(), before)
})

test('a row that asks nothing is named', async () => {
  writeJsonl(join(cwd, 'alone.jsonl'), [...capitals(1), { messages: [{ role: 'assistant', content: 'Paris' }] }])
  const { code, stderr } = await run('predict', 'run', '--input', 'alone.jsonl')
  assert.is(code, 1)
  assert.match(stderr, /error ERR_DATA: predict: .*alone\.jsonl:2 holds the assistant's answer alone/)
})

test('a row that cannot be learned stops a run before it starts, and is named', async () => {
  writeJsonl(join(cwd, 'bad.jsonl'), [...capitals(3), { messages: [{ role: 'user', content: 'q' }] }])
  const { code, stderr } = await run('train', 'bad.jsonl', '--model', model, '--out', 'bad')
  assert.is(code, 1)
  assert.match(stderr, /error ERR_DATA: data: .*bad\.jsonl:4: no turn of the assistant is there to learn/)
})

test.run()
