// Added tokens that overlap, have other ids than the file says, or change under the normalizer, unknown tokens, and
// characters too new for the normal forms, against Python's `tokenizers`: ids, places and decoded texts.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { temporaryFolder } from '../support/temporary.ts'

interface Case {
  tokenizer: object
  answers: [text: string, flat: number[], decoded: string, whole: string][]
}

const golden = fileURLToPath(new URL('../golden/tokenizer/added.json', import.meta.url))
const cases: Case[] = JSON.parse(readFileSync(golden, 'utf8'))

cases.forEach(({ tokenizer, answers }, i) => {
  test(`tokenizer ${i}: ids, places and decoded texts are Python's`, async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
    const loaded = await loadTokenizer(folder)
    for (const [text, flat, decoded, whole] of answers) {
      const { ids, starts, ends } = loaded.encode(text)
      assert.equal(
        [...ids].flatMap((id, t) => [id, starts[t]!, ends[t]!]),
        flat,
        text,
      )
      assert.is(loaded.decode(ids), decoded, text)
      assert.is(loaded.decode(ids, { keepSpecials: true }), whole, text)
    }
  })
})

test.run()
