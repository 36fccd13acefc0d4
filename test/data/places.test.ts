// Entities as tools of annotation write them: places in a text.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspectData } from '../../lib/tasks/inspect.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { rejects } from './support.ts'

const folder = temporaryFolder()
const text = '😀 Uber, founded by Garrett Camp.'
const tokens = ['😀', 'Uber', ',', 'founded', 'by', 'Garrett', 'Camp', '.']
const tags = ['O', 'B-ORG', 'O', 'O', 'O', 'B-PER', 'I-PER', 'O']
/** In code points: the face takes one. */
const triples = [
  [19, 31, 'PER'],
  [2, 6, 'ORG'],
]

function write(name: string, value: unknown): string {
  const path = join(folder, name)
  const lines = Array.isArray(value) ? value.map(row => `${JSON.stringify(row)}\n`).join('') : JSON.stringify(value)
  writeFileSync(path, lines)
  return path
}

/** Rows of four tenths, so that every split has one. */
async function read(path: string) {
  const data = await splitData(path, { fractions: [0.8, 0.1, 0.1] })
  const rows = Object.values(data.splits).flatMap(list => [...list])
  return { ...data, values: rows.map(row => row.values) }
}

const as = (change: (triple: (number | string)[]) => unknown) => triples.map(change)
const forms: readonly (readonly [string, object])[] = [
  ['spaCy and doccano', { entities: triples }],
  ['doccano, under another name', { label: triples }],
  ['doccano with relations', { entities: as(([s, e, label]) => ({ id: 1, start_offset: s, end_offset: e, label })) }],
  [
    'Prodigy',
    { tokens: [{ text: '😀', start: 0, end: 1, id: 0 }], spans: as(([start, end, label]) => ({ start, end, label })) },
  ],
  ['pipelines', { entities: as(([start, end, entity]) => ({ start, end, entity })) }],
  ['pipelines that join words', { entities: as(([start, end, entity_group]) => ({ start, end, entity_group })) }],
  ['Label Studio', { label: as(([start, end, label]) => ({ start, end, labels: [label] })) }],
]
for (const [what, columns] of forms)
  test(`places as ${what} have them: words and tags`, async () => {
    const rows = Array.from({ length: 10 }, () => ({ text, ...columns }))
    const { values, choice, columns: found, notices } = await read(write('places.jsonl', rows))
    assert.is(choice.task, 'token-classification')
    assert.equal(found, { tokens: 'tokens', tags: 'tags' })
    assert.is(values.length, 10)
    for (const row of values) assert.equal([row.tokens, row.tags], [tokens, tags])
    assert.ok(notices.some(notice => /holds places of entities in "text", which is read word by word/.test(notice)))
    assert.not.ok(notices.some(notice => /inside a word/.test(notice)))
  })

test('an array of pairs, as spaCy has its examples', async () => {
  const path = join(folder, 'spacy.json')
  writeFileSync(path, JSON.stringify(Array.from({ length: 10 }, () => [text, { entities: triples }])))
  for (const row of (await read(path)).values) assert.equal([row.tokens, row.tags], [tokens, tags])
})

test('a text without entities is O, one without the column has no tags, and cut words are told', async () => {
  const rows = [
    { text: 'preUber won', entities: [[3, 7, 'ORG']] },
    { text: 'Nobody did', entities: [] },
  ]
  const { splits, notices } = await splitData({
    train: rows.map((values, i) => ({ values, file: '', line: i + 1 })),
    validation: [{ values: { text: 'Uber won', entities: triples.slice(0, 0) }, file: '', line: 1 }],
    test: [{ values: { text: 'Who?' }, file: '', line: 1 }],
  })
  assert.equal(
    [...splits.train].map(({ values }) => [values.tokens, values.tags]),
    [
      [
        ['pre', 'Uber', 'won'],
        ['O', 'B-ORG', 'O'],
      ],
      [
        ['Nobody', 'did'],
        ['O', 'O'],
      ],
    ],
  )
  assert.is(splits.test.length, 0, 'the split without labels is left out')
  assert.ok(notices.includes('in 1 of 4 rows entities begin or end inside a word, which is parted there for training'))
})

test('data inspected: tags of the words, and how they were found', () => {
  const found = inspectData([{ values: { text, entities: triples }, file: '', line: 1 }])
  assert.is(found.choice?.task, 'token-classification')
  assert.equal(Object.fromEntries(found.labels.map(({ label, count }) => [label, count])), {
    O: 5,
    'B-ORG': 1,
    'B-PER': 1,
    'I-PER': 1,
  })
  assert.is(found.notices?.length, 1)
})

const wrong: readonly (readonly [string, unknown, RegExp])[] = [
  [
    'overlap',
    [
      [0, 1, 'A'],
      [0, 6, 'B'],
    ],
    /:1: "entities" has A at 0 to 1 and B at 0 to 6; a word has one tag: keep one/,
  ],
  [
    'outside',
    [
      [0, 1, 'A'],
      [2, 99, 'B'],
    ],
    /:1: "entities" has an entity at 2 to 99 in a text of 32 characters/,
  ],
  [
    'empty',
    [
      [3, 3, 'A'],
      [2, 6, 'B'],
    ],
    /has an entity at 3 to 3/,
  ],
  ['another text', [{ start: 2, end: 6, label: 'A', text: 'Ubar' }], /says "Ubar" stands at 2 to 6, .* "Uber"/],
]
for (const [what, entities, says] of wrong)
  test(`places that are wrong: ${what}`, () =>
    rejects(() => splitData(write('wrong.jsonl', [{ text, entities }])), 'ERR_DATA', says))

test.run()
