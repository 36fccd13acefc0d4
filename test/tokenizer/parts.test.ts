// Each kind of part of a tokenizer.json, alone and together, against Python's `tokenizers`: ids and places.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readDecoder } from '../../lib/tokenizer/decoders.ts'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { temporaryFolder } from '../support/temporary.ts'

interface Case {
  name: string
  model: number
  tokenizer: { model: object; post_processor: object | null }
  first: number
  step: number
  answers: number[][]
}
interface Parts {
  texts: string[]
  models: string[]
  cases: Case[]
  decoded: [object, [string[], string][]][]
}

const golden = fileURLToPath(new URL('../golden/tokenizer/parts.json', import.meta.url))
const file = process.env.LOWRANK_PARTS ?? golden
const parts: Parts = JSON.parse(readFileSync(file, 'utf8'))

async function load(json: object): Promise<Tokenizer> {
  const folder = temporaryFolder()
  try {
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
    return await loadTokenizer(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

for (const { name, model, tokenizer, first, step, answers } of parts.cases)
  test(`${name}: ids and places are Python's`, async () => {
    const [vocab, merges] = JSON.parse(parts.models[model]!)
    const loaded = await load({ ...tokenizer, model: { ...tokenizer.model, vocab, ...(merges ? { merges } : {}) } })
    const texts = parts.texts.filter((_, i) => i % step === first)
    const wrong: string[] = []
    texts.forEach((text, i) => {
      const { ids, starts, ends } = loaded.encode(text)
      const found = [...ids].flatMap((id, t) => [id, starts[t]!, ends[t]!])
      if (JSON.stringify(found) !== JSON.stringify(answers[i]))
        wrong.push(
          `${JSON.stringify(text)}\n      got  ${shown(loaded, found)}\n      want ${shown(loaded, answers[i]!)}`,
        )
    })
    if (wrong.length)
      assert.unreachable(`${wrong.length} of ${texts.length} texts differ\n    ${wrong.slice(0, 3).join('\n    ')}`)
  })

function shown(tokenizer: Tokenizer, flat: number[]): string {
  const words: string[] = []
  for (let i = 0; i < flat.length; i += 3) words.push(`${tokenizer.token(flat[i]!)}[${flat[i + 1]},${flat[i + 2]}]`)
  return words.join(' ')
}

test('decoders answer as Python does', () => {
  for (const [decoder, answers] of parts.decoded)
    for (const [tokens, want] of answers)
      assert.is(readDecoder(decoder)(tokens).join(''), want, `${JSON.stringify(decoder)} ${JSON.stringify(tokens)}`)
})

test.run()
