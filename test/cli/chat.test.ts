// A decoder that chats, trained and asked from the command line.
// timeout: 300

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
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
}

test('train infers the task from messages, and learns answers and nothing else', async () => {
  const options = ['--epochs', '16', '--batch-size', '8', '--lr', '0.01', '--target-modules', 'all-linear', '--json']
  const { code, stdout, stderr } = await run('train', 'chat.jsonl', '--model', model, '--out', 'run', ...options)
  assert.is(code, 0, stderr)
  const summary = records(stdout).at(-1) as { before: Scores; after: Scores }
  assert.ok(summary.before.accuracy < 0.1 && summary.after.accuracy === 1, JSON.stringify(summary))
  assert.ok(summary.after.loss < summary.before.loss)
  const report = readFileSync(join(cwd, 'run/report.html'), 'utf8')
  assert.match(report, /What is learned/)
  assert.match(report, /<mark class="right">[^<]*&lt;\|im_end\|&gt;<\/mark>/)
  const info = JSON.parse(readFileSync(join(cwd, 'run/adapter/lowrank.json'), 'utf8')) as { extra: object }
  assert.equal(info.extra, {
    ...info.extra,
    truncation_side: 'right',
    task_options: {},
    columns: { messages: 'messages' },
  })
})

test('a row that cannot be learned stops a run before it starts, and is named', async () => {
  writeJsonl(join(cwd, 'bad.jsonl'), [...capitals(3), { messages: [{ role: 'user', content: 'q' }] }])
  const { code, stderr } = await run('train', 'bad.jsonl', '--model', model, '--out', 'bad')
  assert.is(code, 1)
  assert.match(stderr, /error ERR_DATA: data: .*bad\.jsonl:4: no turn of the assistant is there to learn/)
})

test.run()
