import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openDataset, openFile } from '../../lib/data/open.ts'
import { readParquet } from '../../lib/data/parquet.ts'
import { storeRows } from '../../lib/data/storedRows.ts'
import { collect, rejects, withFiles } from './support.ts'

const golden = (name: string) => fileURLToPath(new URL(`../golden/data/${name}`, import.meta.url))
const bytes = (name: string) => readFileSync(golden(name))

for (const codec of ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4'])
  test(`parquet: lists, structs, nulls, integers and times are what pyarrow reads (${codec})`, async () => {
    const rows = await collect(readParquet(golden(`types.${codec}.parquet`)))
    assert.equal(
      rows.map(row => row.values),
      JSON.parse(bytes('types.json').toString()),
    )
    assert.equal(
      rows.map(row => row.line),
      [1, 2, 3, 4],
    )
  })

test('parquet: numbers of classes that datasets named are names, and −1 is none', async () => {
  const rows = await collect(readParquet(golden('classes.parquet')))
  assert.is(rows.length, 30)
  assert.equal(
    rows.slice(0, 3).map(row => row.values.label),
    ['bad', 'fair', 'good'],
  )
  assert.is(rows[29]?.values.label, null)
  assert.is(rows[4]?.values.text, 'text 4: größe 👍 日本 xxxx')
  const [first] = await collect(readParquet(golden('tags.parquet')))
  assert.equal(first?.values, { tokens: ['Anna', 'lives', 'in', 'Bern'], ner_tags: ['B-PER', 'O', 'O', 'B-LOC'] })
})

test('parquet: a column that the schema lacks is refused before it is read', () =>
  withFiles({}, async path => {
    const whole = bytes('classes.parquet')
    const renamed = (to: string): Buffer => {
      const changed = Buffer.from(whole)
      // In the footer: first in the schema, then as the path of the first group's column.
      const inSchema = changed.lastIndexOf('label', changed.indexOf('huggingface'))
      const names: number[] = []
      for (let at = changed.indexOf('label', 900); at >= 0 && at <= inSchema; at = changed.indexOf('label', at + 1))
        names.push(at)
      changed.write(to, names[1]!)
      return changed
    }
    writeFileSync(path('strange.parquet'), renamed('lapel'))
    await rejects(() => collect(readParquet(path('strange.parquet'))), 'ERR_DATA', /"lapel" which the schema lacks/)
  }))

test('parquet: what is cut, broken or no Parquet is told with a cure', () =>
  withFiles({ 'no.parquet': 'text,label\na,b\n' }, async path => {
    await rejects(() => collect(readParquet(path('no.parquet'))), 'ERR_DATA', /footer cannot be read as Parquet.*jsonl/)
    const whole = bytes('types.snappy.parquet')
    writeFileSync(path('cut.parquet'), whole.subarray(0, 2000))
    await rejects(() => collect(readParquet(path('cut.parquet'))), 'ERR_DATA', /cut\.parquet.*copy the file again/)
    const broken = Buffer.from(whole).fill(0xff, 8, 400)
    writeFileSync(path('broken.parquet'), broken)
    await rejects(() => collect(readParquet(path('broken.parquet'))), 'ERR_DATA', /group 1 of rows/)
    assert.throws(() => openFile(path('no.parquet'), { encoding: 'latin1' }), /encoding: .*no effect/)
  }))

test('numbered parts of a split are one file, kept with their own names', () => {
  const part = (i: number, n: number) => `train-0000${i}-of-0000${n}.parquet`
  const files = { [part(0, 2)]: bytes('classes.parquet'), [part(1, 2)]: bytes('classes.parquet') }
  return withFiles({ ...files, 'test-00000-of-00001.parquet': bytes('tags.parquet') }, async path => {
    const source = await openDataset(path(''))
    assert.equal(Object.keys(source), ['test', 'train'])
    const { train } = source
    if (!train) return assert.unreachable()
    const rows = await storeRows(train.path, train.rows())
    assert.is(rows.length, 60)
    assert.equal([rows.at(31)?.file, rows.at(31)?.line], [path(part(1, 2)), 2])
    assert.equal([rows.at(29)?.file, rows.at(29)?.line], [path(part(0, 2)), 30])
    writeFileSync(path('train-00002-of-00003.parquet'), files[part(0, 2)] ?? '')
    await rejects(() => openDataset(path('')), 'ERR_DATA', /both the train split/)
  })
})

test('files of a folder that are no split are told, those that describe it are not', () =>
  withFiles({ 'train.jsonl': '{}', 'oos_train.jsonl': '{}', 'info.json': '{}', 'notes.txt': '' }, async path => {
    const notices: string[] = []
    const source = await openDataset(path(''), { notice: text => notices.push(text) })
    assert.equal(Object.keys(source), ['train'])
    assert.is(notices.length, 1)
    assert.match(
      notices[0] ?? '',
      /: oos_train\.jsonl is left out: its name tells no split; append to the file of a split/,
    )
  }))

test('parts that are missing are told', () =>
  withFiles({ 'train-00000-of-00003.jsonl': '{}', 'train-00001-of-00003.jsonl': '{}' }, async path => {
    await rejects(() => openDataset(path('')), 'ERR_DATA', /2 of 3 parts/)
  }))

test.run()
