// Runs of a study at once come to what they come to one after another, and halving frees what it ends.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { halveAll } from '../../lib/study/halving.ts'
import type { Study, Trial } from '../../lib/study/journal.ts'
import { type Bench, type Outcome, runMember, type Spec } from '../../lib/study/member.ts'
import { type Ended, runMembers, type Together, type Validated } from '../../lib/study/members.ts'
import { compare, sweep } from '../../lib/study/search.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { sequences, tinyModel } from '../train/support.ts'

const examples = { train: sequences(48, 5, 24), validation: sequences(20, 9), test: sequences(12, 10) }
const options = { epochs: 3, batchSize: 16 }
const folder = temporaryFolder()
const open = () => tinyModel({}, { hidden_size: 48, intermediate_size: 96 })

const SPECS: Spec[] = [
  { method: 'lora', options: { r: 8, dropout: 0.1 }, training: { lr: 5e-3 }, seed: 1 },
  { method: 'lora', options: { r: 2, targetModules: 'all-linear' }, training: { lr: 1e-2, epochs: 2 }, seed: 2 },
  { method: 'lora', options: { r: 4000 }, training: {}, seed: 1 },
  { method: 'lora', options: { r: 4 }, training: { lr: 1e30 }, seed: 1 },
  { method: 'ia3', options: {}, training: { batchSize: 8 }, seed: 1 },
  { method: 'full', options: {}, training: { lr: 1e-4 }, seed: 1 },
  { method: 'prompt', options: { numVirtualTokens: 2 }, training: {}, seed: 1 },
  { method: 'lora', options: { r: 4 }, training: { lr: 1e-3, warmup: -1 }, seed: 1 },
]

function collecting(results: Map<number, Ended>, more: Partial<Together> = {}): Together {
  return {
    validated: async () => new Set(),
    ended: async (index, outcome) => void results.set(index, outcome),
    ...more,
  }
}

const withoutCosts = (ended: Ended) => {
  const { seconds, cpuSeconds, peakBytes: _, ...rest } = ended as Ended & { peakBytes?: number }
  assert.ok(seconds >= 0 && cpuSeconds >= 0)
  return rest
}

test('each comes to what it comes to alone: losses, metrics, failures', async () => {
  const model = open()
  const bench: Bench = { model, examples, options }
  const live = native.live()
  const results = new Map<number, Ended>()
  await runMembers(bench, SPECS, collecting(results))
  assert.is(native.live(), live)
  assert.is(model.adapters.size, 0)
  for (const [i, spec] of SPECS.entries()) {
    const alone = await runMember(bench, spec).catch(error => ({
      failed: (error as Error).message,
      lr: undefined,
      seconds: 0,
      cpuSeconds: 0,
    }))
    assert.equal(withoutCosts(results.get(i)!), withoutCosts(alone), `${spec.method} ${i}`)
  }
  model.dispose()
})

test('runs are judged together at each validation; those that end there free their memory', async () => {
  const model = open()
  const rates = [1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 2e-2]
  const specs = rates.map((lr): Spec => ({ method: 'lora', options: { r: 8 }, training: { lr }, seed: 1 }))
  const results = new Map<number, Ended>()
  const seen: (readonly Validated[])[] = []
  const live: number[] = []
  const together = collecting(results, {
    validated: async all => {
      seen.push(all)
      live.push(native.live())
      return new Set(all.filter(({ index, count }) => count === 1 && index < 4).map(({ index }) => index))
    },
  })
  await runMembers({ model, examples, options }, specs, together)
  assert.equal(
    seen.map(all => all.map(({ index, count }) => `${index}@${count}`).join(' ')),
    ['0@1 1@1 2@1 3@1 4@1 5@1', '4@2 5@2', '4@3 5@3'],
  )
  const [before, after] = live
  const base = native.live()
  assert.is(after! - base, (before! - base) / 3, 'two of six are left, and the tensors of two')
  assert.equal(
    [...results].toSorted(([a], [b]) => a - b).map(([, each]) => 'pruned' in each),
    [true, true, true, true, false, false],
  )
  model.dispose()
})

test('comparing and searching are functions', async () => {
  const model = open()
  const live = native.live()
  const bench: Bench = { model, examples, options: { ...options, epochs: 2 } }
  const journal = join(folder, 'study.log')
  const given = { journal, space: { lr: [1e-3, 1e-2], r: [2, 4], method: ['lora', 'ia3'] }, sampler: 'grid' } as const
  const { best, spec, study } = await sweep(bench, given)
  assert.is(study.trials.length, 8)
  assert.ok(study.trials.every(({ state }) => state === 'complete' || state === 'pruned'))
  assert.is('r' in spec.options, best.params.method === 'lora')
  const again = (await runMember(bench, spec)) as Outcome
  assert.is(again.validation!.accuracy, best.values![0])
  const methods = ['lora', 'head'].map(method => ({ method, options: {} }))
  const asked = { folder: join(folder, 'compare'), methods, seeds: [1, 2], lrs: 1 }
  const compared = await compare(bench, asked)
  assert.equal(
    compared.map(({ method, runs }) => [method, runs.length]),
    [
      ['lora', 2],
      ['head', 2],
    ],
  )
  assert.equal(await compare(bench, { ...asked, resume: true }), compared)
  assert.is(native.live(), live)
  model.dispose()
})

test('trials that come to a rung at once are each judged among all of them', () => {
  const trial = (id: number): Trial =>
    ({ id, number: id, systemAttrs: {}, intermediate: new Map(), state: 'running' }) as unknown as Trial
  const trials = Array.from({ length: 6 }, (_, i) => trial(i))
  const study = { trials, direction: 'maximize' } as unknown as Study
  const at = trials.map(each => ({ trial: each, count: 1, value: each.id }))
  const judged = halveAll(study, at)
  assert.equal(
    judged.map(({ prune }) => prune),
    [true, true, true, true, false, false],
  )
  for (const { attrs } of judged) assert.is(attrs[0]![0], 'completed_rung_0')
})

test.run()
