// SQuAD as its makers publish it: one nested object.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { collectRows, openFile } from '../../lib/data/open.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { temporaryFolder } from '../support/temporary.ts'

const folder = temporaryFolder()
const context = 'Oslo is the capital of Norway.'
const answers = [{ text: 'Oslo', answer_start: 0 }]
const qas = [
  { id: 'a', question: 'What is the capital?', answers },
  { id: 'b', question: 'Why?', answers: [], plausible_answers: answers, is_impossible: true },
]
const set = {
  version: 'v2.0',
  data: [
    {
      title: 'Oslo',
      paragraphs: [
        { context, qas },
        { context: 'Empty.', qas: [] },
      ],
    },
  ],
}

for (const [layout, indent] of [
  ['one line', undefined],
  ['several lines', 1],
] as const)
  test(`a row a question, of a file of ${layout}`, async () => {
    const path = join(folder, 'train-v2.0.json')
    writeFileSync(path, JSON.stringify(set, null, indent))
    const rows = await collectRows(openFile(path).rows())
    assert.equal(
      rows.map(({ values }) => values),
      [
        { id: 'a', title: 'Oslo', context, question: 'What is the capital?', answers },
        { id: 'b', title: 'Oslo', context, question: 'Why?', answers: [] },
      ],
    )
    assert.equal(
      rows.map(({ line }) => line),
      [1, 2],
    )
    assert.is((await splitData(path, { fractions: [1, 0, 0] })).choice.task, 'question-answering')
  })

test.run()
