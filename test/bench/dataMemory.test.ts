// What a row and an example may take in memory.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { dataMemory } from '../../bench/dataMemory.ts'

test('an example takes at most 200 bytes over its token ids, and a short row as much', async () => {
  const { rows, tokens, bytesPerRow, bytesPerExample } = await dataMemory(20_000)
  assert.is(rows, 20_000)
  assert.ok(tokens > 10 * rows)
  assert.ok(bytesPerRow < 200, `a row takes ${bytesPerRow} bytes`)
  assert.ok(bytesPerExample < 200, `an example takes ${bytesPerExample} bytes over its ids`)
})

test.run()
