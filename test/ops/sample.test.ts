// Drawing tokens: frequencies, cuts, and what is reproducible.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { type SampleOptions, sample } from '../../lib/ops/sample.ts'
import { Tensor } from '../../lib/tensor.ts'

/** Ids drawn from rows that all have these logits. */
async function drawn(logits: number[], rows: number, options: Partial<SampleOptions> = {}): Promise<number[]> {
  const all = Float32Array.from({ length: rows * logits.length }, (_, i) => logits[i % logits.length]!)
  const x = Tensor.from(all, [rows, logits.length])
  const ids = sample(x, { seed: 7, step: 0, ...options })
  try {
    return Array.from((await ids.data()) as Int32Array)
  } finally {
    x.dispose()
    ids.dispose()
  }
}

/** Share of each id among `ids`, and the largest difference from `expected` in standard deviations. */
function surprise(ids: number[], expected: number[]): number {
  return Math.max(
    ...expected.map((p, id) => {
      const share = ids.filter(each => each === id).length / ids.length
      return p === 0 ? (share === 0 ? 0 : Infinity) : Math.abs(share - p) / Math.sqrt((p * (1 - p)) / ids.length)
    }),
  )
}

const PROBABILITIES = [0.1, 0.4, 0.2, 0.3]
const LOGITS = PROBABILITIES.map(p => Math.log(p) + 3)

test('tokens come as often as softmax says', async () => {
  const before = native.live()
  assert.ok(surprise(await drawn(LOGITS, 20000), PROBABILITIES) < 4)
  const hot = PROBABILITIES.map(p => p ** 0.5)
  const total = hot.reduce((a, b) => a + b)
  const flat = hot.map(p => p / total)
  assert.ok(surprise(await drawn(LOGITS, 20000, { temperature: 2 }), flat) < 4)
  assert.is(native.live(), before)
})

test('topK and topP leave out what is less likely', async () => {
  const kept = [0, 4 / 7, 0, 3 / 7]
  assert.ok(surprise(await drawn(LOGITS, 20000, { topK: 2 }), kept) < 4)
  // The nucleus holds the token that reaches topP.
  assert.ok(surprise(await drawn(LOGITS, 20000, { topP: 0.6 }), kept) < 4)
  assert.ok(surprise(await drawn(LOGITS, 20000, { topP: 0.75 }), [0, 4 / 9, 2 / 9, 3 / 9]) < 4)
  assert.equal(new Set(await drawn(LOGITS, 100, { topP: 1e-9 })), new Set([1]))
})

test('greedy takes the largest, and of equals the first', async () => {
  assert.equal(await drawn([1, 5, 5, 2], 2, { temperature: 0 }), [1, 1])
  assert.equal(await drawn([1, 5, 5, 2], 2, { topK: 1 }), [1, 1])
  assert.equal(await drawn([-Infinity, Number.NaN, -3, -Infinity], 2), [2, 2])
})

test('seed, step and row decide, and nothing else', async () => {
  const ids = await drawn(LOGITS, 40)
  assert.equal(await drawn(LOGITS, 40), ids)
  assert.not.equal(await drawn(LOGITS, 40, { seed: 8 }), ids)
  assert.not.equal(await drawn(LOGITS, 40, { step: 1 }), ids)
  assert.equal(await drawn(LOGITS, 20, { row: 20 }), ids.slice(20))
})

test('options out of range are refused', async () => {
  const refused: [Partial<SampleOptions>, RegExp][] = [
    [{ temperature: -1 }, /temperature -1/],
    [{ topP: 0 }, /topP 0/],
    [{ topK: -1 }, /topK/],
    [{ seed: -1 }, /seed: -1/],
  ]
  for (const [options, message] of refused) {
    let error: unknown
    await drawn(LOGITS, 1, options).catch((e: unknown) => {
      error = e
    })
    assert.is((error as { code?: string }).code, 'ERR_OPTION')
    assert.match((error as Error).message, message)
  }
})

test.run()
