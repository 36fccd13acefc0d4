// Files as other tools write them that are no rows of texts: what the error says to do.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { labelMap, likeNames } from '../../lib/data/labels.ts'
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
  [
    'a header within',
    'joined.csv',
    'text,label\na,x\ntext,label\nb,y\n',
    /:3: the header again, as in files that were joined; take this line out/,
  ],
  [
    'a spreadsheet by another name',
    'book.csv',
    'PK\x03\x04\x14\x00',
    /a zip archive or a spreadsheet, whatever its name/,
  ],
  [
    'a pointer',
    'pointer.csv',
    'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    /a pointer of Git LFS, whatever its name says; fetch the file itself/,
  ],
  ['fastText', 'fast.txt', '__label__x a b\n', /a label and a text, as fastText has them; write them as columns/],
  [
    'column files as tables',
    'NER-de.tsv',
    '#\thttp://x\n1\tAnna\tB-PER\tO\n',
    /A word and its tags a line are format conll/,
  ],
  ['column files as tables without comments', 'ner.tsv', 'EU\tB-ORG\nacts\tO\n', /is format conll/],
  ['rows beside a version', 'squad.json', JSON.stringify({ version: '1', data: rows }), /whose "data" holds 2 rows/],
  ['lists', 'lists.json', JSON.stringify(rows.map(Object.values)), /item 1 of the array is array .*; write \[\{"text"/],
  [
    'answers without places',
    'qa.jsonl',
    '{"question":"who?","context":"Anna slept","answer":"Anna"}\n',
    /all "answer" stand in "context", without a place/,
  ],
  [
    'large numbers',
    'ids.jsonl',
    '{"text":"a","label":9007199254740993}\n',
    /"label" is 9007199254740992, .* write it as text/,
  ],
  ['a spreadsheet', 'book.xlsx', 'PK', /unknown extension ".xlsx"; save it as CSV from the spreadsheet/],
]

for (const [what, name, text, says] of files)
  test(`${what}: the error says what to do`, () => {
    const format = name.endsWith('.txt') ? ('text' as const) : undefined
    const code = /whatever its name/.test(says.source) ? 'ERR_UNSUPPORTED' : 'ERR_DATA'
    return rejects(() => splitData(write(name, text), { format }), code, says)
  })

const unlabelled = { text: ['N/A', '?', null, ''], list: [[], []] }
for (const [kind, cells] of Object.entries(unlabelled))
  test(`a split whose cells say that there is no label is left out (${kind})`, async () => {
    const labels = kind === 'list' ? [['x'], ['y']] : ['x', 'y']
    const train = toRows(labels.map(label => ({ text: 'a', label })))
    const { splits, notices } = await splitData({ train, test: toRows(cells.map(label => ({ text: 'b', label }))) })
    assert.is(splits.test.length, 0)
    assert.ok(notices.some(notice => /the test split has no labels in "label"/.test(notice)))
  })

test('names that may be one are told: numbers, truth values, signs that none sees', async () => {
  const pairs = [
    ['1', '1.0'],
    ['0', 'false'],
    ['caf\u00e9', 'cafe\u0301'],
    ['pos', 'pos\u200b'],
  ]
  for (const pair of pairs) assert.match(likeNames(['other', ...pair])!, /may be one, written in several ways/)
  assert.is(
    likeNames(['1', '2', 'true']),
    'labels "1", "true" may be one, written in several ways; write them alike if they are one',
  )
  assert.is(likeNames(['1', '2', '10']), undefined)
})

test('tags that seem to be entities and are not read so are told', async () => {
  const told = async (...tags: string[]) => {
    const train = toRows([{ tokens: tags.map(() => 'a'), tags }])
    return (await splitData({ train })).notices.filter(notice => notice.includes('word by word'))
  }
  for (const [odd, ...others] of [
    ['b-per', 'o'],
    ['PER-B', 'O'],
    ['B:PER', 'O'],
    ['PER', 'O'],
    ['0', 'B-PER'],
  ])
    assert.match((await told(odd!, ...others))[0]!, new RegExp(`since "${odd}" is none of O, B-x and I-x`))
  assert.equal(await told('NN', 'VBZ'), [])
  assert.equal(await told('B_PER', 'E-PER', 'O'), [])
})

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

const objects: unknown = rows
const asData = (value: unknown) => value as Parameters<typeof splitData>[0]
const asOptions = (value: unknown) => value as Parameters<typeof splitData>[1]
const given: readonly (readonly [what: string, run: () => unknown, says: RegExp])[] = [
  ['objects alone', () => splitData(asData(objects)), /is no path and no splits; give \{ train: toRows/],
  ['nothing', () => splitData(asData(undefined)), /is no path and no splits/],
  [
    'objects by split',
    () => splitData(asData({ train: objects })),
    /train holds .* is no row; make rows of plain objects/,
  ],
  ['another split', () => splitData(asData({ train: toRows(rows), dev: toRows(rows) })), /"dev" is no split/],
  ['names for a map', () => splitData({ train: toRows(rows) }, asOptions({ labels: ['x', 'y'] })), /no label map/],
  [
    'a number for a column',
    () => splitData({ train: toRows(rows) }, asOptions({ columnNames: { text: 5 } })),
    /5 is no name/,
  ],
  ['shares below 0', () => splitData({ train: toRows(rows) }, { fractions: [2, -0.5, -0.5] }), /are not shares/],
  ['two shares', () => splitData({ train: toRows(rows) }, asOptions({ fractions: [0.5, 0.5] })), /are not shares/],
  ['an order', () => splitData({ train: toRows(rows) }, asOptions({ labelOrder: 'abc' })), /one of sorted, seen/],
  ['a path', () => inspectData(...([join(folder, 'x.csv')] as unknown as [[]])), /is no list of rows/],
  ['numbers as names', () => labelMap(...([[0, 1]] as unknown as [string[]])), /is no list of names/],
  ['one object', () => toRows(...([{ text: 'a' }] as unknown as [[]])), /toRows: .* is no list of objects/],
]
for (const [what, run, says] of given)
  test(`${what}, given by a program: the error says what to give`, () => rejects(run, 'ERR_OPTION', says))

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

const labelled = (labels: readonly unknown[], options: Parameters<typeof splitData>[1] = {}) =>
  splitData({ train: toRows(labels.map(label => ({ text: 't', label }))) }, options)

test('shares of labels and vectors with one 1 are told by what is learned of them; numbers take no names', async () => {
  const shares = [
    [0.7, 0.3],
    [0.2, 0.8],
  ]
  assert.match((await labelled(shares)).choice.reason, /which sum to 1: their squared error is learned/)
  assert.not.match((await labelled([[0.7, 0.5]])).choice.reason, /sum to 1/)
  await rejects(
    () => labelled(shares, { labels: labelMap(['a', 'b']) }),
    'ERR_OPTION',
    /one for each output, which have no names/,
  )
  const exclusive = await labelled([
    [0, 1],
    [1, 0],
  ])
  assert.ok(exclusive.notices.some(notice => /has one 1 in each row, and any number is learned/.test(notice)))
  assert.match((await labelled(['1.0', '2.0'])).choice.reason, /all of them whole: write 1 for 1.0 if they are classes/)
})

test.run()
