import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import { toRow } from '../../lib/data/row.ts'
import { compacting } from '../../lib/data/slab.ts'

const row = toRow({}, 1)
const ints = (...values: number[]) => Int32Array.from(values)

test('compact examples are equal, and share memory with their neighbours', () => {
  const compact = compacting()
  const words = { words: ['a', 'b'], wordIds: ints(-1, 0, 1), asked: ints(1) }
  const given: Example[] = [
    { ids: ints(1, 2, 3), typeIds: ints(0, 1, 1), label: 2, truncated: true, row },
    { ids: ints(4), label: Float32Array.of(0, 1), truncated: false, row },
    { ids: ints(5, 6, 7), label: ints(-100, 1, 0), truncated: false, row, ...words },
    { ids: ints(8, 9), target: ints(1, 2, 3), label: ints(1, 2, 3), truncated: false, row },
    { ids: new Int32Array(100_000).fill(3), truncated: false, row },
    { ids: ints(), truncated: false, row },
  ]
  const kept = given.map(compact)
  for (const [i, example] of given.entries())
    for (const key of ['ids', 'typeIds', 'target', 'label', 'words', 'wordIds', 'asked', 'truncated', 'row'] as const)
      assert.equal(kept[i]![key], example[key], `${i} ${key}`)
  assert.is(kept[0]!.ids.buffer, kept[1]!.ids.buffer)
  assert.is.not(kept[4]!.ids.buffer, kept[0]!.ids.buffer)
})

test('token types of 0 and labels that are the ids take no place of their own', () => {
  const ids = ints(1, 2)
  const { ids: kept, typeIds, label } = compacting()({ ids, typeIds: ints(0, 0), label: ids, truncated: false, row })
  assert.is(typeIds, undefined)
  assert.is(label, kept)
})

test('slabs are filled up and begun anew', () => {
  const compact = compacting()
  const kept = Array.from({ length: 200 }, (_, i) =>
    compact({ ids: new Int32Array(4000).fill(i), truncated: false, row }),
  )
  for (const [i, { ids }] of kept.entries()) assert.ok(ids.length === 4000 && ids.every(id => id === i))
  assert.is(new Set(kept.map(({ ids }) => ids.buffer)).size, 13)
})

test.run()
