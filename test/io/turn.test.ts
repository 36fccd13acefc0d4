// Long work on the thread of the event loop lets it have its turns, and comes to the same with and without.

import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toRows } from '../../lib/data/row.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { atOnce, inTurns, type Pieces, turns } from '../../lib/io/turn.ts'
import { prepareData } from '../../lib/tasks/prepare.ts'
import { textBaselineOf } from '../../lib/tasks/textBaseline.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { tinyModel } from '../train/support.ts'

const wordpiece = await loadTokenizer(join(packageRoot, 'test/golden/tokenizer/wordpiece.json'))

/** Runs work beside a clock that every turn of the event loop advances by an hour's worth of work. */
async function countingTurns<T>(work: () => Promise<T>): Promise<{ result: T; turns: number }> {
  const { now } = performance
  let [time, count, over] = [0, 0, false]
  // Each look at the clock finds a span gone by: a turn is due after every piece that asks.
  performance.now = () => (time += 1000)
  const tick = (): void => {
    count++
    if (!over) setImmediate(tick)
  }
  setImmediate(tick)
  try {
    return { result: await work(), turns: count }
  } finally {
    performance.now = now
    over = true
  }
}

function* sum(count: number): Pieces<number> {
  let total = 0
  for (let i = 0; i < count; i++) {
    total += i
    yield
  }
  return total
}

test('work in turns comes to what it comes to at once, and a turn is due only after a while', async () => {
  assert.is(atOnce(sum(100)), 4950)
  const { result, turns: taken } = await countingTurns(() => inTurns(sum(100)))
  assert.is(result, 4950)
  assert.ok(taken >= 90, `${taken} turns`)
  assert.is(turns()(), undefined)
})

test('data are split, compared and encoded in turns', async () => {
  const rows = toRows(Array.from({ length: 60 }, (_, i) => ({ text: `the word ${i}`, label: i % 2 ? 'a' : 'b' })))
  const options = { maxLength: 8 }
  const { result, turns: taken } = await countingTurns(() => prepareData({ train: rows }, wordpiece, options))
  // A row is met when duplicates are sought, when its split is hashed and when it is encoded.
  assert.ok(taken >= 3 * 50, `${taken} turns`)
  assert.is(result.splitHash, (await prepareData({ train: rows }, wordpiece, options)).splitHash)
})

test('the row of TF-IDF is fitted in turns', async () => {
  using model = tinyModel()
  const examples = Array.from({ length: 60 }, (_, i) => ({
    ids: Int32Array.of(1),
    label: i % 3,
    truncated: false,
    row: { values: { text: ['low wet', 'dull', 'high dry'][i % 3] }, file: '', line: 1 },
  }))
  const work = () => textBaselineOf(model, { text: 'text' }, examples, examples)
  const { result, turns: taken } = await countingTurns(work)
  assert.equal(result, await work())
  assert.ok(taken >= 4 * 60, `${taken} turns`)
})

test.run()
