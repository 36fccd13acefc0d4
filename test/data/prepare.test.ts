import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batches } from '../../lib/data/batches.ts'
import { Dataset } from '../../lib/data/list.ts'
import { type Row, toRow, toRows } from '../../lib/data/row.ts'
import { sequenceClasses } from '../../lib/data/targets.ts'
import { inspectData } from '../../lib/tasks/inspect.ts'
import { prepareData, splitData } from '../../lib/tasks/prepare.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { shared } from '../support/shared.ts'
import { withFiles } from './support.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))

test('a data set of the user is read, split, encoded and packed where it lies', async () => {
  let asked = 0
  class Reviews extends Dataset<Row> {
    readonly texts = ['good', 'bad', 'fine']
    get length() {
      return this.texts.length
    }
    protected get(i: number) {
      asked++
      return toRow({ text: this.texts[i]!, label: i % 2 }, i + 1)
    }
  }
  const rows = new Reviews()
  assert.equal(rows.at(-1), { values: { text: 'fine', label: 0 }, file: '', line: 3 })
  assert.is(asked, 1)
  const data = await prepareData({ train: rows, validation: rows.slice(0, 1) }, tokenizer, { maxLength: 8 })
  assert.equal(data.labels!.names, ['0', '1'])
  assert.is(data.splits.train, rows)
  const [step] = batches(data.train.examples, { batchSize: 3, collate: sequenceClasses })
  assert.equal([...step!.microBatches[0]!.targets!.values], [0, 1, 0])
})

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
