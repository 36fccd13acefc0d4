// Files as other tools write them that are no rows of texts: what the error says to do.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toRows } from '../../lib/data/row.ts'
import { inspectData } from '../../lib/tasks/inspect.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { rejects } from './support.ts'

const folder = temporaryFolder()
const write = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const rows = [
  { text: 'a', label: 'x' },
  { text: 'b', label: 'y' },
]

const files: readonly (readonly [what: string, name: string, text: string, says: RegExp])[] = [
  [
    'rows of the hub viewer',
    'rows.json',
    JSON.stringify({ features: [], rows: rows.map(row => ({ row })), partial: false }),
    /one object, whose "rows" holds 2 rows; write these alone/,
  ],
  ['rows in an object', 'data.json', JSON.stringify({ data: rows }), /whose "data" holds 2 rows/],
  [
    'splits in an object',
    'splits.json',
    JSON.stringify({ train: rows, test: rows }),
    /whose "train", "test" holds 2 rows; write these alone, a file a split/,
  ],
  [
    'columns of lists',
    'columns.json',
    JSON.stringify({ text: ['a', 'b'], label: ['x', 'y'] }),
    /column "text" is array, not text; write an object a row/,
  ],
  [
    'columns by index',
    'index.json',
    JSON.stringify({ text: { 0: 'a' }, label: { 0: 'x' } }),
    /"label" is object, not a label; write an object a row/,
  ],
  [
    'objects over several lines',
    'pretty.json',
    rows.map(row => JSON.stringify(row, null, 2)).join('\n'),
    /not JSON: .*; write one object a line, or one array of objects/,
  ],
  [
    'lines that end with commas',
    'commas.jsonl',
    rows.map(row => `${JSON.stringify(row)},\n`).join(''),
    /not JSON: .*; write one object a line/,
  ],
  [
    'a word a row',
    'words.csv',
    'sentence,word,tag\n1,EU,B-ORG\n1,acts,O\n'.replace('sentence', 'Sentence #'),
    /one word a row is written as \.conll/,
  ],
  [
    'no header line',
    'bare.csv',
    'this is a text of five words,good\nthis is another one of them,bad\n',
    /name it with columns.text, or give the file a header line if it has none/,
  ],
  ['a column named twice', 'twice.csv', 'text,text,label\na,b,c\n', /two columns are called "text"; rename one/],
  [
    'a stray quote',
    'quote.csv',
    'text,label\n"a "b" c",x\n',
    /:2: a quote stands within a field, or is not closed in a line above; quote fields/,
  ],
  ['a spreadsheet', 'book.xlsx', 'PK', /unknown extension ".xlsx"; save it as CSV from the spreadsheet/],
]

for (const [what, name, text, says] of files)
  test(`${what}: the error says what to do`, () => rejects(() => splitData(write(name, text)), 'ERR_DATA', says))

test('a folder of save_to_disk: the error says what to write instead', async () => {
  const path = join(folder, 'saved')
  mkdirSync(path)
  for (const name of ['data-00000-of-00001.arrow', 'dataset_info.json']) writeFileSync(join(path, name), '')
  await rejects(
    () => splitData(path),
    'ERR_DATA',
    /files of save_to_disk are not read; write them by to_parquet or to_json/,
  )
})

test('one row with a list beside its text is a row', async () => {
  const { splits } = await splitData({ train: toRows([{ text: 'a', meta: [{ a: 1 }, { a: 2 }], label: 'x' }]) })
  assert.is(splits.train.length, 1)
})

test('inspect reads lists written as text as training does, and tells labels that are alike', () => {
  const lists = inspectData(
    toRows([
      { text: 'a', labels: "['x', 'y']" },
      { text: 'b', labels: "['x']" },
    ]),
  )
  assert.is(lists.choice?.problem, 'multi')
  assert.equal(
    lists.labels.map(({ label }) => label),
    ['x', 'y'],
  )
  const alike = inspectData(
    toRows([
      { text: 'a', label: 'X' },
      { text: 'b', label: 'x ' },
    ]),
  )
  assert.match(alike.like!, /labels "X", "x " differ by case or blanks alone/)
})

test.run()
