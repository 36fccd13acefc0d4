import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import {
  type Collate,
  hiddenTokens,
  nextTokens,
  sequenceClasses,
  sequenceNumbers,
  type Targets,
  tokenClasses,
} from '../../lib/data/targets.ts'
import { rowsRead } from '../../lib/heads/head.ts'
import { likeliestRows, readLikeliest } from '../../lib/heads/likeliest.ts'
import { native } from '../../lib/native.ts'
import { normal } from '../../lib/nn/init.ts'
import { linear } from '../../lib/ops/linear.ts'
import { softmax } from '../../lib/tasks/logits.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'

const NONE = -100
const row = { values: {}, file: 'test', line: 1 }
const examples = (labels: readonly Example['label'][], lengths: readonly number[]): Example[] =>
  labels.map((label, i) => ({ ids: new Int32Array(lengths[i]!).fill(7), label, truncated: false, row }))
const tokens = examples([Int32Array.of(NONE, 4, 5), Int32Array.of(6), Int32Array.of(1, NONE, NONE, 2)], [3, 1, 4])
const batch = { cuSeqlens: Int32Array.of(0, 3, 4, 8) }

const plain = ({ rows, values, width, weight }: Targets) => ({
  rows: rows && [...rows],
  values: [...values],
  width,
  weight,
})

const CASES: [string, Collate, Example[], whole: object, lastTwo: object][] = [
  [
    'a class a sequence',
    sequenceClasses,
    examples([1, 0, 2], [3, 1, 4]),
    { rows: undefined, values: [1, 0, 2], width: 1, weight: 3 },
    { rows: undefined, values: [0, 2], width: 1, weight: 2 },
  ],
  [
    'numbers a sequence',
    sequenceNumbers,
    examples([Float32Array.of(1, 0), Float32Array.of(0, 1), Float32Array.of(2, 2)], [3, 1, 4]),
    { rows: undefined, values: [1, 0, 0, 1, 2, 2], width: 2, weight: 6 },
    { rows: undefined, values: [0, 1, 2, 2], width: 2, weight: 4 },
  ],
  [
    'a class a token',
    tokenClasses,
    tokens,
    { rows: undefined, values: [NONE, 4, 5, 6, 1, NONE, NONE, 2], width: 1, weight: 5 },
    { rows: undefined, values: [6, 1, NONE, NONE, 2], width: 1, weight: 3 },
  ],
  [
    'hidden tokens',
    hiddenTokens,
    tokens,
    { rows: [1, 2, 3, 4, 7], values: [4, 5, 6, 1, 2], width: 1, weight: 5 },
    { rows: [0, 1, 4], values: [6, 1, 2], width: 1, weight: 3 },
  ],
  [
    // The first token of a sequence is learnt from none, least of all from the sequence before it.
    'next tokens',
    nextTokens,
    tokens,
    { rows: [0, 1, 6], values: [4, 5, 2], width: 1, weight: 3 },
    { rows: [3], values: [2], width: 1, weight: 1 },
  ],
]

for (const [name, collate, given, whole, lastTwo] of CASES)
  test(`${name}: targets of a batch, and of a part of it`, () => {
    const targets = collate(given)!
    assert.equal(plain(targets), whole)
    assert.equal(plain(targets.slice(1, 3, batch)), lastTwo)
    assert.is(collate(given.map(({ label: _, ...rest }) => rest)), undefined)
    assert.throws(
      () => collate([given[0]!, { ...given[1]!, label: collate === sequenceClasses ? new Int32Array(1) : 1 }]),
      /a label is (a class|an id for each token), expected .* by this task/,
    )
  })

test('classes have their weights, and labels their number', () => {
  assert.is(sequenceClasses(examples([1, 0, 2], [1, 1, 1]), [0.5, 2, 4])!.weight, 6.5)
  assert.is(tokenClasses(examples([Int32Array.of(NONE, 1, 1)], [3]), [0.5, 2])!.weight, 4)
  assert.throws(() => tokenClasses(examples([Int32Array.of(1, 2)], [3])), /labels: 2 for 3 tokens/)
})

test('a head reads first, last or every token, whatever their ids', () => {
  const packed = { ...batch, ids: new Int32Array(8), maxLength: 4 }
  assert.equal(rowsRead('first', packed), Int32Array.of(0, 3, 4))
  assert.equal(rowsRead('last', packed), Int32Array.of(2, 3, 7))
  assert.is(rowsRead('every', packed), undefined)
})

test('the likeliest of a vocabulary is found in pieces, with its probability', async () => {
  const before = native.live()
  const [N, D, V] = [7, 16, 300]
  const x = Tensor.from(normal(N * D, 3, 1, 'x'), [N, D])
  const w = Tensor.from(normal(V * D, 0.5, 1, 'w'), [V, D])
  const logitsOf = (rows: Tensor) => linear(rows, w, undefined)
  const { read, data } = scope(() => {
    const pieces = likeliestRows(x, V, logitsOf, 3 * 4 * V)
    assert.is(pieces.length, 3)
    return { read: readLikeliest(pieces), data: logitsOf(x).data() }
  })
  const rows = { data: (await data) as Float32Array, columns: V }
  const { ids, probabilities } = await read
  const expected = Array.from({ length: N }, (_, i) => softmax(rows, i))
  assert.equal(
    [...ids],
    expected.map(each => each.indexOf(Math.max(...each))),
  )
  compare(
    'probabilities',
    probabilities,
    expected.map(each => Math.max(...each)),
    { relative: 1e-5 },
  )
  for (const each of [x, w]) each.dispose()
  assert.is(native.live(), before)
})

test.run()
