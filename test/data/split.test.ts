import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DuplicateRule, resolveDuplicates, type Splits, splitHash } from '../../lib/data/duplicates.ts'
import { openDataset } from '../../lib/data/open.ts'
import { type Row, toRows } from '../../lib/data/row.ts'
import { parseFractions, splitRows, takeRows } from '../../lib/data/split.ts'
import { atOnce } from '../../lib/io/turn.ts'
import { random } from '../../lib/random.ts'
import { strataOf } from '../../lib/tasks/infer.ts'
import { shared } from '../support/shared.ts'
import { collect, rejects } from './support.ts'

const single = { task: 'sequence-classification', problem: 'single' } as const
const columns = { text: 'text', label: 'label' }
const split = (rows: Row[], seed = 1) => splitRows(rows, strataOf(rows, columns, single), [0.8, 0.1, 0.1], seed)

test('random numbers are those of every platform and version', () => {
  const rng = random(42, 'order', 3)
  assert.equal([rng.next(), rng.next(), rng.below(10), rng.float()], [2352532544, 2498099659, 2, 0.527463208109672])
  assert.equal([...random(7).shuffle(Int32Array.from({ length: 10 }, (_, i) => i))], [8, 6, 1, 0, 4, 3, 2, 7, 5, 9])
  assert.is(random(12n).next(), random(12).next())
  assert.is.not(random(1n << 63n).next(), random(0).next())
})

test('streams and seeds are independent', () => {
  const firsts = new Set<number>()
  for (let seed = 0; seed < 50; seed++)
    for (const stream of ['a', 'b', 'ab']) for (const n of [0, 1]) firsts.add(random(seed, stream, n).next())
  assert.is(firsts.size, 300)
})

test('random numbers are uniform', async () => {
  const rng = random(5)
  const counts = new Float64Array(7)
  let mean = 0
  for (let i = 0; i < 70_000; i++) {
    counts[rng.below(7)]!++
    mean += rng.float() / 70_000
  }
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, String(count))
  assert.ok(Math.abs(mean - 0.5) < 0.005)
  await rejects(() => random(-1), 'ERR_OPTION', /seed: -1/)
  await rejects(() => random(0.5), 'ERR_OPTION', /seed/)
  await rejects(() => random(1n << 64n), 'ERR_OPTION', /seed/)
})

test('fractions are read', async () => {
  assert.equal(parseFractions('0.8/0.1/0.1'), [0.8, 0.1, 0.1])
  assert.equal(parseFractions('0.9,0.1'), [0.9, 0.1, 0])
  for (const text of ['0.8', '0.8/0.1', '1.2/-0.2', 'a/b', '0/1', '.5/.2/.2/.1', ''])
    await rejects(() => parseFractions(text), 'ERR_OPTION', /split: /)
})

test('classes keep their ratios, small ones reach train first', () => {
  const sizes = { big: 700, mid: 250, small: 47, pair: 2, one: 1 }
  const rows = toRows(
    Object.entries(sizes).flatMap(([label, n]) =>
      Array.from({ length: n }, (_, i) => ({ text: `${label}${i}`, label })),
    ),
  )
  const { train, validation, test: held } = split(rows)
  assert.is(train.length + validation.length + held.length, 1000)
  for (const [part, want] of [
    [train, 800],
    [validation, 100],
    [held, 100],
  ] as const) {
    assert.ok(Math.abs(part.length - want) <= 2, `${part.length}`)
    for (const [label, n] of Object.entries(sizes)) {
      const share = part.filter(row => row.values.label === label).length / part.length
      assert.ok(Math.abs(share - n / 1000) <= 0.01, `${label} ${share}`)
    }
  }
  for (const label of ['one', 'pair']) assert.ok(train.some(row => row.values.label === label))
})

const hashOf = (splits: Splits) => atOnce(splitHash(splits))

test('one seed, one split', () => {
  const rows = toRows(Array.from({ length: 200 }, (_, i) => ({ text: `t${i}`, label: i % 3 })))
  assert.is(hashOf(split(rows)), hashOf(split(rows)))
  assert.is.not(hashOf(split(rows, 1)), hashOf(split(rows, 2)))
  assert.match(hashOf(split(rows)), /^[0-9a-f]{16}$/)
})

test('tags, several labels and numbers are stratified by what is rare', () => {
  const tags = toRows([{ t: ['O', 'B-A', 'B-B'] }, { t: ['B-A'] }, { t: ['O'] }])
  assert.equal(strataOf(tags, { tokens: 't', tags: 't' }, { task: 'token-classification' }), ['B', 'A', ''])
  const multi = { ...single, problem: 'multi' } as const
  assert.equal(strataOf(toRows([{ label: ['a', 'b'] }, { label: ['a'] }, { label: [] }]), columns, multi), [
    'b',
    'a',
    '',
  ])
  const numbers = toRows(Array.from({ length: 100 }, (_, label) => ({ label })))
  const deciles = strataOf(numbers, columns, { ...single, problem: 'regression' } as const)
  assert.is(new Set(deciles).size, 10)
  assert.is(deciles.filter(decile => decile === deciles.at(55)).length, 10)
})

test('texts in two splits are reported, dropped or moved', () => {
  const rows = (texts: string[]) => toRows(texts.map(text => ({ text })))
  const splits = {
    train: rows(['A b', 'c', 'c', 'd']),
    validation: rows(['a  B', 'e', 'f']),
    test: rows(['ａ b', 'e', 'g']),
  }
  const texts = (rule: DuplicateRule) => {
    const { splits: found, report } = atOnce(resolveDuplicates(splits, { text: 'text' }, rule))
    assert.equal([report.trainValidation, report.trainTest, report.validationTest, report.within], [1, 1, 2, 1])
    assert.equal([...report.examples].sort(), ['a b', 'e'])
    return [found.train, found.validation, found.test].map(part => part.map(row => row.values.text).join())
  }
  assert.equal(texts('report'), ['A b,c,c,d', 'a  B,e,f', 'ａ b,e,g'])
  assert.equal(texts('drop'), ['c,c,d', 'f', 'ａ b,e,g'])
  assert.equal(texts('move'), ['A b,c,c,d,a  B,ａ b', 'e,f,e', 'g'])
})

test('banking77 is split by class', async () => {
  const path = shared('data/banking77/train.jsonl')
  if (!path) return console.log('skipped: data/banking77 is absent')
  const rows = await collect((await openDataset(path)).train!.rows())
  assert.is(rows.length, 10_003)
  const parts = split(rows)
  const labels = new Set(rows.map(row => row.values.label as string))
  assert.is(labels.size, 77)
  for (const part of Object.values(parts))
    for (const label of labels) {
      const count = (list: readonly Row[]) => list.filter(row => row.values.label === label).length
      assert.ok(Math.abs(count(part) / part.length - count(rows) / rows.length) <= 0.01, label)
    }
  assert.ok(Math.abs(parts.test.length - 1000) <= 3)
})

test('so many rows are taken exactly, also fewer than there are classes', () => {
  const rows = toRows(Array.from({ length: 231 }, (_, i) => ({ text: `t ${i}`, label: `c${i % 77}` })))
  const strata = strataOf(rows, columns, single)
  const taken = (count: number, seed = 1) => takeRows(rows, strata, count, seed)
  for (const count of [1, 10, 77, 100, 230, 231, 500]) assert.is(taken(count).length, Math.min(count, 231))
  assert.is(new Set(taken(77).map(row => row.values.label)).size, 77)
  assert.equal(taken(20), taken(20))
  assert.is.not(JSON.stringify(taken(20)), JSON.stringify(taken(20, 2)))
  const lines = taken(100).map(row => row.line)
  assert.equal(
    lines,
    [...lines].sort((a, b) => a - b),
  )
})

test.run()
