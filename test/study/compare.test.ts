// Runs of a comparison at once come to what they come to one after another, with the memory they would take alone.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import type { CompareEvent, CompareOptions } from '../../lib/study/compare.ts'
import type { Bench, Outcome, Spec } from '../../lib/study/member.ts'
import { compare } from '../../lib/study/search.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { sequences, tinyModel } from '../train/support.ts'

const examples = { train: sequences(48, 5, 24), validation: sequences(20, 9), test: sequences(12, 10) }
const folder = temporaryFolder()
const benchOf = (storage: 'f32' | 'int8' = 'f32'): Bench => {
  const model = tinyModel({ storage }, { hidden_size: 48, intermediate_size: 96 })
  return { model, examples, options: { epochs: 2, batchSize: 16 } }
}
const choices = (...names: string[]) => names.map(method => ({ method, options: {} }))

const withoutCosts = (spec: Spec, outcome: object) => {
  const { seconds: _, cpuSeconds: __, ...rest } = outcome as Outcome
  return { spec, ...rest }
}

for (const storage of ['f32', 'int8'] as const)
  test(`${storage}: scores, losses and peak memory are those of runs one after another`, async () => {
    const bench = benchOf(storage)
    const live = native.live()
    const asked = { methods: choices('lora', 'ia3', 'head', 'prompt'), seeds: [1, 2, 3], lrs: 3 }
    const started: string[] = []
    const tell = (event: CompareEvent) => {
      if (event.type === 'start') started.push(event.specs.map(({ method }) => method).join(' '))
    }
    const found: object[] = []
    for (const together of [16, 2, 1]) {
      const compared = await compare(bench, {
        ...asked,
        folder: join(folder, `${storage}-${together}`),
        together,
        tell,
      })
      found.push(
        compared.map(({ method, lr, grid, runs }) => ({
          ...{ method, lr },
          grid: grid.map(({ spec, outcome }) => withoutCosts(spec, outcome)),
          runs: runs.map(({ spec, outcome }) => withoutCosts(spec, outcome)),
        })),
      )
    }
    assert.equal(found[0], found[2])
    assert.equal(found[1], found[2])
    assert.is(started[0], 'lora lora lora')
    assert.is(native.live(), live)
    bench.model.dispose()
  })

test('the best of a grid is kept as trained, alone on the model', async () => {
  const bench = benchOf()
  const kept: number[] = []
  const seen: string[] = []
  const asked: CompareOptions & { folder: string } = {
    folder: join(folder, 'kept'),
    methods: choices('lora'),
    seeds: [1, 2],
    lrs: 3,
    keep: async ({ name }, { training }) => {
      const { adapters } = bench.model
      seen.push(...[...adapters.values()].filter(({ isActive }) => isActive).map(each => each.name))
      assert.is(seen.at(-1), name)
      kept.push(training.lr!)
      return { adapterBytes: training.lr }
    },
  }
  const [lora] = await compare(bench, asked)
  assert.is(seen.length, kept.length, 'one adapter at a time')
  assert.is(kept.at(-1), lora!.lr)
  assert.is((lora!.runs[0]!.outcome as { adapterBytes?: number }).adapterBytes, lora!.lr)
  bench.model.dispose()
})

test('runs that are done before a stop stay, also of a method whose grid was under way', async () => {
  const bench = benchOf()
  const stop = new AbortController()
  const out = join(folder, 'stopped')
  const asked = { folder: out, methods: choices('lora', 'head'), seeds: [1], lrs: 3 }
  const tell = (event: CompareEvent) => {
    if (event.type === 'member' && event.member.spec.method === 'head') stop.abort()
  }
  const stopped = await compare(bench, { ...asked, tell, signal: stop.signal }).catch((error: unknown) => error)
  assert.is(stopped, stop.signal.reason)
  const done = readdirSync(join(out, 'members'))
  assert.ok(done.some(name => name.startsWith('head')) && done.filter(name => name.startsWith('lora')).length >= 3)
  let known = 0
  const again = await compare(bench, {
    ...asked,
    resume: true,
    tell: event => {
      if (event.type === 'member' && event.known) known++
    },
  })
  assert.is(known, done.length)
  const whole = await compare(bench, { ...asked, folder: join(folder, 'whole') })
  const scores = (all: typeof again) =>
    all.map(({ grid }) => grid.map(({ spec, outcome }) => withoutCosts(spec, outcome)))
  assert.equal(scores(again), scores(whole))
  bench.model.dispose()
})

test('options that a method refuses end the comparison', async () => {
  const bench = benchOf()
  const methods = [{ method: 'lora', options: { r: 4000 } }]
  const error = await compare(bench, { folder: join(folder, 'refused'), methods, seeds: [1] }).catch(e => e)
  assert.match((error as Error).message, /^r: 4000/)
  assert.is(bench.model.adapters.size, 0)
  bench.model.dispose()
})

test.run()
