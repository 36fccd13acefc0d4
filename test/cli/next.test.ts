// What a run shows at its end can be done as it stands: the command after "next:", and the program of the model card.
// timeout: 120

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { open } from '../../lib/open/open.ts'
import { cliHere, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const fast = ['--max-steps', '1', '--no-report', '--no-evaluate-before', '--trackers', 'none', '--max-length', '24']

const answers = { text: ['anna'], answer_start: [0] }
const question = (_: unknown, i: number) => ({ question: 'who ?', context: `anna ${i} saw it`, answers })
const RUNS: Record<string, { rows: readonly object[]; asked: readonly string[]; input: unknown }> = {
  one: { rows: reviews(20), asked: ['a text'], input: 'a text' },
  pair: {
    rows: reviews(20).map((row, i) => ({ ...row, text2: `day ${i}` })),
    asked: ['a text', 'another text'],
    input: { text: 'a text', text2: 'another text' },
  },
  'a [qu]*stion*': {
    rows: Array.from({ length: 20 }, question),
    asked: ['a question', 'a text'],
    input: { question: 'a question', context: 'a text' },
  },
  masked: {
    rows: reviews(20).map(({ text }) => ({ text })),
    asked: ['a text with a [MASK]'],
    input: 'a text with a [MASK]',
  },
}

for (const [name, { rows, asked, input }] of Object.entries(RUNS))
  test(`${name}: the line after "next:" and the card's call answer`, async () => {
    const data = writeJsonl(join(cwd, `${name}.jsonl`), rows)
    const run = await cliHere(['train', data, ...fast, '--out', 'run', '--overwrite'], cwd)
    assert.is(run.code, 0, run.stderr)
    const words = asked.map(text => `'${text}'`).join(' ')
    assert.match(run.stdout, `next: npx lowrank predict run ${words}\n`)
    const told = await cliHere(['predict', 'run', ...asked], cwd)
    assert.is(told.code, 0, told.stderr)
    const card = readFileSync(join(cwd, 'run/adapter/README.md'), 'utf8')
    const [, call = ''] = /await model\.predict\((.*)\)\)/.exec(card) ?? []
    // A literal of strings, as the card's reader would run it.
    assert.equal(new Function(`return ${call}`)(), input)
    assert.match(card, `tokenizer(${asked.map(text => `"${text}"`).join(', ')}, return_tensors="pt")`)
    if (name.includes('[')) assert.match(card, ' on a \\[qu\\]\\*stion\\*.jsonl\n')
    const model = await open(join(cwd, 'run'))
    assert.ok(await model.predict(input as string))
    model.dispose()
  })

test.run()
