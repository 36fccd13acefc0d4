// Question answering from the command line and from code: trained, measured, asked.
// timeout: 300

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { open } from '../../lib/open/open.ts'
import { cliHere, records, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const run = (...args: string[]) => cliHere(args, cwd)
const NAMES = ['anna', 'john', 'mary', 'peter', 'paul', 'lucy']
const PLACES = ['london', 'paris', 'rome', 'berlin', 'madrid', 'vienna', 'oslo']

/** Who is where, three to a text; every sixth asks for somebody who is not there. */
const rows = Array.from({ length: 90 }, (_, i) => {
  const who = [0, 1, 2].map(k => NAMES[(i + k) % NAMES.length]!)
  const where = [0, 1, 2].map(k => PLACES[(3 * i + 2 * k) % PLACES.length]!)
  const context = who.map((name, k) => `${name} is in ${where[k]} .`).join(' ')
  const k = i % 6
  const [text, asked] =
    k < 3 ? [where[k]!, who[k]!] : k < 5 ? [where[k - 3]!, who[k - 3]!] : [undefined, NAMES[(i + 4) % 6]!]
  const answers = {
    text: text ? [text] : [],
    answer_start: text ? [context.indexOf(`${asked} is in ${text}`) + asked.length + 7] : [],
  }
  return { question: `where is ${asked} ?`, context, answers }
})
writeJsonl(join(cwd, 'places.jsonl'), rows)

test('train finds the task by its columns; the report shows what is wrong', async () => {
  const options = ['--epochs', '2', '--batch-size', '8', '--max-length', '24', '--dropout', '0', '--json']
  const { code, stdout, stderr } = await run('train', 'places.jsonl', '--out', 'run', '--doc-stride', '4', ...options)
  assert.is(code, 0, stderr)
  assert.match(stderr, /task question-answering: "answers" are answers to "question" in "context"/)
  const summary = records(stdout).at(-1) as { after: { f1: number; exactMatch: number; loss: number } }
  assert.ok(summary.after.f1 >= summary.after.exactMatch, JSON.stringify(summary))
  const info = JSON.parse(readFileSync(join(cwd, 'run/adapter/lowrank.json'), 'utf8')) as { extra: object }
  assert.equal((info.extra as { task_options: object }).task_options, { unanswerable: true, docStride: 4 })
  const config = JSON.parse(readFileSync(join(cwd, 'run/adapter/adapter_config.json'), 'utf8')) as object
  assert.equal((config as { task_type: string }).task_type, 'QUESTION_ANS')
  const report = readFileSync(join(cwd, 'run/report.html'), 'utf8')
  assert.match(report, /Exact match/)
  assert.match(report, /<mark class="missed">/)
})

test('evaluate measures it and writes an answer a row', async () => {
  const { code, stdout, stderr } = await run(
    'evaluate',
    'run/adapter',
    'places.jsonl',
    '--json',
    '--predictions',
    'p.jsonl',
  )
  assert.is(code, 0, stderr)
  const { examples, metrics } = records(stdout).at(-1) as { examples: number; metrics: Record<string, number> }
  assert.is(examples, rows.length)
  assert.ok('noAnswerF1' in metrics)
  const written = records(readFileSync(join(cwd, 'p.jsonl'), 'utf8')) as { text: string; answer: string }[]
  assert.equal(
    written.map(({ text }) => text),
    rows.map(({ question }) => question),
  )
})

test('predict and open answer with a stretch of the text and its place', async () => {
  const asked = rows.slice(0, 3).map(({ question, context }) => ({ question, context }))
  writeJsonl(join(cwd, 'asked.jsonl'), asked)
  const { code, stdout, stderr } = await run('predict', 'run/adapter', '--input', 'asked.jsonl', '--json')
  assert.is(code, 0, stderr)
  const found = records(stdout).slice(0, -1) as { answer: string; start?: number; end?: number }[]
  assert.is(found.length, 3)
  using model = await open(join(cwd, 'run/adapter'))
  const answers = await model.predict(asked)
  found.forEach(({ answer, start, end }, i) => {
    assert.is(asked[i]!.context.slice(start ?? 0, end ?? 0), answer)
    assert.is(answers[i]!.answer, answer)
  })
  const pair = { text: asked[0]!.question, text2: asked[0]!.context }
  assert.is((await model.predict(pair)).answer, found[0]!.answer)
})

test.run()
