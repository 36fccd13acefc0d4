// The tokenizer of T5: pieces by likelihood, words after a space sign, and the token that ends a text.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { temporaryFolder } from '../support/temporary.ts'

const FOLDER = join(packageRoot, 'test/golden/tokenizer')

interface Answers {
  texts: { ids: number[]; plain: number[]; decoded: string }[]
  cut: number[][]
  pairs: number[][][]
}
interface Encodings {
  texts: string[]
  pairs: [string, string][]
  lengths: (number | null)[]
  old: { normalizers: unknown[]; pre_tokenizer: unknown }
  answers: Record<'new' | 'old', Answers>
}

const read = (name: string) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8'))
const { texts, pairs, lengths, old, answers } = read('t5_encodings.json') as Encodings

function compare(tokenizer: Tokenizer, expected: Answers): void {
  texts.forEach((text, i) => {
    const { ids, plain, decoded } = expected.texts[i]!
    const label = JSON.stringify(text)
    assert.equal([...tokenizer.encode(text).ids], ids, label)
    assert.equal(tokenizer.tokens(text), plain, label)
    assert.is(tokenizer.decode(Int32Array.from(ids)), decoded, label)
  })
  lengths.forEach((length, k) => {
    const maxLength = length ?? undefined
    assert.equal([...tokenizer.encode(texts[4]!, { maxLength }).ids], expected.cut[k], `cut to ${length}`)
    pairs.forEach(([text, pair], i) => {
      const label = `pair ${i} at ${length}`
      assert.equal([...tokenizer.encode(text, { pair, maxLength }).ids], expected.pairs[i]![k], label)
    })
  })
}

test('a T5 tokenizer of transformers 5 answers as Python does', async () => {
  const tokenizer = await loadTokenizer(join(FOLDER, 't5.json'))
  compare(tokenizer, answers.new)
  const { pad, eos, unk, bos } = tokenizer.specials
  assert.equal({ pad, eos, unk, bos }, { pad: 0, eos: 1, unk: 2, bos: undefined })
})

test('and so does one as transformers 4 wrote it', async () => {
  const json = read('t5.json')
  const folder = temporaryFolder()
  try {
    const normalizer = { type: 'Sequence', normalizers: [json.normalizer, ...old.normalizers] }
    const spelled = { ...json, normalizer, pre_tokenizer: old.pre_tokenizer }
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(spelled))
    compare(await loadTokenizer(folder), answers.old)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
