import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { firstPieces, IGNORED } from '../../lib/data/example.ts'
import { labelMap } from '../../lib/data/labels.ts'
import { toRows } from '../../lib/data/row.ts'
import { lengthStatistics } from '../../lib/data/statistics.ts'
import { tokenClasses } from '../../lib/data/targets.ts'
import type { Model } from '../../lib/model.ts'
import { encodeRows, unknownOfText } from '../../lib/tasks/encode.ts'
import { prepareData } from '../../lib/tasks/prepare.ts'
import { classCounts, supervision } from '../../lib/tasks/supervision.ts'
import { alignLabels, tokens } from '../../lib/tasks/tokens.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { rejects } from './support.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))
const labels = labelMap(['no', 'yes'])
const single = { task: 'sequence-classification', problem: 'single' } as const

test('texts and pairs with a label', () => {
  const columns = { text: 'a', text2: 'b', label: 'y' }
  const rows = toRows([
    { a: 'Is it raining?', b: 'Yes', y: 'yes' },
    { a: 'raining hard today raining hard', b: 'Yes, it is raining', y: 'no' },
  ])
  const { examples, truncated } = encodeRows(rows, tokenizer, { ...single, columns, labels, maxLength: 12 })
  assert.equal(
    examples.map(example => example.label),
    [1, 0],
  )
  assert.is(truncated, 1)
  assert.equal([...examples.at(0)!.ids], [...tokenizer.encode('Is it raining?', { pair: 'Yes' }).ids])
  assert.is(examples.at(0)!.typeIds!.at(-1), 1)
  assert.is(examples.at(1)!.ids.length, 12)
  assert.is(examples.at(1)!.row, rows[1])
})

test('several labels become 0/1, numbers stay numbers, labels may be left out', () => {
  const columns = { text: 'text', label: 'y' }
  const spec = { columns, labels, maxLength: 20 }
  const encode = (y: unknown, problem: 'regression' | 'multi') =>
    encodeRows(toRows([{ text: 'a', y }]), tokenizer, { ...spec, ...single, problem }).examples.at(0)!.label
  assert.equal(encode(['yes'], 'multi'), Float32Array.of(0, 1))
  assert.equal(encode([], 'multi'), Float32Array.of(0, 0))
  assert.equal(encode('0.5', 'regression'), Float32Array.of(0.5))
  const row = toRows([{ text: 'a' }])
  assert.is(encodeRows(row, tokenizer, { ...spec, ...single, unlabelled: true }).examples.at(0)!.label, undefined)
})

test('a column that a task needs and nobody names is refused by its part', async () => {
  const tagged = { task: 'token-classification', problem: undefined } as const
  const missing = [
    [single, { label: 'y' }, /columns\.text: the task needs one, and none is named; name it/],
    [tagged, { tags: 'y' }, /columns\.tokens: token-classification needs a column of words/],
    [{ task: 'causal-lm' }, { prompt: 'a' }, /columns\.completion: the task needs one/],
  ] as const
  for (const [task, columns, message] of missing) {
    const encode = () =>
      encodeRows(toRows([{ a: 'b', y: 'no' }]), tokenizer, { ...task, columns, labels, maxLength: 9 })
    await rejects(async () => encode(), 'ERR_OPTION', message)
  }
})

test('tags stand on the first piece of each word', () => {
  const rows = toRows([
    { tokens: ['internationalisation', 'is', '\u200b', 'unbelievable'], tags: ['no', 'yes', 'yes', 'no'] },
  ])
  const spec = { task: 'token-classification', columns: { tokens: 'tokens', tags: 'tags' }, labels } as const
  const { examples } = encodeRows(rows, tokenizer, { ...spec, maxLength: 100 })
  const { ids, wordIds, label } = examples.at(0)!
  const at = firstPieces(wordIds!)
  assert.is(at.length, 4)
  assert.equal(
    at.map(t => (label as Int32Array)[t]),
    [0, 1, 1, 0],
  )
  assert.is((label as Int32Array).filter(id => id !== IGNORED).length, 4)
  assert.is(ids[at[2]!], tokenizer.specials.unk)
  const cut = encodeRows(rows, tokenizer, { ...spec, maxLength: at[1]! + 2 })
  assert.equal([cut.truncated, cut.lostWords], [1, 2])
  assert.equal([...alignLabels(Int32Array.of(-1, 0, 0, 1, -1), [5, 6])], [-100, 5, -100, 6, -100])
})

test('rows that cannot be encoded are told', async () => {
  const tagged = { task: 'token-classification', columns: { tokens: 't', tags: 'g' }, labels, maxLength: 9 } as const
  const text = { ...single, columns: { text: 'a', label: 'y' }, labels, maxLength: 9 }
  const run = (row: object, spec: Parameters<typeof encodeRows>[2]) => () => encodeRows(toRows([row]), tokenizer, spec)
  await rejects(run({ t: ['a', 'b'], g: ['no'] }, tagged), 'ERR_DATA', /row 1: 2 words in "t" and 1 tags in "g"/)
  await rejects(run({ t: [], g: [] }, tagged), 'ERR_DATA', /no words/)
  await rejects(run({ t: 'a', g: ['no'] }, tagged), 'ERR_DATA', /"t" is string, not a list/)
  await rejects(run({ t: ['a'], g: ['noo'] }, tagged), 'ERR_DATA', /"noo" is not a known label \(did you mean "no"/)
  await rejects(run({ t: ['a', null], g: ['no', 'no'] }, tagged), 'ERR_DATA', /"t"\[1\] is null/)
  await rejects(run({ a: null, y: 'no' }, text), 'ERR_DATA', /column "a" is null, not text/)
  await rejects(run({ a: 'x', y: 'maybe' }, text), 'ERR_DATA', /"maybe"/)
  await rejects(run({ a: 'x', y: 'no' }, { ...text, maxLength: 2 }), 'ERR_OPTION', /no room/)
  await rejects(run({ a: 'x', y: 'z' }, { ...text, problem: 'regression' }), 'ERR_DATA', /"z", not a number/)
})

test('statistics of lengths and labels', () => {
  const stats = lengthStatistics([5, 1, 2, 3, 4, 100], 10)
  assert.equal([stats.count, stats.min, stats.max, stats.median, stats.p90], [6, 1, 100, 3, 100])
  assert.ok(Math.abs(stats.mean - 115 / 6) < 1e-12)
  assert.is(stats.histogram.length, 10)
  assert.equal(stats.histogram[0], { from: 1, to: 11, count: 5 })
  assert.is(
    stats.histogram.reduce((sum, bin) => sum + bin.count, 0),
    6,
  )
  assert.is(lengthStatistics([]).count, 0)
  const base = { ids: Int32Array.of(1), truncated: false, row: toRows([{}])[0]! }
  const examples = [
    { ...base, ids: Int32Array.of(1, 2), label: Int32Array.of(-100, 1) },
    { ...base, label: Int32Array.of(-100) },
  ]
  assert.equal(supervision({ head: { collate: tokenClasses } as Model['head'] }, examples), { total: 1, without: 1 })
  assert.equal([...classCounts(tokens, examples, 2)!], [0, 1])
})

test('texts that the vocabulary lacks are told, with how much of them it lacks', async () => {
  const bert = await loadTokenizer(bundled.encoder)
  const labelled = (texts: readonly string[]) => toRows(texts.map((text, i) => ({ text, label: i % 2 ? 'no' : 'yes' })))
  const unknownOf = async (texts: readonly string[]) => {
    const data = await prepareData({ train: labelled(texts), validation: labelled(texts), test: [] }, bert, {
      maxLength: 32,
    })
    return data.notices.find(notice => notice.includes('[UNK]'))
  }
  assert.match(
    (await unknownOf(['这个产品非常好', '质量太差了']))!,
    /^24 of 32 tokens are \[UNK\]: .*; take a model of this language/,
  )
  assert.is(await unknownOf(['This is very good', 'That is bad']), undefined)
  // Of one text more may be missing: a sign among three words.
  const ofText = (text: string) => unknownOfText([bert.encode(text)], bert)
  assert.equal(['这个产品非常好', 'very good 好', 'this is good 好', 'good'].map(ofText), [
    7,
    undefined,
    undefined,
    undefined,
  ])
  assert.is(ofText('good 好'), 1)
  // A token that means something else too, as GPT-2's end of text, tells of no unknown words.
  const shared = { ...bert, specials: { ...bert.specials, eos: bert.specials.unk } } as typeof bert
  assert.is(unknownOfText([bert.encode('这个产品非常好')], shared), undefined)
})

test.run()
