// Layouts of files that others write: column files of several makers, old line ends, packed files, JSON arrays.

import { existsSync, readdirSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { columnNames } from '../../lib/data/columns.ts'
import { readConll } from '../../lib/data/conll.ts'
import { readCsv, readTsv } from '../../lib/data/delimited.ts'
import { readJsonl } from '../../lib/data/jsonl.ts'
import { readLines } from '../../lib/data/lines.ts'
import { openDataset } from '../../lib/data/open.ts'
import { type Row, toRows } from '../../lib/data/row.ts'
import { collect, rejects, withFiles } from './support.ts'

const values = (rows: readonly Row[]) => rows.map(row => row.values)
const table = (...lines: string[]) => `${lines.map(line => line.replaceAll(' ', '\t')).join('\n')}\n`

test('conll: layouts that are known by their columns', () =>
  withFiles(
    {
      'u.conll': `# text = a b\n${table('1 Anna a PROPN _ _ 0 r _ _', '2-3 am _ _ _ _ _ _ _ _', '2 an an ADP _ _ 0 r _ _')}`,
      'germ.conll': `#\thttp://x [2011]\n${table('1 Anna B-PER O', '2 Bonn B-LOC B-PER')}\n#\thttp://y\n${table('1 So O O')}`,
      'plus.conllup': `# global.columns = ID FORM UPOS X:NER\n${table('1 Anna PROPN B-PER', '2 geht VERB O')}`,
      'onto.conll': [
        '#begin document (x); part 000',
        ...[
          '0 New NN * - - - s (GPE* -',
          '1 York NN * - - - s *) -',
          '2 in NN * - - - s * -',
          '3 Bonn NN * - - - s (GPE) -',
        ],
        '\n#end document\n',
      ]
        .join('\nd 0 ')
        .replace('d 0 \n', '\n'),
      'two.conll': '1 NUM\n2 NUM\n',
    },
    async path => {
      const read = async (name: string) => values(await collect(readConll(path(name))))
      assert.equal(await read('u.conll'), [{ tokens: ['Anna', 'an'], tags: ['PROPN', 'ADP'] }])
      assert.equal(await read('germ.conll'), [
        { tokens: ['Anna', 'Bonn'], tags: ['B-PER', 'B-LOC'] },
        { tokens: ['So'], tags: ['O'] },
      ])
      assert.equal(await read('plus.conllup'), [{ tokens: ['Anna', 'geht'], tags: ['B-PER', 'O'] }])
      const [onto] = await read('onto.conll')
      assert.equal(onto, { tokens: ['New', 'York', 'in', 'Bonn'], tags: ['B-GPE', 'I-GPE', 'O', 'B-GPE'] })
      assert.equal(await read('two.conll'), [{ tokens: ['1', '2'], tags: ['NUM', 'NUM'] }])
      const notices: string[] = []
      await collect(readConll(path('u.conll'), { tagColumn: 2, notice: message => notices.push(message) }))
      assert.match(notices[0]!, /CoNLL-U; words from column 1, tags from column 2/)
    },
  ))

const EU = { tokens: ['EU', 'acts'], tags: ['B-ORG', 'O'] }
const COLUMNS: readonly (readonly [what: string, text: string, says: RegExp | undefined])[] = [
  ['tags first', table('B-ORG EU', 'O acts'), /tags of entities stand in column 0; words from column 1/],
  ['tags between', table('EU B-ORG NNP', 'acts O VBZ'), /stand in column 1; words from column 0/],
  ['words counted from 0', table('0 EU B-ORG', '1 acts O'), /counts the words/],
  ['words counted through the file', table('7 EU B-ORG', '8 acts O'), /counts the words/],
  [
    'a line of names',
    `Word POS Tag\n${table('EU NNP B-ORG', 'acts VBZ O')}`.replaceAll('\t', ' '),
    /names the columns/,
  ],
  [
    'a line of names in another order',
    table('ner token', 'B-ORG EU', 'O acts'),
    /words from column 1, tags from column 0/,
  ],
  ['blanks, and tabs further on', 'EU B-ORG\nacts\tO\n', undefined],
  ['words that look like tags', table('I-95 NN', 'B-52 NN'), undefined],
]
for (const [what, text, says] of COLUMNS)
  test(`conll: ${what}`, () =>
    withFiles({ 'a.conll': text }, async path => {
      const notices: string[] = []
      const rows = values(await collect(readConll(path('a.conll'), { notice: message => notices.push(message) })))
      assert.equal(rows, [text.startsWith('I-95') ? { tokens: ['I-95', 'B-52'], tags: ['NN', 'NN'] } : EU])
      assert.is(notices.length, says ? 1 : 0)
      if (says) assert.match(notices[0]!, says)
    }))

test('conll: CoNLL-2009 has parts of speech, and blanks where tabs part columns are told', () =>
  withFiles(
    {
      'srl.conll': table('1 Anna Anna Anna NNP NNP _ _ 0 0 r r _ _', '2 eats eat eat VBZ VBZ _ _ 0 0 r r Y eat.01'),
      'mixed.conll': 'EU\tB-ORG\nacts O\n',
    },
    async path => {
      const [row] = await collect(readConll(path('srl.conll')))
      assert.equal(row!.values, { tokens: ['Anna', 'eats'], tags: ['NNP', 'VBZ'] })
      await rejects(
        () => collect(readConll(path('mixed.conll'))),
        'ERR_DATA',
        /:2: 1 columns, .* part all columns by tabs/,
      )
    },
  ))

test('conll: a word that begins with # is no comment', () =>
  withFiles(
    {
      'a.conll': table('# SYM', '0 NUM', '', '#win PROPN', 'today NOUN'),
      'b.conll': '# id 7 8\n# NN\nx NN\n\n# a = b\ny NN\n',
    },
    async path => {
      assert.equal(values(await collect(readConll(path('a.conll')))), [
        { tokens: ['#', '0'], tags: ['SYM', 'NUM'] },
        { tokens: ['#win', 'today'], tags: ['PROPN', 'NOUN'] },
      ])
      const spaced = values(await collect(readConll(path('b.conll'))))
      assert.equal(spaced, [
        { tokens: ['#', 'x'], tags: ['NN', 'NN'] },
        { tokens: ['y'], tags: ['NN'] },
      ])
    },
  ))

test('conll: a line of a hundred thousand blanks is read at once', () =>
  withFiles({ 'a.conll': `a O\n${' '.repeat(200_000)}x${' '.repeat(200_000)}\n` }, path =>
    rejects(() => collect(readConll(path('a.conll'))), 'ERR_DATA', /column 0 is empty/),
  ))

test('line ends of old Macintoshes', () =>
  withFiles(
    {
      'a.csv': 'text,label\r"x, ""y""",1\rz,0\r',
      'a.tsv': 'text\tlabel\rx\t1\r',
      'cells.csv': 'text,label\r"x\ny\nz",1\r"u\nv",0\r',
      'stray.txt': `a\rb\n${'c\n'.repeat(20)}`,
    },
    async path => {
      assert.equal(values(await collect(readCsv(path('cells.csv')))), [
        { text: 'x\ny\nz', label: '1' },
        { text: 'u\nv', label: '0' },
      ])
      assert.is((await collect(readLines(path('stray.txt')))).length, 21)
      assert.equal(values(await collect(readCsv(path('a.csv')))), [
        { text: 'x, "y"', label: '1' },
        { text: 'z', label: '0' },
      ])
      assert.equal(values(await collect(readTsv(path('a.tsv')))), [{ text: 'x', label: '1' }])
    },
  ))

test('a reader that stops early closes its file', () =>
  withFiles({ 'a.csv': 'a,b\n1,2\n3,4\n', 'b.csv.gz': gzipSync('a,b\n1,2\n3,4\n') }, async path => {
    const opened = () => readdirSync('/proc/self/fd').length
    if (!existsSync('/proc/self/fd')) return
    const before = opened()
    for (let i = 0; i < 20; i++)
      for (const name of ['a.csv', 'b.csv.gz'])
        for await (const line of readLines(path(name))) {
          assert.is(line.text, 'a,b')
          break
        }
    await new Promise(done => setTimeout(done, 50))
    assert.ok(opened() <= before + 1, `${opened() - before} files left open`)
  }))

test('files in gzip are read, and told from broken ones', () =>
  withFiles(
    {
      'train.jsonl.gz': gzipSync('{"a":1}\n{"a":"é"}\n'),
      'cut.csv.gz': gzipSync('a,b\n1,2\n'.repeat(1000)).subarray(0, 40),
    },
    async path => {
      assert.equal(values(await collect((await openDataset(path('.'))).train!.rows())), [{ a: 1 }, { a: 'é' }])
      await rejects(async () => collect((await openDataset(path('cut.csv.gz'))).train!.rows()), 'ERR_DATA', /gzip/)
    },
  ))

test('a JSON array of objects is a file of rows', () =>
  withFiles({ 'a.json': '\uFEFF[{"a":1},\n {"a":[2]}]\n', 'bad.json': '[{"a":1},', 'none.json': '[]' }, async path => {
    assert.equal(values(await collect((await openDataset(path('a.json'))).train!.rows())), [{ a: 1 }, { a: [2] }])
    await rejects(() => collect(readJsonl(path('bad.json'))), 'ERR_DATA', /not a JSON array/)
    await rejects(() => collect(readJsonl(path('none.json'))), 'ERR_DATA', /empty array/)
  }))

test('csv: the delimiter that the header shows is taken and told; another than the one given is named', () => {
  const files = {
    'semicolon.csv': '\uFEFFtext;label\r\n"I ""liked"" it; really\r\nso, yes";1\r\n',
    'tab.csv': 'text\tlabel\na, b\t1\n',
    'excel.csv': 'sep=;\r\ntext;label\r\na;1\r\n',
    'comma.csv': 'text,"a;b"\nx;y,1\n',
    'one.csv': 'text\na;b\n',
  }
  return withFiles(files, async path => {
    const notices: string[] = []
    const read = async (name: string) => {
      return values(await collect(readCsv(path(name), { notice: text => notices.push(text) })))
    }
    assert.equal(await read('semicolon.csv'), [{ text: 'I "liked" it; really\nso, yes', label: '1' }])
    assert.equal(await read('tab.csv'), [{ text: 'a, b', label: '1' }])
    assert.equal(await read('excel.csv'), [{ text: 'a', label: '1' }])
    assert.equal(
      notices.map(text => /"(.*)" between/.exec(text)?.[1]),
      [';', '\\t'],
    )
    assert.equal(await read('comma.csv'), [{ text: 'x;y', 'a;b': '1' }])
    assert.equal(await read('one.csv'), [{ text: 'a;b' }])
    const given = () => collect(readCsv(path('semicolon.csv'), { delimiter: ',' }))
    await rejects(given, 'ERR_DATA', /";" in its name; if that is the delimiter, name it with delimiter/)
  })
})

test('columns are those of all rows', () => {
  const rows = toRows([...Array.from({ length: 500 }, () => ({ text: 'a' })), { text: 'a', text2: 'b' }])
  assert.equal(columnNames(rows), ['text', 'text2'])
})

test.run()
