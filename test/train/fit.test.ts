// What a finished run says of its length.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { HistoryEntry } from '../../lib/train/events.ts'
import { fitWarnings } from '../../lib/train/fit.ts'

/** Validations at steps 10, 20, …, one an epoch. */
function history(values: readonly (readonly [accuracy: number, loss: number])[]): HistoryEntry[] {
  return values.map(([accuracy, loss], i) => ({
    kind: 'evaluation',
    when: 'epoch',
    split: 'validation',
    step: 10 * (i + 1),
    epoch: i + 1,
    loss,
    metrics: { accuracy, loss },
    seconds: 1,
    samples: 10,
  }))
}

const codes = (...args: Parameters<typeof fitWarnings>) => fitWarnings(...args).map(({ code }) => code)

test('still improving in the last epoch: undertrained, with more epochs as the cure', () => {
  const rising = history([
    [0.5, 1],
    [0.6, 0.9],
    [0.7, 0.8],
  ])
  const [warning] = fitWarnings(rising, 'accuracy', { step: 30 }, 'finished')
  assert.is(warning!.code, 'undertrained')
  assert.match(warning!.message, /accuracy was still improving at the end, from 0.6 to 0.7/)
  assert.match(warning!.cure, /raise epochs to 6/)
  assert.equal(codes(rising, 'loss', { step: 30 }, 'finished'), ['undertrained'], 'a falling loss is improving')
  assert.equal(codes(rising, 'accuracy', { step: 30 }, 'early-stopping'), [])
})

test('loss far above its least, and an earlier step the best: over-fitted', () => {
  const over = history([
    [0.7, 0.5],
    [0.69, 0.6],
    [0.68, 0.9],
  ])
  const [warning] = fitWarnings(over, 'accuracy', { step: 10 }, 'finished')
  assert.is(warning!.code, 'over-fitted')
  assert.match(warning!.message, /from 0.5 at step 10 to 0.9; step 10 is kept/)
})

test('level runs, short ones and ones without validation are told nothing', () => {
  const level = history([
    [0.7, 0.5],
    [0.705, 0.5],
  ])
  assert.equal(codes(level, 'accuracy', { step: 20 }, 'finished'), [])
  assert.equal(codes(level.slice(1), 'accuracy', { step: 20 }, 'finished'), [])
  assert.equal(codes([], 'accuracy', undefined, 'finished'), [])
})

test.run()
