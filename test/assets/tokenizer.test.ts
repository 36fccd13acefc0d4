import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { WordPieceEncoder } from '../../scripts/pretrain/encode.ts'
import { learnPieces } from '../../scripts/pretrain/merges.ts'
import { ENCODER, readVocabulary, SPECIALS, VOCABULARY } from '../../scripts/pretrain/wordpiece.ts'

type Golden = { text: string; ids: number[] }

const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const golden: Golden[] = read(new URL('golden/tokenizer.json', import.meta.url).pathname)
const vocabulary = readVocabulary()

test('the vocabulary starts with the special tokens and has no hole and no doublet', () => {
  assert.is(vocabulary.length, VOCABULARY)
  assert.is(VOCABULARY % 64, 0)
  assert.equal(vocabulary.slice(0, SPECIALS.length), [...SPECIALS])
  assert.is(new Set(vocabulary).size, VOCABULARY)
})

test('the tokenizer reads the files and gives the ids of the Python library', async () => {
  const tokenizer = await loadTokenizer(ENCODER)
  for (const { text, ids } of golden) assert.equal([...tokenizer.encode(text).ids], ids, text)
})

test('the encoder of the pretraining run gives the ids of the Python library', () => {
  const encoder = new WordPieceEncoder(vocabulary)
  for (const { text, ids } of golden) assert.equal(encoder.encode(text), ids.slice(1, -1), text)
})

test('merges follow the counts: most frequent pair first, then pieces of pieces', () => {
  const words = new Map([
    ['aab', 500],
    ['aac', 400],
    ['xy', 10],
  ])
  const pieces = learnPieces(words, 1000, 300)
  const learnt = pieces.filter(piece => piece.replace('##', '').length > 1)
  assert.equal(learnt, ['aa', 'aab', 'aac', 'xy'])
})

test.run()
