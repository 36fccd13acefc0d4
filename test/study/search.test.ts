// Spaces, samplers, importance: what a search draws from, how, and what it says of it.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { uniformStream } from '../../lib/nn/init.ts'
import { importanceOf } from '../../lib/study/importance.ts'
import type { Choice } from '../../lib/study/journal.ts'
import { type Sampler, suggest, type Tried } from '../../lib/study/samplers.ts'
import { defaultSpace, gridOf, parseSpace, type Space, shareOf, valueAt } from '../../lib/study/space.ts'
import { median } from '../../lib/study/statistics.ts'

test('a space as it is written', () => {
  const space = parseSpace(
    {
      method: ['lora', 'ia3'],
      lr: { from: 1e-4, to: 1e-2, scale: 'log' },
      epochs: { from: 2, to: 4 },
      r: [4, 8],
      warmup: null,
    },
    'lora',
  )
  assert.equal(space.lr, { name: 'FloatDistribution', attributes: { step: null, low: 1e-4, high: 1e-2, log: true } })
  assert.equal(space.epochs, { name: 'IntDistribution', attributes: { log: false, step: 1, low: 2, high: 4 } })
  assert.equal(space.r, { name: 'CategoricalDistribution', attributes: { choices: [4, 8] } })
  assert.is(space.warmup!.name, 'FloatDistribution', "nothing takes the row's own range")
  assert.equal(Object.keys(defaultSpace('lora')), ['lr', 'r', 'dropout'])
  assert.equal(Object.keys(defaultSpace('head')), ['lr'])
})

test('what is wrong in a space is told by name', () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{}, /^space: is empty/],
    [{ learning_rate: [1] }, /^space: "learning_rate" is not searched \(here it is "lr"\)/],
    [{ rr: [1] }, /^space: "rr" is not searched/],
    [{ seed: [1, 2] }, /^space: "seed" is not searched/],
    [{ lr: [] }, /^space: lr has no values/],
    [{ lr: [0.1, 'fast'] }, /^space: lr: "fast" is no value of it/],
    [{ r: [4, 4] }, /^space: r repeats a value/],
    [{ lr: { from: 1, to: 0.1 } }, /^space: lr from 1 to 0.1 is no range/],
    [{ lr: { from: 0, to: 1, scale: 'log' } }, /^space: lr from 0 to 1 is no range/],
    [{ lr: { from: 0.1, to: 1, scale: 'square' } }, /^space: lr: scale is square/],
    [{ lr: { min: 0.1 } }, /^space: lr: there is no "min"/],
    [{ schedule: { from: 1, to: 2 } }, /^space: schedule: 1 is no value of it/],
    [{ method: ['lorra'] }, /"lorra" is unknown/],
    [{ lr: 3 }, /^space: lr is 3; write a list of values/],
  ]
  for (const [written, message] of cases)
    assert.throws(
      () => parseSpace(written, 'lora'),
      (error: Error) =>
        message.test(error.message) || assert.unreachable(`${JSON.stringify(written)}: ${error.message}`),
    )
})

const SPACE: Space = parseSpace(
  {
    lr: { from: 1e-4, to: 1e-2, scale: 'log' },
    epochs: { from: 1, to: 20 },
    schedule: ['linear', 'cosine', 'constant'],
  },
  'lora',
)

test('values lie in their range, evenly; places and values agree', () => {
  const { lr, epochs, schedule } = SPACE as Record<string, Space[string]>
  assert.equal(
    [0, 0.5, 1].map(share => valueAt(lr!, share)),
    [1e-4, 1e-3, 1e-2],
  )
  const counts = new Map<Choice, number>()
  for (let i = 0; i < 2000; i++) {
    const value = valueAt(epochs!, (i + 0.5) / 2000)
    counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  assert.equal([counts.size, new Set(counts.values())], [20, new Set([100])])
  assert.is(valueAt(schedule!, 0.999), 'constant')
  for (const share of [0, 0.25, 0.7, 1]) assert.ok(Math.abs(shareOf(lr!, valueAt(lr!, share)) - share) < 1e-3)
})

test('a grid has every combination once, then ends', () => {
  const grid = gridOf(
    parseSpace({ lr: { from: 1e-4, to: 1e-2, scale: 'log' }, r: [4, 8], epochs: { from: 1, to: 2 } }, 'lora'),
  )
  assert.is(grid.length, 12)
  assert.is(new Set(grid.map(each => JSON.stringify(each))).size, 12)
  const space = parseSpace({ r: [4, 8] }, 'lora')
  assert.equal(
    [0, 1, 2].map(i => suggest('grid', space, [], 0, i)),
    [{ r: 4 }, { r: 8 }, undefined],
  )
})

/** Best at lr 1e-3, 7 epochs, cosine. */
const worthOf = ({ lr, epochs, schedule }: Record<string, Choice>) =>
  -((Math.log10(Number(lr)) + 3) ** 2) - ((Number(epochs) - 7) / 10) ** 2 - (schedule === 'cosine' ? 0 : 0.3)

function search(sampler: Sampler, seed: number, trials: number): Tried[] {
  const tried: Tried[] = []
  for (let i = 0; i < trials; i++) {
    const params = suggest(sampler, SPACE, tried, seed, i)!
    tried.push({ params, worth: worthOf(params), isPruned: false })
  }
  return tried
}

test('TPE finds more than drawing at random, and the same again for a seed', () => {
  const best = (sampler: Sampler) =>
    median(Array.from({ length: 21 }, (_, seed) => Math.max(...search(sampler, seed, 40).map(({ worth }) => worth!))))
  const [tpe, random] = [best('tpe'), best('random')]
  assert.ok(tpe > 0.25 * random, `TPE ${tpe}, random ${random}: at most a quarter as far from the best`)
  assert.equal(search('tpe', 3, 20), search('tpe', 3, 20))
  assert.not.equal(search('tpe', 3, 20), search('tpe', 4, 20))
})

test('TPE keeps away from what diverged or ended early', () => {
  const tried = search('random', 1, 30).map(each => {
    const high = Number(each.params.lr) > 1e-3
    return { ...each, worth: high ? Number.NEGATIVE_INFINITY : each.worth, isPruned: false }
  })
  const drawn = Array.from({ length: 40 }, (_, i) => Number(suggest('tpe', SPACE, tried, 1, 30 + i)!.lr))
  assert.ok(drawn.filter(lr => lr > 1.5e-3).length <= 4, `${drawn}`)
  for (const lr of drawn) assert.ok(lr >= 1e-4 && lr <= 1e-2)
})

test('importance: the parameter that makes the difference, and none by chance', () => {
  const next = uniformStream(5, 'importance')
  const rows = Array.from({ length: 200 }, () => ({
    lr: valueAt(SPACE.lr!, next()),
    schedule: valueAt(SPACE.schedule!, next()),
  }))
  const scores = rows.map(({ lr }) => -Math.abs(Math.log10(Number(lr)) + 2) + 0.01 * next())
  const of = (name: 'lr' | 'schedule') =>
    importanceOf(
      SPACE[name]!,
      rows.map(row => row[name]),
      scores,
    )
  assert.ok(of('lr') > 0.85, `${of('lr')}`)
  assert.ok(of('schedule') < 0.03, `${of('schedule')}`)
  assert.is(importanceOf(SPACE.lr!, [1e-3], [1]), 0)
})

test.run()
