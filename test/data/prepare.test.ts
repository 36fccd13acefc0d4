import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { arrayDataset, type Dataset, jsonlDataset, rowsOf } from '../../lib/data/dataset.ts'
import { collectRows, openDataset } from '../../lib/data/open.ts'
import { toRows } from '../../lib/data/row.ts'
import { inspectData } from '../../lib/tasks/inspect.ts'
import { prepareData, splitData } from '../../lib/tasks/prepare.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { shared } from '../support/shared.ts'
import { rejects, withFiles } from './support.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))

test('a dataset class of the user gives rows', async () => {
  class Reviews implements Dataset<{ text: string; label: number }> {
    readonly texts = ['good', 'bad', 'fine']
    get length() {
      return this.texts.length
    }
    get(i: number) {
      return { text: this.texts[i]!, label: i % 2 }
    }
  }
  const rows = await rowsOf(new Reviews())
  assert.equal(rows[2], { values: { text: 'fine', label: 0 }, file: '', line: 3 })
  const data = await splitData({ train: rows, validation: rows.slice(0, 1) })
  assert.equal(data.labels!.names, ['0', '1'])
})

test('rows come from arrays, generators and array datasets', async () => {
  const objects = [{ a: 1 }, { a: 2 }]
  async function* stream() {
    yield* objects
  }
  for (const source of [objects, arrayDataset(objects), stream()])
    assert.equal(
      (await rowsOf(source)).map(row => row.values.a),
      [1, 2],
    )
  await rejects(() => rowsOf([]), 'ERR_DATA', /empty/)
  await rejects(() => rowsOf([1 as never]), 'ERR_DATA', /row 1 is integer/)
  await rejects(() => rowsOf({} as never), 'ERR_DATA', /neither/)
  await rejects(() => arrayDataset([1]).get(1), 'ERR_OPTION', /index 1/)
})

test('a jsonl file is read by index', () =>
  withFiles(
    { 'a.jsonl': '\uFEFF{"a":"é"}\r\n\n{"a":2}\n  \n{"a":[3]}', 'bad.jsonl': '{}\n{\n', 'none.jsonl': '\n' },
    async path => {
      const data = await jsonlDataset(path('a.jsonl'))
      assert.is(data.length, 3)
      assert.equal(
        [2, 0, 1].map(i => data.get(i).values),
        [{ a: [3] }, { a: 'é' }, { a: 2 }],
      )
      assert.is(data.get(2).line, 5)
      assert.equal(await rowsOf(data), await collectRows((await openDataset(path('a.jsonl'))).train!.rows()))
      await rejects(() => data.get(3), 'ERR_OPTION', /index 3 is not in \[0, 3\)/)
      data.close()
      await rejects(() => data.get(0), 'ERR_DISPOSED', /closed/)
      const bad = await jsonlDataset(path('bad.jsonl'))
      await rejects(() => bad.get(1), 'ERR_DATA', /bad\.jsonl:2/)
      bad.close()
      await rejects(() => jsonlDataset(path('none.jsonl')), 'ERR_DATA', /empty/)
    },
  ))

const reviews = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) =>
    JSON.stringify({ text: `it is ${i + from}`, label: i % 2 ? 'good' : 'bad' }),
  ).join('\n')

test('one file becomes three splits, labels and examples', () =>
  withFiles({ 'a.jsonl': reviews(100) }, async path => {
    const data = await prepareData(path('a.jsonl'), tokenizer, { maxLength: 5, seed: 3 })
    assert.equal(
      [data.train, data.validation, data.test].map(part => part.examples.length),
      [80, 10, 10],
    )
    assert.equal(data.labels!.names, ['bad', 'good'])
    assert.is(data.choice.problem, 'single')
    assert.equal(data.head, { task: 'sequence-classification', problem: 'single', labels: ['bad', 'good'] })
    assert.ok(data.notices.some(notice => /split 0\.8\/0\.1\/0\.1 by seed 3, stratified: 80\/10\/10 rows/.test(notice)))
    assert.ok(data.notices.some(notice => /\d+ of 100 examples truncated to 5 tokens/.test(notice)))
    const again = await splitData(path('a.jsonl'), { seed: 3 })
    assert.is(again.splitHash, data.splitHash)
    assert.is.not((await splitData(path('a.jsonl'), { seed: 4 })).splitHash, data.splitHash)
  }))

test('splits of a folder are kept; a missing validation is cut from train', () =>
  withFiles({ 'train.jsonl': reviews(90), 'test.jsonl': reviews(10, 85) }, async path => {
    const data = await splitData(path('.'), { duplicates: 'drop' })
    assert.is(data.splits.test.length, 10)
    assert.is(data.duplicates.trainTest + data.duplicates.validationTest, 5)
    assert.is(data.splits.train.length + data.splits.validation.length, 85)
    assert.ok(data.splits.validation.length >= 8)
  }))

test('tags of jsonl rows become IOB2 with a notice', async () => {
  const train = toRows([{ tokens: ['a', 'b'], tags: ['I-X', 'I-X'] }])
  const data = await splitData({ train, validation: train })
  assert.equal(data.splits.train.at(0)!.values.tags, ['B-X', 'I-X'])
  assert.ok(data.notices.some(notice => /converted from IOB1 to IOB2/.test(notice)))
  assert.equal(data.labels!.names, ['B-X', 'I-X'])
})

test('an inspection describes columns, labels and lengths', () => {
  const rows = toRows([
    { text: 'ab', label: 'x', extra: null },
    { text: 'AB ', label: 'y' },
    { text: 'abcd', label: 'x' },
  ])
  const found = inspectData(rows)
  assert.equal(found.columns[2], { name: 'extra', types: { null: 1 }, missing: 2, example: 'null' })
  assert.equal(found.labels, [
    { label: 'x', count: 2, share: 2 / 3 },
    { label: 'y', count: 1, share: 1 / 3 },
  ])
  assert.equal([found.lengths.unit, found.lengths.max, found.duplicates, found.rows], ['characters', 4, 1, 3])
  assert.is(inspectData(rows, { tokenizer }).lengths.unit, 'tokens')
  const tagged = inspectData(toRows([{ tokens: ['a', 'b'], tags: ['O', 'I-X'] }]))
  assert.equal([tagged.scheme, tagged.lengths.unit, tagged.lengths.max], ['IOB1', 'words', 2])
  assert.is(JSON.parse(JSON.stringify(found)).rows, 3)
})

test('wnut17: counts, labels, alignment', async () => {
  const path = shared('data/wnut17')
  const weights = shared('weights/minibert-own')
  if (!path || !weights) return console.log('skipped: data/wnut17 or weights/minibert-own is absent')
  const data = await prepareData(path, await loadTokenizer(weights), { maxLength: 160 })
  assert.equal(
    [data.train, data.validation, data.test].map(part => part.examples.length),
    [3394, 1009, 1287],
  )
  assert.is(data.choice.task, 'token-classification')
  assert.is(data.labels!.names.length, 13)
  assert.is(data.labels!.names[0], 'O')
  for (const { examples, lostWords } of [data.train, data.validation, data.test]) {
    let [words, labelled] = [0, 0]
    for (const example of examples) {
      words += example.words!.length
      labelled += (example.label as Int32Array).filter(id => id >= 0).length
    }
    assert.is(labelled + lostWords, words)
  }
})

test('clinc150: counts and classes', async () => {
  const path = shared('data/clinc150')
  if (!path) return console.log('skipped: data/clinc150 is absent')
  const { splits, labels, choice } = await splitData(path)
  assert.equal([splits.train.length, splits.validation.length, splits.test.length], [15000, 3000, 4500])
  assert.is(labels!.names.length, 150)
  assert.is(choice.problem, 'single')
})

test.run()
