import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type BatchOptions, batches, type Step } from '../../lib/data/batches.ts'
import type { Example } from '../../lib/data/example.ts'
import { maskingOf, textBlocks } from '../../lib/data/maskedLm.ts'
import { toRows } from '../../lib/data/row.ts'
import { type Collate, hiddenTokens, sequenceClasses, sequenceNumbers, tokenClasses } from '../../lib/data/targets.ts'
import { random } from '../../lib/random.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { rejects } from './support.ts'

const row = toRows([{}])[0]!
const make = (lengths: readonly number[], label: (i: number) => Example['label'] = i => i): Example[] =>
  lengths.map((n, i) => ({ ids: new Int32Array(n).fill(i + 1), label: label(i), truncated: false, row }))
const collate = sequenceClasses
const rowsOf = (steps: Iterable<Step>) => [...steps].map(step => step.microBatches.map(batch => [...batch.rows]))

test('sequences are packed without padding', () => {
  const examples = make([2, 3, 1])
  const [step] = batches([{ ...examples[0]!, typeIds: Int32Array.of(0, 1) }, ...examples.slice(1)], {
    collate,
    batchSize: 2,
    accumulate: 2,
  })
  const [first, second] = step!.microBatches
  const { targets, ...packed } = first!
  assert.equal(targets!.values, Int32Array.of(0, 1))
  assert.equal(packed, {
    ids: Int32Array.of(1, 1, 2, 2, 2),
    typeIds: Int32Array.of(0, 1, 0, 0, 0),
    cuSeqlens: Int32Array.of(0, 2, 5),
    maxLength: 3,
    rows: Int32Array.of(0, 1),
    offsets: { row: 0, sequence: 0, selected: 0, decoder: 0 },
  })
  assert.equal(second!.offsets, { row: 5, sequence: 2, selected: 2, decoder: 0 })
  assert.equal([step!.total, step!.samples, step!.tokens], [3, 3, 6])
})

test('the weight of a step is that of its supervised targets', () => {
  const total = (collate: Collate, label: (i: number) => Example['label'], options: Partial<BatchOptions> = {}) =>
    batches(make([3, 3, 3], label), { collate, batchSize: 2, accumulate: 2, ...options }).at(0).total
  assert.is(
    total(sequenceClasses, i => i),
    3,
  )
  assert.is(
    total(sequenceClasses, i => i, { classWeights: [0.5, 2, 4] }),
    6.5,
  )
  assert.is(
    total(sequenceNumbers, () => Float32Array.of(0.5)),
    3,
  )
  assert.is(
    total(sequenceNumbers, () => Float32Array.of(0, 1, 0, 1)),
    12,
  )
  assert.is(
    total(tokenClasses, i => Int32Array.of(-100, i, 1)),
    6,
  )
  assert.is(
    total(tokenClasses, i => Int32Array.of(-100, i, 1), { classWeights: [1, 2, 3] }),
    12,
  )
  assert.is(
    total(hiddenTokens, () => undefined),
    0,
  )
})

test('every example is taken once an epoch, in an order of its own', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 200 }),
      fc.record({
        batchSize: fc.integer({ min: 1, max: 9 }),
        accumulate: fc.integer({ min: 1, max: 4 }),
        shuffle: fc.boolean(),
        groupByLength: fc.boolean(),
        seed: fc.nat(),
        epoch: fc.nat(),
      }),
      (lengths, options) => {
        const plan = batches(make(lengths), { ...options, collate })
        const flat = rowsOf(plan).flat(2)
        assert.equal(
          [...flat].sort((a, b) => a - b),
          [...lengths.keys()],
        )
        assert.is(plan.length, Math.ceil(lengths.length / options.batchSize / options.accumulate))
        assert.equal(rowsOf(batches(make(lengths), { ...options, collate })), rowsOf(plan))
        const k = plan.length >> 1
        assert.equal(rowsOf([plan.at(k)]), rowsOf(plan).slice(k, k + 1))
        for (const step of plan) assert.ok(step.microBatches.every(batch => batch.rows.length <= options.batchSize))
      },
    ),
    { numRuns: 100 },
  )
  const epochs = [0, 1].map(epoch =>
    String(rowsOf(batches(make(Array(50).fill(1)), { batchSize: 5, shuffle: true, epoch, collate }))),
  )
  assert.is.not(epochs[0], epochs[1])
  assert.equal(rowsOf(batches(make([1, 1, 1]), { batchSize: 2, collate })), [[[0, 1]], [[2]]])
})

test('grouping puts like lengths together, dropLast leaves a short step out', () => {
  const lengths = Array.from({ length: 640 }, (_, i) => 1 + ((i * 37) % 100))
  const spread = (groupByLength: boolean) => {
    let sum = 0
    for (const { microBatches } of batches(make(lengths), {
      batchSize: 8,
      shuffle: true,
      groupByLength,
      seed: 3,
      collate,
    }))
      for (const { cuSeqlens, maxLength } of microBatches) sum += maxLength * (cuSeqlens.length - 1)
    return sum / lengths.reduce((a, b) => a + b, 0)
  }
  assert.ok(spread(true) < 1.15, String(spread(true)))
  assert.ok(spread(false) > 1.5)
  const plan = batches(make(Array(10).fill(1)), { batchSize: 2, accumulate: 2, dropLast: true, collate })
  assert.equal(rowsOf(plan), [
    [
      [0, 1],
      [2, 3],
    ],
    [
      [4, 5],
      [6, 7],
    ],
  ])
})

test('a budget of tokens is kept in every epoch, whose steps are as many and of the same lengths', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 200 }),
      fc.record({
        batchTokens: fc.integer({ min: 30, max: 150 }),
        accumulate: fc.integer({ min: 1, max: 4 }),
        shuffle: fc.boolean(),
        groupByLength: fc.boolean(),
        seed: fc.nat(),
      }),
      (lengths, options) => {
        const epochs = [0, 1].map(epoch => batches(make(lengths), { ...options, epoch, collate }))
        assert.is(epochs[0]!.length, epochs[1]!.length)
        const taken = epochs.map(plan => rowsOf(plan).flat())
        for (const parts of taken) {
          assert.equal(
            parts.flat().sort((a, b) => a - b),
            [...lengths.keys()],
          )
          const sums = parts.map(rows => rows.reduce((sum, row) => sum + lengths[row]!, 0))
          assert.ok(sums.every(sum => sum <= options.batchTokens))
          // Each takes what the next begins with no more, in the order they were filled.
          if (!options.shuffle)
            for (const [i, rows] of parts.slice(1).entries())
              assert.ok(sums[i]! + lengths[rows[0]!]! > options.batchTokens)
        }
        const spread = (parts: number[][]) => parts.map(rows => String(rows.map(row => lengths[row]))).sort()
        assert.equal(spread(taken[0]!), spread(taken[1]!))
        const [plan] = epochs
        const k = plan!.length >> 1
        assert.equal(rowsOf([plan!.at(k)])[0], rowsOf(plan!)[k])
      },
    ),
    { numRuns: 100 },
  )
  const equal = [0, 1].map(epoch =>
    String(rowsOf(batches(make(Array(50).fill(4)), { batchTokens: 20, shuffle: true, epoch, collate }))),
  )
  assert.is.not(equal[0], equal[1])
})

test('a budget counts all that comes with an example, groups by length on request, and drops a rest', async () => {
  const lengths = Array.from({ length: 640 }, (_, i) => 1 + ((i * 37) % 100))
  const spread = (groupByLength: boolean) => {
    const plan = batches(make(lengths), { batchTokens: 400, shuffle: true, groupByLength, collate })
    const longest = [...plan].flatMap(({ microBatches }) =>
      microBatches.map(({ cuSeqlens, maxLength }) => maxLength * (cuSeqlens.length - 1)),
    )
    return longest.reduce((a, b) => a + b) / lengths.reduce((a, b) => a + b, 0)
  }
  assert.ok(spread(true) < 1.1, String(spread(true)))
  assert.ok(spread(false) > 1.5)
  const said = make([3, 3, 3]).map(example => ({ ...example, target: Int32Array.of(1, 2) }))
  const unlabelled = () => undefined
  assert.equal(rowsOf(batches(said, { batchTokens: 10, collate: unlabelled })), [[[0, 1]], [[2]]])
  const pairs = make([3, 3, 3]).map(example => ({ ...example, other: { ids: Int32Array.of(1, 2, 3, 4) } }))
  assert.equal(rowsOf(batches(pairs, { batchTokens: 14, collate: unlabelled })), [[[0, 1]], [[2]]])
  const rest = make([4, 4, 4, 4, 1])
  assert.equal(rowsOf(batches(rest, { batchTokens: 8, dropLast: true, collate })), [[[0, 1]], [[2, 3]]])
  assert.equal(rowsOf(batches(rest.slice(0, 4), { batchTokens: 8, accumulate: 2, dropLast: true, collate })), [
    [
      [0, 1],
      [2, 3],
    ],
  ])
  const both = { batchSize: 2, batchTokens: 8, collate }
  await rejects(() => batches(rest, both), 'ERR_OPTION', /batchSize: 2, and batchTokens 8; give one of them/)
  await rejects(() => batches(rest, { collate }), 'ERR_OPTION', /give one of them/)
  await rejects(
    () => batches(rest, { batchTokens: 3, collate }),
    'ERR_OPTION',
    /batchTokens: 3, but example 0 has 4 tokens/,
  )
  await rejects(() => batches(rest, { batchTokens: 0, collate }), 'ERR_OPTION', /batchTokens: 0 is not a positive/)
})

test('what cannot be batched is a coded error', async () => {
  await rejects(() => batches([], { batchSize: 1, collate }), 'ERR_DATA', /no examples/)
  await rejects(() => batches(make([1, 0]), { batchSize: 1, collate }), 'ERR_DATA', /example 1 has no tokens/)
  await rejects(() => batches(make([1]), { batchSize: 0, collate }), 'ERR_OPTION', /batchSize: 0/)
  await rejects(() => batches(make([1]), { batchSize: 1, accumulate: 1.5, collate }), 'ERR_OPTION', /accumulate/)
  await rejects(() => batches(make([1]), { batchSize: 1, collate }).at(1), 'ERR_OPTION', /step: 1 is not in \[0, 1\)/)
  await rejects(() => batches(make([1]), { batchSize: 2, dropLast: true, collate }), 'ERR_OPTION', /dropLast/)
  const masked = make([2], () => Int32Array.of(-100, -100))
  await rejects(() => batches(masked, { batchSize: 1, collate: tokenClasses }).at(0), 'ERR_DATA', /all labels masked/)
  const mixed = make([1, 1], i => (i ? 1 : undefined))
  await rejects(() => batches(mixed, { batchSize: 2, collate }).at(0), 'ERR_DATA', /with and without labels/)
})

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))

test('tokens are hidden in the shares of BERT', () => {
  const { apply } = maskingOf(tokenizer)
  const ids = new Int32Array(100_000).map((_, i) => (i % 100 === 0 ? tokenizer.specials.cls! : 50 + (i % 600)))
  const masked = apply({ ids, truncated: false, row }, random(1))
  const label = masked.label as Int32Array
  let [chosen, hidden, kept] = [0, 0, 0]
  for (const [t, id] of label.entries()) {
    if (id === -100) {
      assert.is(masked.ids[t], ids[t])
      continue
    }
    assert.is(id, ids[t])
    assert.not(tokenizer.specialIds.has(id))
    chosen++
    if (masked.ids[t] === tokenizer.specials.mask) hidden++
    else if (masked.ids[t] === id) kept++
    else assert.not(tokenizer.specialIds.has(masked.ids[t]!))
  }
  assert.ok(Math.abs(chosen / 99_000 - 0.15) < 0.005)
  assert.ok(Math.abs(hidden / chosen - 0.8) < 0.01)
  assert.ok(Math.abs(kept / chosen - 0.1) < 0.01)
})

test('whole words are hidden together, and at least one', () => {
  const { ids, wordIds } = tokenizer.encodeWords(['internationalisation', 'of', 'unbelievable', 'tokens'])
  const { apply } = maskingOf(tokenizer, { wholeWord: true, probability: 0.3 })
  for (let seed = 0; seed < 50; seed++) {
    const label = apply({ ids, truncated: false, row }, random(seed)).label as Int32Array
    const words = new Set([...label.keys()].filter(t => label[t] !== -100).map(t => wordIds[t]))
    assert.ok(words.size > 0)
    for (const [t, word] of wordIds.entries()) assert.is(label[t] !== -100, words.has(word))
  }
})

test('masks follow seed, epoch and example, whatever the batches', () => {
  const examples = make(Array(12).fill(40), () => undefined).map(e => ({ ...e, ids: e.ids.map((_, t) => 60 + t) }))
  const masks = (options: Partial<BatchOptions>) => {
    const found = new Map<number, string>()
    const fixed = { batchSize: 3, transform: maskingOf(tokenizer), collate: hiddenTokens }
    for (const { microBatches } of batches(examples, { ...fixed, ...options }))
      for (const { ids, cuSeqlens, rows } of microBatches)
        for (const [i, r] of rows.entries()) found.set(r, String(ids.subarray(cuSeqlens[i], cuSeqlens[i + 1])))
    return JSON.stringify([...found].sort(([a], [b]) => a - b))
  }
  assert.is(masks({ seed: 4 }), masks({ seed: 4, batchSize: 5, accumulate: 2, shuffle: true }))
  assert.is.not(masks({ seed: 4 }), masks({ seed: 5 }))
  assert.is.not(masks({ seed: 4 }), masks({ seed: 4, epoch: 1 }))
  // These draws are part of what a seed promises.
  const fixed = { batchSize: 3, transform: maskingOf(tokenizer), collate: hiddenTokens, seed: 4, epoch: 1 }
  const { ids, targets } = batches(examples, fixed).at(0).microBatches[0]!
  assert.equal([...targets!.rows!], [7, 11, 18, 23, 24, 40, 52, 53, 58, 69, 99, 108, 110, 114])
  const seen = Array.from(targets!.rows!, t => ids[t])
  assert.equal(seen, [4, 4, 4, 4, 4, 60, 525, 4, 4, 4, 79, 681, 4, 4])
})

test('long texts are cut into blocks without losing a token', async () => {
  const texts = ['the quick brown fox jumps over the lazy dog. '.repeat(5), 'one two', '', 'it is raining hard today']
  const rows = toRows(texts.map(text => ({ text })))
  const { cls, sep } = tokenizer.specials
  const inner = (blocks: Iterable<Example>) =>
    [...blocks].map(({ ids }) => {
      assert.equal([ids[0], ids.at(-1)], [cls, sep])
      return [...ids.subarray(1, -1)]
    })
  const across = inner(textBlocks(rows, 'text', tokenizer, { length: 16 }))
  const whole = texts.filter(Boolean).map(text => tokenizer.tokens(text))
  assert.equal(
    across.flat(),
    whole.flatMap((ids, i) => (i ? [sep!, ...ids] : ids)),
  )
  assert.ok(across.slice(0, -1).every(block => block.length === 14))
  const apart = inner(textBlocks(rows, 'text', tokenizer, { length: 16, across: false }))
  assert.equal(apart.flat(), whole.flat())
  assert.is(
    apart.length,
    whole.reduce((sum, ids) => sum + Math.ceil(ids.length / 14), 0),
  )
  await rejects(() => [...textBlocks(rows, 'text', tokenizer, { length: 2 })], 'ERR_OPTION', /length: 2/)
  await rejects(() => maskingOf(tokenizer, { probability: 0 }), 'ERR_OPTION', /share/)
})

test.run()
