// A thousand files as strangers may write them: a slice of `npm run fuzz`.
// timeout: 600

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { enterFuzz, fuzz } from './fuzz.ts'
import { READERS } from './readers.ts'

const leave = await enterFuzz()
test.after(leave)
const shares = READERS.reduce((sum, { share = 1 }) => sum + share, 0)
const seed = Date.now() % 1e6

for (const reader of READERS)
  test(`${reader.name}: mutated files are read, or are coded errors`, async () => {
    const count = Math.ceil((1000 * (reader.share ?? 1)) / shares)
    const { read, refused, problems } = await fuzz(reader, seed, 0, count)
    assert.equal(problems, [], `seed ${seed}`)
    assert.is(read + refused, count)
  })

test.run()
