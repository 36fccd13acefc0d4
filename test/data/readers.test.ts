import { once } from 'node:events'
import { createWriteStream, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { finished } from 'node:stream/promises'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readConll } from '../../lib/data/conll.ts'
import { readCsv, readTsv } from '../../lib/data/delimited.ts'
import { readJsonl } from '../../lib/data/jsonl.ts'
import { openDataset } from '../../lib/data/open.ts'
import type { Row } from '../../lib/data/row.ts'
import { LowrankError } from '../../lib/errors.ts'
import { collect, rejects, withFiles } from './support.ts'

const values = (rows: readonly Row[]) => rows.map(row => row.values)
const lines = (rows: readonly Row[]) => rows.map(row => row.line)

test('jsonl: byte order mark, CRLF, blank lines, no newline at the end', () =>
  withFiles({ 'a.jsonl': '\uFEFF{"a":1}\r\n\n  \n{"a":"é\u{1F600}"}' }, async path => {
    const rows = await collect(readJsonl(path('a.jsonl')))
    assert.equal(values(rows), [{ a: 1 }, { a: 'é😀' }])
    assert.equal(lines(rows), [1, 4])
  }))

test('jsonl: what is wrong is told with line and byte', () =>
  withFiles(
    {
      'bad.jsonl': '{"a":1}\n{"a":\n',
      'list.jsonl': '[1,2]\n',
      'number.jsonl': '{}\n\n7\n',
      'utf8.jsonl': Buffer.concat([Buffer.from('{"a":1}\n{"é":"'), Buffer.from([0xff]), Buffer.from('"}\n')]),
      'cut.jsonl': Buffer.concat([Buffer.from('{"a":1}\n{"a":"'), Buffer.from([0xe2, 0x82])]),
      'empty.jsonl': '',
      'blank.jsonl': '\n \n',
      'a.gz.jsonl': Buffer.from([0x1f, 0x8b, 8, 0]),
    },
    async path => {
      const read = (name: string) => () => collect(readJsonl(path(name)))
      await rejects(read('bad.jsonl'), 'ERR_DATA', /bad\.jsonl:2 \(byte 8\): not JSON/)
      await rejects(read('list.jsonl'), 'ERR_DATA', /item 1 of the array is integer/)
      await rejects(read('number.jsonl'), 'ERR_DATA', /:3 \(byte 4\): integer where/)
      await rejects(read('utf8.jsonl'), 'ERR_DATA', /:2: invalid UTF-8 \(0xff\) at byte 15/)
      await rejects(read('cut.jsonl'), 'ERR_DATA', /:2: invalid UTF-8 \(0xe2\) at byte 14/)
      await rejects(read('empty.jsonl'), 'ERR_DATA', /empty/)
      await rejects(read('blank.jsonl'), 'ERR_DATA', /empty/)
      await rejects(read('a.gz.jsonl'), 'ERR_DATA', /gzip/)
      await rejects(read('none.jsonl'), 'ERR_DATA', /does not exist/)
      await rejects(() => collect(readJsonl(path('.'))), 'ERR_DATA', /folder/)
    },
  ))

test('jsonl: a 10 MB line, and lines across the chunks of the reader', () =>
  withFiles({ 'a.jsonl': `{"t":"${'é'.repeat(5_000_000)}"}\n{"t":"x"}\n` }, async path => {
    const rows = await collect(readJsonl(path('a.jsonl')))
    assert.is((rows[0]!.values.t as string).length, 5_000_000)
    assert.equal(rows[1]!.values, { t: 'x' })
  }))

test('jsonl: 200 MB are read in constant memory', () =>
  withFiles({}, async path => {
    const file = createWriteStream(path('big.jsonl'))
    const block = `{"text":"${'lorem ipsum '.repeat(80)}"}\n`.repeat(1000)
    for (let i = 0; i < 200; i++) file.write(block) || (await once(file, 'drain'))
    file.end()
    await finished(file)
    const before = process.memoryUsage().rss
    let [rows, peak] = [0, 0]
    for await (const row of readJsonl(path('big.jsonl')))
      if (row.line && ++rows % 20000 === 0) peak = Math.max(peak, process.memoryUsage().rss)
    assert.is(rows, 200_000)
    assert.ok(peak - before < 150e6, `${(peak - before) / 1e6} MB`)
  }))

test('csv: quotes, delimiters and line ends in fields; lines are those of the file', () =>
  withFiles({ 'a.csv': '\uFEFFtext,label\r\n"a, ""b""\nc",x\r\n\r\nplain,"y"\n"",z\n' }, async path => {
    const rows = await collect(readCsv(path('a.csv')))
    assert.equal(values(rows), [
      { text: 'a, "b"\nc', label: 'x' },
      { text: 'plain', label: 'y' },
      { text: '', label: 'z' },
    ])
    assert.equal(lines(rows), [2, 5, 6])
  }))

test('csv: other delimiters, files without header, unnamed columns', () =>
  withFiles({ 'a.csv': 'a;b\n1;2\n', 'b.csv': '1,2\n', 'c.csv': ',text\n0,x\n' }, async path => {
    assert.equal(values(await collect(readCsv(path('a.csv'), { delimiter: ';' }))), [{ a: '1', b: '2' }])
    assert.equal(values(await collect(readCsv(path('b.csv'), { columns: ['x', 'y'] }))), [{ x: '1', y: '2' }])
    assert.equal(values(await collect(readCsv(path('c.csv')))), [{ 'column 1': '0', text: 'x' }])
  }))

test('csv: what is wrong is told with the line', () =>
  withFiles(
    {
      'ragged.csv': 'a,b\n1,2\n1,2,3\n',
      'open.csv': 'a,b\n1,"2\n3,4\n',
      'stray.csv': 'a,b\n1,2\n1,"x"y\n',
      'twice.csv': 'a,a\n1,2\n',
      'empty.csv': '',
      'header.csv': 'a,b\n',
      'utf8.csv': Buffer.concat([Buffer.from('a,b\n1,'), Buffer.from([0xe9, 10])]),
    },
    async path => {
      const read = (name: string) => () => collect(readCsv(path(name)))
      await rejects(read('ragged.csv'), 'ERR_DATA', /ragged\.csv:3: 3 fields, the header has 2/)
      await rejects(read('open.csv'), 'ERR_DATA', /quote opened in record 2/)
      await rejects(read('stray.csv'), 'ERR_DATA', /:3: /)
      await rejects(read('twice.csv'), 'ERR_DATA', /two columns are called "a"/)
      await rejects(read('empty.csv'), 'ERR_DATA', /empty/)
      await rejects(read('header.csv'), 'ERR_DATA', /header and no rows/)
      await rejects(read('utf8.csv'), 'ERR_DATA', /:2: invalid UTF-8 \(0xe9\) at byte 6/)
      await rejects(read('none.csv'), 'ERR_DATA', /does not exist/)
    },
  ))

test('tsv: quotes are text, except around a whole field', () =>
  withFiles({ 'a.tsv': 'text\tlabel\n"Hello he said\t1\nsay "hi"\t0\n"a ""b"""\t1\n' }, async path => {
    const rows = await collect(readTsv(path('a.tsv')))
    assert.equal(
      rows.map(row => row.values.text),
      ['"Hello he said', 'say "hi"', 'a "b"'],
    )
  }))

test('conll: sentences, -DOCSTART-, comments, tabs or spaces', () =>
  withFiles(
    {
      'a.conll': '-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n\n# id 7\nBonn NNP I-NP B-LOC\n',
      'b.conll': '# text = # is it\n#\tO\nNew York\tB-LOC\n\n#\tO\n\n',
    },
    async path => {
      const notices: string[] = []
      const rows = await collect(readConll(path('a.conll'), { notice: message => notices.push(message) }))
      assert.equal(values(rows), [
        { tokens: ['EU', 'rejects'], tags: ['B-ORG', 'O'] },
        { tokens: ['Bonn'], tags: ['B-LOC'] },
      ])
      assert.equal(lines(rows), [3, 8])
      assert.is(notices.length, 1)
      assert.match(notices[0]!, /IOB1 to IOB2/)
      const chunks = await collect(readConll(path('a.conll'), { tagColumn: 2, keepTags: true }))
      assert.equal(chunks[0]!.values.tags, ['I-NP', 'I-VP'])
      const tabs = await collect(readConll(path('b.conll')))
      assert.equal(tabs[0]!.values.tokens, ['#', 'New York'])
      assert.is(tabs.length, 2)
    },
  ))

test('conll: what is wrong is told with the line', () =>
  withFiles(
    { 'a.conll': 'a O\nb X O\n', 'b.conll': 'a\nb\n', 'c.conll': '\n\n', 'd.conll': 'a\tO\n\tO\n', 'e.conll': 'a O' },
    async path => {
      await rejects(() => collect(readConll(path('a.conll'))), 'ERR_DATA', /:2: 3 columns, the lines before have 2/)
      await rejects(() => collect(readConll(path('b.conll'))), 'ERR_DATA', /:1: one column/)
      await rejects(() => collect(readConll(path('c.conll'))), 'ERR_DATA', /empty/)
      await rejects(() => collect(readConll(path('d.conll'))), 'ERR_DATA', /:2: column 0 is empty/)
      await rejects(() => collect(readConll(path('e.conll'), { tagColumn: 4 })), 'ERR_DATA', /no column 4/)
    },
  ))

test('text: one a line, blank lines skipped, quotes and tabs are text', () =>
  withFiles({ 'a.txt': 'one "line"\r\n\n \ntwo\tcolumns', 'empty.txt': '\n' }, async path => {
    const read = async (name: string) => collect((await openDataset(path(name), { format: 'text' })).train!.rows())
    assert.equal(values(await read('a.txt')), [{ text: 'one "line"' }, { text: 'two\tcolumns' }])
    assert.is((await read('a.txt'))[1]!.line, 4)
    await rejects(() => read('empty.txt'), 'ERR_DATA', /is empty; it needs at least one line of text/)
  }))

test('a dataset is a file or a folder of splits', () =>
  withFiles({ 'train.jsonl': '{"a":1}', 'dev.csv': 'a\n2\n', 'test.conll': 'a O\n', 'notes.txt': '' }, async path => {
    const folder = await openDataset(path('.'))
    assert.equal(Object.keys(folder).sort(), ['test', 'train', 'validation'])
    assert.equal(values(await collect(folder.validation!.rows())), [{ a: '2' }])
    assert.equal(Object.keys(await openDataset(path('train.jsonl'))), ['train'])
    const again = folder.train!
    assert.equal(values(await collect(again.rows())), values(await collect(again.rows())))
    await rejects(() => openDataset(path('notes.txt')), 'ERR_DATA', /unknown extension "\.txt"/)
    await rejects(() => openDataset(path('notes.txt')), 'ERR_DATA', /format text for one text a line/)
    await rejects(() => openDataset(path('none')), 'ERR_DATA', /does not exist; check the path/)
    const files = await readdir(path(''))
    const typo = `${files[0]}x`
    await rejects(() => openDataset(path(typo)), 'ERR_DATA', new RegExp(`did you mean "${files[0]}"`))
    await rejects(() => openDataset(path('no/none')), 'ERR_DATA', /nor does its folder/)
    const wrong = await openDataset(path('notes.txt'), { format: 'jsonll' as never })
    await rejects(() => wrong.train!.rows(), 'ERR_OPTION', /did you mean "jsonl"/)
  }))

test('a folder without splits, or with two files for one, is an error', async () => {
  await withFiles({ 'data.jsonl': '{}' }, path =>
    rejects(() => openDataset(path('.')), 'ERR_DATA', /found: data\.jsonl/),
  )
  await withFiles({ 'dev.jsonl': '{}', 'val.csv': '' }, path =>
    rejects(() => openDataset(path('.')), 'ERR_DATA', /both the validation split/),
  )
})

const pieces = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom('{"a":1}\n', '\n', '\r\n', '"', ',', '{"a":', '}', '\uFEFF', 'a,b\n', '\t').map(s => Buffer.from(s)),
)

for (const [name, read] of Object.entries({ jsonl: readJsonl, csv: readCsv, tsv: readTsv, conll: readConll }))
  test(`${name}: random bytes give rows or a coded error`, () =>
    withFiles({}, async path => {
      await fc.assert(
        fc.asyncProperty(fc.array(pieces, { maxLength: 12 }), async parts => {
          writeFileSync(path('x'), Buffer.concat(parts))
          try {
            for (const row of await collect(read(path('x')))) assert.type(row.values, 'object')
          } catch (error) {
            assert.instance(error, LowrankError, String(error))
            assert.is((error as LowrankError).code, 'ERR_DATA')
          }
        }),
        { numRuns: 400 },
      )
    }))

test('csv: rows written by rule are read back', () =>
  withFiles({}, async path => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', ' ', 'é', '😀', '\t'), maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 8 }), async rows => {
        const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
        writeFileSync(path('x.csv'), `a,b\n${rows.map(row => row.map(quote).join(',')).join('\n')}\n`)
        const found = await collect(readCsv(path('x.csv')))
        assert.equal(
          values(found),
          rows.map(([a, b]) => ({ a, b })),
        )
      }),
      { numRuns: 200 },
    )
  }))

test.run()
