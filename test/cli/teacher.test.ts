// A teacher from the command line: an adapter or a model folder, told, planned with, refused where its tokens differ.
// timeout: 300

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { chatModelFolder } from '../support/chatModel.ts'
import { cliHere, records, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const model = await chatModelFolder()
const run = (...args: string[]) => cliHere(args, cwd)
const CITIES = ['Paris', 'Rome', 'Madrid', 'Oslo']
const rows = Array.from({ length: 40 }, (_, i) => ({ prompt: `What is capital ${i}?`, completion: CITIES[i % 4] }))
const data = writeJsonl(join(cwd, 'capitals.jsonl'), rows)
const OPTIONS = ['--model', model, '--batch-size', '4', '--epochs', '2', '--lr', '0.005', '--json']

test('a run learns from an adapter that train wrote, and from a model folder', async () => {
  const taught = await run('train', data, ...OPTIONS, '--out', 'teacher')
  assert.is(taught.code, 0, taught.stderr)
  for (const teacher of ['teacher', model]) {
    const { code, stdout, stderr } = await run(
      'train',
      data,
      ...OPTIONS,
      '--out',
      `by-${teacher.length}`,
      ...[...['--teacher', teacher, '--teacher-weight', '0.25']],
    )
    assert.is(code, 0, stderr)
    assert.match(stderr, /teacher: .* parameters; 0\.25 of the loss is its, at temperature 2/)
    const start = records(stdout).find(({ type }) => type === 'start') as unknown as { teacher: { weight: number } }
    assert.is(start.teacher.weight, 0.25)
  }
})

test('a plan counts its memory', async () => {
  const peak = async (...more: string[]) => {
    const { code, stdout, stderr } = await run('train', data, ...OPTIONS, '--dry-run', ...more)
    assert.is(code, 0, stderr)
    return (records(stdout).at(-1) as unknown as { peakBytes: number }).peakBytes
  }
  assert.ok((await peak('--teacher', 'teacher')) > (await peak()) + 10_000)
})

/** A model whose tokenizer has two tokens in each other's places. */
async function otherTokens(): Promise<string> {
  const folder = await chatModelFolder()
  const path = join(folder, 'tokenizer.json')
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as { model: { vocab: Record<string, number> } }
  const { vocab } = tokenizer.model
  const [first, second] = Object.keys(vocab).filter(token => vocab[token] === 300 || vocab[token] === 301)
  ;[vocab[first!], vocab[second!]] = [vocab[second!]!, vocab[first!]!]
  writeFileSync(path, JSON.stringify(tokenizer))
  return folder
}

test('other tokens and options without a teacher are refused', async () => {
  const refused: [RegExp, ...string[]][] = [
    [/--teacher-weight: 0\.5 has no effect without a teacher/, '--teacher-weight', '0.5'],
    [/ --teacher: there is no folder nowhere/, '--teacher', 'nowhere'],
    [/ --teacher: token 300 is ".*" in .*, ".*" here; name a teacher with the same/, '--teacher', await otherTokens()],
  ]
  for (const [message, ...args] of refused) {
    const { code, stderr } = await run('train', data, ...OPTIONS, '--out', 'refused', ...args)
    assert.is(code === 0, false)
    assert.match(stderr, message, stderr)
  }
})

test.run()
