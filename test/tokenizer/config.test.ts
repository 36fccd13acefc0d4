// tokenizer_config.json, and folders without tokenizer.json, as transformers 5 reads them.

import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { rejects } from '../data/support.ts'
import { temporaryFolder } from '../support/temporary.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))
const read = (name: string) => JSON.parse(readFileSync(join(golden, name), 'utf8'))

interface Case {
  files: string
  config: Record<string, unknown>
  ids: number[][]
  cut: number[]
}
const { texts, cases }: { texts: string[]; cases: Case[] } = read('config.json')

function fill(folder: string, { files, config }: Case): void {
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config))
  if (files === 'vocab.txt') {
    const vocab: Record<string, number> = read('wordpiece.json').model.vocab
    const lines = Object.keys(vocab).sort((a, b) => vocab[a]! - vocab[b]!)
    writeFileSync(join(folder, 'vocab.txt'), `${lines.join('\n')}\n`)
  } else if (files === 'merges.txt') {
    const { vocab, merges } = read('bytelevel.json').model
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify({ ...vocab, '<mask>': 700 }))
    const lines = merges.map((merge: string | string[]) => (typeof merge === 'string' ? merge : merge.join(' ')))
    writeFileSync(join(folder, 'merges.txt'), `#version: 0.2\n${lines.join('\n')}\n`)
  } else copyFileSync(join(golden, `${files}.json`), join(folder, 'tokenizer.json'))
}

for (const each of cases) {
  const { config } = each
  const said = Object.entries(config).filter(([key]) => !key.endsWith('_token') || key.startsWith('add_'))
  test(`${each.files} with ${JSON.stringify(Object.fromEntries(said))}`, async () => {
    const folder = temporaryFolder()
    try {
      fill(folder, each)
      const tokenizer = await loadTokenizer(folder)
      for (const [i, text] of texts.entries()) assert.equal([...tokenizer.encode(text).ids], each.ids[i], text)
      assert.equal([...tokenizer.encode(texts[1]!, { maxLength: 10 }).ids], each.cut)
      const words = texts[1]!.split(' ')
      const { ids, wordIds } = tokenizer.encodeWords(words, { maxLength: 10 })
      assert.is(ids.length, 10)
      const end = tokenizer.truncationSide === 'left' ? Math.max(...wordIds) : Math.min(...wordIds.filter(i => i >= 0))
      assert.is(end, tokenizer.truncationSide === 'left' ? words.length - 1 : 0)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}

test('a class of another model, or with a way of reading that is not known, is refused by name', async () => {
  const folder = temporaryFolder()
  copyFileSync(join(golden, 'bytelevel.json'), join(folder, 'tokenizer.json'))
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'BertTokenizer' }))
  await rejects(() => loadTokenizer(folder), 'ERR_UNSUPPORTED', /"BertTokenizer", which makes WordPiece .*"BPE"/)
  const bare = temporaryFolder()
  fill(bare, { files: 'merges.txt', config: { tokenizer_class: 'Qwen2Tokenizer' }, ids: [], cut: [] })
  await rejects(() => loadTokenizer(bare), 'ERR_UNSUPPORTED', /Qwen2Tokenizer/)
})

test('settings of BERT without a class, beside another model, change nothing', async () => {
  // As the files of DeBERTa v3 and ALBERT have them.
  const folder = temporaryFolder()
  copyFileSync(join(golden, 'bytelevel.json'), join(folder, 'tokenizer.json'))
  const [plain, text] = [await loadTokenizer(folder), 'A text, as it is. Día!']
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ do_lower_case: true, vocab_type: 'spm' }))
  assert.equal((await loadTokenizer(folder)).encode(text), plain.encode(text))
})

test('places of tokens and of words point into the text, in UTF-16', async () => {
  const bert = await loadTokenizer(join(golden, 'wordpiece.json'))
  const text = '😀 naïve 𠀇x [MASK]!'
  const { ids, starts, ends } = bert.encode(text, { pair: 'second' })
  const parts = [...ids].map((_, t) => text.slice(starts[t], ends[t]))
  assert.is(parts[0], '')
  assert.is(parts[1], '😀')
  assert.ok(parts.includes('[MASK]') && parts.includes('𠀇') && parts.includes('!'))
  const bytes = await loadTokenizer(join(golden, 'bytelevel.json'))
  const words = ['naïve', '😀x', 'the']
  const found = bytes.encodeWords(words)
  words.forEach((word, w) => {
    const own = [...found.ids.keys()].filter(t => found.wordIds[t] === w)
    assert.is(Math.min(...own.map(t => found.starts[t]!)), 0)
    assert.is(Math.max(...own.map(t => found.ends[t]!)), word.length, word)
  })
})

test.run()
