// Files that are not UTF-8: by their mark, or by the name of their encoding, never by a guess.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readConll } from '../../lib/data/conll.ts'
import { readCsv } from '../../lib/data/delimited.ts'
import { readJsonl } from '../../lib/data/jsonl.ts'
import { holdsRows, openFile } from '../../lib/data/open.ts'
import { collect, rejects, withFiles } from './support.ts'

const csv = 'text,label\ncafé “au lait”,gut\nnaïve,schlecht\n'
/** é, ï and curly quotes as Windows writes them. */
const CP1252: Readonly<Record<string, number>> = { é: 0xe9, ï: 0xef, '“': 0x93, '”': 0x94 }
const windows = Buffer.from([...csv].map(letter => CP1252[letter] ?? letter.charCodeAt(0)))
const big = Buffer.from(`\uFEFF${csv}`, 'utf16le').swap16()

const texts = async (path: string, encoding?: string) =>
  (await collect(readCsv(path, { encoding }))).map(({ values }) => values.text)

test('a named encoding is read, and an unnamed one asked for', () =>
  withFiles({ 'a.csv': windows }, async path => {
    assert.equal(await texts(path('a.csv'), 'cp1252'), ['café “au lait”', 'naïve'])
    await rejects(
      () => texts(path('a.csv')),
      'ERR_DATA',
      /:2: invalid UTF-8 .*; give encoding cp1252 if Windows wrote it/,
    )
    await rejects(() => texts(path('a.csv'), 'cp1253'), 'ERR_OPTION', /encoding: "cp1253" is none of .*"cp1252"/)
    await rejects(() => texts(path('a.csv'), 'shift_jis'), 'ERR_DATA', /is not shift_jis/)
  }))

test('UTF-16 says so itself, in both orders and in every reader', () =>
  withFiles(
    {
      'little.csv': Buffer.from(`\uFEFF${csv}`, 'utf16le'),
      'big.csv': big,
      'a.jsonl': Buffer.from('\uFEFF{"a":"é"}\n{"a":2}\n', 'utf16le'),
      'a.conll': Buffer.from('\uFEFFZoë B-PER\nlives O\n', 'utf16le'),
      'odd.csv': Buffer.concat([Buffer.from(`\uFEFF${csv}`, 'utf16le'), Buffer.of(65)]),
    },
    async path => {
      for (const name of ['little.csv', 'big.csv'])
        assert.equal(await texts(path(name)), ['café “au lait”', 'naïve'], name)
      assert.equal(
        (await collect(readJsonl(path('a.jsonl')))).map(({ values }) => values.a),
        ['é', 2],
      )
      assert.equal((await collect(readConll(path('a.conll'))))[0]!.values.tokens, ['Zoë', 'lives'])
      await rejects(() => texts(path('odd.csv')), 'ERR_DATA', /is not utf-16le/)
      await rejects(() => texts(path('big.csv'), 'cp1252'), 'ERR_DATA', /mark of UTF-16, not cp1252/)
    },
  ))

test('long files are decoded across the chunks of the reader', () =>
  withFiles({ 'long.csv': Buffer.from(`\uFEFFtext,label\n${'é😀,x\n'.repeat(200_000)}`, 'utf16le') }, async path => {
    const found = await texts(path('long.csv'))
    assert.is(found.length, 200_000)
    assert.ok(found.every(text => text === 'é😀'))
  }))

test('the extension of every format that is read tells that a file holds rows', () => {
  for (const name of ['a.json', 'a.jsonl.gz', 'a.NDJSON', 'a.parquet', 'a.tsv', 'a.conllu', 'a.bio'])
    assert.ok(holdsRows(name), name)
  for (const name of ['a.txt', 'a', 'json', 'a.constructor']) assert.not.ok(holdsRows(name), name)
})

test('a delimiter where there is none is an error', () =>
  withFiles({ 'a.jsonl': '{"a":1}\n' }, async path => {
    await rejects(
      () => openFile(path('a.jsonl'), { delimiter: ';' }),
      'ERR_OPTION',
      /delimiter: ";" has no effect on .*jsonl/,
    )
  }))

test.run()
