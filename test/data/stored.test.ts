// Rows and examples that do not lie in memory are those that would.

import { mkdirSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batches } from '../../lib/data/batches.ts'
import { resolveDuplicates, type Splits, splitHash } from '../../lib/data/duplicates.ts'
import type { Example, OtherSequence } from '../../lib/data/example.ts'
import { changed, itemAt, joinedLists, select } from '../../lib/data/list.ts'
import { openFile } from '../../lib/data/open.ts'
import { Records } from '../../lib/data/records.ts'
import { type Row, toRows } from '../../lib/data/row.ts'
import { StoredExamples } from '../../lib/data/storedExamples.ts'
import { storeRows } from '../../lib/data/storedRows.ts'
import { hiddenTokens } from '../../lib/data/targets.ts'
import { atOnce } from '../../lib/io/turn.ts'
import { random } from '../../lib/random.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { collect, rejects, withFiles } from './support.ts'

const ints = (...values: number[]) => Int32Array.from(values)
const stream = async function* (rows: readonly Row[]) {
  yield* rows
}
const stored = (rows: readonly Row[], most?: number) => storeRows('', stream(rows), most)

test('records are read as they were added, from memory and from a file, in order and at random', () => {
  for (const most of [Number.POSITIVE_INFINITY, 2 ** 20, 0]) {
    const records = new Records(most)
    const lengths = Array.from({ length: 3000 }, (_, i) => (i % 500 === 7 ? 3 * 2 ** 20 : 4 * (i % 400)))
    for (const [i, length] of lengths.entries()) records.add(length).fill(i % 251)
    const check = (i: number): void => {
      const record = records.read(i)
      assert.is(record.length, lengths[i])
      assert.is(record.byteOffset % 4, 0)
      if (record.length > 0) assert.is(record[0], i % 251)
      assert.is(record.at(-1), record[0])
    }
    assert.is(records.length, lengths.length)
    for (let i = 0; i < lengths.length; i++) check(i)
    for (const i of random(1, 'test').shuffle(ints(...lengths.keys()))) check(i)
    for (let i = 0; i < lengths.length; i += 7) check(i)
  }
})

test('the file of records has no name, and one that cannot be made says where', async () => {
  const before = process.env.TMPDIR
  const folder = temporaryFolder()
  process.env.TMPDIR = folder
  try {
    const records = new Records(0)
    for (let i = 0; i < 3; i++) records.add(2 ** 20).fill(i)
    assert.equal(readdirSync(folder), [])
    assert.is(records.read(1)[5], 1)
    process.env.TMPDIR = join(folder, 'missing')
    const without = new Records(0)
    without.add(2 ** 20)
    await rejects(() => void without.add(2 ** 20).fill(1), 'ERR_DATA', /cannot be kept in .*missing.*TMPDIR/)
    mkdirSync(process.env.TMPDIR)
    assert.is(tmpdir(), process.env.TMPDIR)
  } finally {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
})

test('rows of any JSON are read as they were', async () => {
  const value = fc.jsonValue()
  const object = fc.dictionary(fc.string(), value)
  const fixed = fc.record({ text: fc.string({ unit: 'binary' }), label: value })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(object, fixed), { maxLength: 20 }), fc.nat(1), async (objects, most) => {
      const rows = toRows(objects.map(one => JSON.parse(JSON.stringify(one))))
      const list = await stored(rows, most * 2 ** 20)
      assert.equal([...list], rows)
      for (const [i, { values }] of rows.entries())
        assert.is(JSON.stringify(itemAt(list, i).values), JSON.stringify(values), 'the order of columns too')
    }),
    { numRuns: 60 },
  )
})

test('rows that JSON would change stay as they are', async () => {
  const day = new Date(0)
  const others = [
    { a: -0 },
    { a: Number.POSITIVE_INFINITY },
    { a: 2n ** 70n },
    { a: day },
    { a: [new Map([[1, 2]])] },
    { a: undefined },
  ]
  const rows = toRows([{ a: 1 }, ...others, JSON.parse('{ "__proto__": 1, "a": 2 }'), { b: 1 }, { a: 3 }])
  const list = await stored(rows)
  for (const [i, { values }] of rows.entries()) {
    const read = itemAt(list, i).values
    assert.equal(Object.keys(read), Object.keys(values))
    assert.ok(Object.is(read.a, values.a) || i === 0 || i > others.length)
    assert.equal(read, values)
  }
})

test('files of every format give the rows that their readers give', async () => {
  const files = {
    'a.csv': 'text,label\n"a\n""b""",1\nc,2\n',
    'a.jsonl': '{"x": 1}\n\n{"x": [1, {"y": null}], "z": "ü🙂"}\n',
    'a.conll': 'Anna B-PER\nran O\n\nOslo B-LOC\n',
  }
  await withFiles(files, async path => {
    for (const name of Object.keys(files)) {
      const file = openFile(path(name))
      assert.equal([...(await storeRows(file.path, file.rows()))], await collect(file.rows()))
    }
  })
})

test('lists are as arrays', async () => {
  const rows = toRows(Array.from({ length: 50 }, (_, a) => ({ a })))
  const list = await stored(rows)
  const odd = (row: Row) => Number(row.values.a) % 2
  const [array, own] = [rows.filter(odd), list.filter(odd)]
  assert.equal([...own], array)
  assert.equal(
    [...own.filter(row => odd(row) && Number(row.values.a) > 30)],
    array.filter((_, i) => i > 14),
  )
  assert.equal([own.length, own.at(-1), own.at(25)], [array.length, array.at(-1), undefined])
  for (const range of [[], [3], [3, 9], [-4], [-9, -2], [40, 99], [9, 3]])
    assert.equal(own.slice(...range), array.slice(...range))
  assert.equal(
    own.map((row, i) => [row.line, i]),
    array.map((row, i) => [row.line, i]),
  )
  assert.equal(
    own.find(row => row.line > 9),
    array.find(row => row.line > 9),
  )
  assert.is(own.some(row => row.line === 2) && !own.some(row => row.line === 1) && own.every(row => row.line > 1), true)
  assert.equal([...joinedLists([own, [], rows, list])], [...array, ...rows, ...rows])
  assert.equal(
    [...changed(own, row => row.line)],
    array.map(row => row.line),
  )
  assert.equal([...select(own, ints(2, 0, 2))], [array[2], array[0], array[2]])
  assert.ok(
    Array.isArray(select(rows, ints(1))) &&
      Array.isArray(changed(rows, odd)) &&
      Array.isArray(joinedLists([rows, rows])),
  )
  await rejects(() => void itemAt(own, 25), 'ERR_OPTION', /index 25 is not in \[0, 25\)/)
})

test('duplicates and hashes do not depend on where rows lie', async () => {
  const make = (from: number, count: number) =>
    toRows(Array.from({ length: count }, (_, i) => ({ text: `t ${(from + i * 7) % 60}`, label: i % 2 })))
  const arrays = { train: make(0, 90), validation: make(3, 40), test: make(50, 40) }
  const lists = {
    train: await stored(arrays.train),
    validation: await stored(arrays.validation),
    test: await stored(arrays.test),
  }
  assert.is(atOnce(splitHash(lists)), atOnce(splitHash(arrays)))
  for (const rule of ['report', 'drop', 'move'] as const) {
    const found = (splits: Splits) => atOnce(resolveDuplicates(splits, { text: 'text' }, rule))
    const [a, b] = [found(arrays), found(lists)]
    assert.equal(b.report, a.report)
    assert.ok(a.report.trainTest > 5 && a.report.within > 0)
    assert.is(atOnce(splitHash(b.splits)), atOnce(splitHash(a.splits)))
  }
})

const rows = toRows([{ text: 'a' }, { text: 'b' }])
const row = rows[1]!

test('examples are read as they were added', () => {
  const words = { words: ['a', 'ü'], wordIds: ints(-1, 0, 1), asked: ints(1) }
  const passage = { text: 'Ünder 🙂', golds: ['a', ''], places: ints(-1, -1, 0, 3), mayLack: true }
  const given: Example[] = [
    { ids: ints(1, 2, 3), typeIds: ints(0, 1, 1), label: 2, truncated: true, row },
    { ids: ints(4), label: Float32Array.of(0, 1, 0.1), truncated: false, row },
    { ids: ints(5, 6, 7), label: ints(-100, 1, 0), truncated: false, row, ...words },
    { ids: ints(8, 9), target: ints(1, 2, 3), truncated: false, row },
    { ids: new Int32Array(100_000).fill(3), truncated: false, row },
    { ids: ints(), truncated: false, row },
    { ids: ints(1, 2), label: ints(0, 1), truncated: false, row, part: 3, passage },
    { ids: ints(1, 2), truncated: false, row, part: 0, passage: { ...passage, golds: undefined, mayLack: false } },
  ]
  for (const most of [0, 2 ** 30]) {
    const list = new StoredExamples(rows, most)
    for (const example of given) list.push(example, 1)
    for (const [i, example] of given.entries()) {
      const { row: own, ...read } = itemAt(list, i)
      const { row: _, typeIds = undefined, label = undefined, ...plain } = example
      assert.equal(read, { typeIds, label, ...plain }, String(i))
      assert.is(own, row)
    }
  }
})

test('no member of an example is lost', () => {
  const goal = { loss: 'dpo', beta: 0.1, reference: 'start', weights: [1, 2] } as const
  const other = { ids: ints(6), typeIds: ints(1), label: ints(7) }
  const whole: Required<Example> = {
    ids: ints(1, 2),
    typeIds: ints(0, 1),
    target: ints(3),
    label: ints(4, 5),
    words: ['a'],
    wordIds: ints(-1, 0),
    asked: ints(1),
    passage: { text: 'a', golds: ['a'], places: ints(0, 1), mayLack: false },
    part: 2,
    other: other satisfies Required<OtherSequence>,
    preference: { goal, wanted: true },
    truncated: true,
    row,
  }
  const list = new StoredExamples(rows)
  list.push(whole, 1)
  assert.equal(itemAt(list, 0), whole)
})

test('token types of 0 and labels that are the ids take no place of their own', () => {
  const ids = ints(1, 2)
  const list = new StoredExamples(rows)
  list.push({ ids, typeIds: ints(0, 0), label: ids, truncated: false, row }, 0)
  const { ids: kept, typeIds, label } = itemAt(list, 0)
  assert.is(typeIds, undefined)
  assert.is(label, kept)
})

test('steps are the same wherever examples lie, and a row is read when it is looked at', async () => {
  let reads = 0
  const counted = changed(await stored(rows), one => {
    reads++
    return one
  })
  const [far, near] = [new StoredExamples(counted, 0), new StoredExamples(rows)]
  const all: Example[] = Array.from({ length: 20_000 }, (_, i) => {
    const ids = Int32Array.from({ length: 10 + (i % 9) }, (_, t) => i + t)
    return { ids, label: ids, truncated: false, row }
  })
  for (const example of all) for (const list of [far, near]) list.push(example, 1)
  const options = { batchSize: 8, accumulate: 2, shuffle: true, seed: 3, collate: hiddenTokens }
  for (const groupByLength of [true, false])
    for (const k of [0, 17, 1249]) {
      const [a, b, c] = [all, near, far].map(list => batches(list, { ...options, groupByLength }).at(k))
      const plain = (step = a) => step!.microBatches.map(({ ids, rows, targets }) => [ids, rows, targets!.values])
      assert.equal(plain(b), plain(a))
      assert.equal(plain(c), plain(a))
    }
  assert.is(reads, 0)
  assert.equal({ ...itemAt(far, 5) }.row.values, { text: 'b' })
  assert.is(reads, 1)
})

test.run()
