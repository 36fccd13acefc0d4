// What words alone tell: the same each time, right where words tell, silent where there is no text or class.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import { Dataset } from '../../lib/data/list.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { atOnce } from '../../lib/io/turn.ts'
import { tfidf } from '../../lib/metrics/tfidf.ts'
import { textBaselineOf, textBaselineText } from '../../lib/tasks/textBaseline.ts'
import { TAGS, tinyModel } from '../train/support.ts'

const example = (text: unknown, label: number): Example => ({
  ids: Int32Array.of(1),
  label,
  truncated: false,
  row: { values: { text, other: 'x' }, file: '', line: 1 },
})
const WORDS = ['low wet', 'dull', 'high dry']
const examples = (count: number) =>
  Array.from({ length: count }, (_, i) => example(`${WORDS[i % 3]} day ${i % 7}`, i % 3))

test('words that tell a class are found, and twice gives the same', async () => {
  using model = tinyModel()
  const found = await textBaselineOf(model, { text: 'text' }, examples(60), examples(21))
  assert.equal(found, { accuracy: 1, macroF1: 1 })
  const noise = examples(60).map((one, i) => ({ ...one, label: (i * 7 + (i >> 2)) % 3 }))
  const first = await textBaselineOf(model, { text: 'text' }, noise, examples(21))
  assert.equal(await textBaselineOf(model, { text: 'text' }, noise, examples(21)), first)
  assert.ok(first!.accuracy < 1)
})

test('the second text of a pair counts', async () => {
  using model = tinyModel()
  const pairs = examples(60).map(one => ({
    ...one,
    row: { ...one.row, values: { a: 'same', b: one.row.values.text } },
  }))
  assert.is((await textBaselineOf(model, { text: 'a', text2: 'b' }, pairs, pairs))!.accuracy, 1)
})

test('no texts, tags or no examples: nothing is claimed', async () => {
  using model = tinyModel()
  using tagger = tinyModel({ task: 'token-classification', labels: TAGS })
  const numbers = [example(3, 0), example(4, 1)]
  assert.is(await textBaselineOf(model, {}, examples(9), examples(3)), undefined)
  assert.is(await textBaselineOf(model, { text: 'text' }, numbers, numbers), undefined)
  assert.is(await textBaselineOf(model, { text: 'text' }, [], examples(3)), undefined)
  assert.is(await textBaselineOf(tagger, { text: 'text' }, examples(9), examples(3)), undefined)
})

test('of any number of labels a text, a model each, as scikit-learn', async () => {
  interface Golden {
    labels: string[]
    train: [string, number[]][]
    test: [string, number[]][]
    accuracy: number
    microF1: number
    macroF1: number
  }
  const path = join(packageRoot, 'test/golden/metrics/textBaseline.json')
  const golden = JSON.parse(readFileSync(path, 'utf8')) as Golden
  using model = tinyModel({ problem: 'multi', labels: golden.labels })
  const labelled = (rows: Golden['train']) =>
    rows.map(([text, label]) => ({ ...example(text, 0), label: Float32Array.from(label) }))
  const found = (await textBaselineOf(model, { text: 'text' }, labelled(golden.train), labelled(golden.test)))!
  for (const name of ['accuracy', 'microF1', 'macroF1'] as const)
    assert.ok(
      Math.abs(found[name]! - golden[name]) < 1e-12,
      `${name}: ${found[name]}, scikit-learn has ${golden[name]}`,
    )
  assert.match(textBaselineText(found, String), /accuracy .*, F1 \(micro\) .*, F1 \(macro\) /)
})

test('of millions of rows a part is read', async () => {
  using model = tinyModel()
  class Many extends Dataset<Example> {
    readonly length = 3_000_000
    reads = 0

    protected get(i: number): Example {
      this.reads++
      return example(WORDS[(i >> 4) % 3], (i >> 4) % 3)
    }
  }
  const many = new Many()
  const found = (await textBaselineOf(model, { text: 'text' }, many, examples(21)))!
  assert.equal(found, { accuracy: 1, macroF1: 1, part: { rows: 100_000, of: 3_000_000, terms: 7 } })
  assert.match(textBaselineText(found, String), /\(fitted on 100000 of 3000000 rows, 7 terms\): accuracy 1/)
  assert.ok(many.reads < 500_000, `${many.reads} reads`)
})

test('the most frequent terms are kept, in their order', () => {
  const x = atOnce(atOnce(tfidf(['aa bb', 'bb cc', 'cc bb'], 2))(['aa bb cc']))
  assert.is(x.width, 2)
  assert.is(x.columns.length, 2, 'bb and cc; aa stands in one text')
})

test.run()
