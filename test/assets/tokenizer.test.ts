import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { WordPieceEncoder } from '../../scripts/pretrain/encode.ts'
import { reader, wordsOf } from '../../scripts/pretrain/reading.ts'
import { caseOf, caseVectors } from '../../scripts/pretrain/student.ts'
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

test('words are written small, with a capital or in capitals, and each case moves a vector its own way', () => {
  const cases = ['london', 'London', 'LONDON', 'A', '##A', '##s', 'iPhone', '3rd']
  const wanted = ['small', 'title', 'capitals', 'title', 'capitals', 'small', 'capitals', 'small']
  assert.equal(cases.map(caseOf), wanted)
  const { small, title, capitals } = caseVectors(2)
  assert.is(Math.hypot(...small), 0)
  const cosine =
    title.reduce((sum, x, c) => sum + x * capitals[c]!, 0) / (Math.hypot(...title) * Math.hypot(...capitals))
  assert.ok(Math.hypot(...title) > 0.5 && Math.abs(cosine) < 0.3, `${cosine}`)
})

test('a text is read word by word, and every piece knows its word', () => {
  const { ids, words } = reader(vocabulary)(wordsOf('Zyzzyva is a word.'))
  assert.is(ids.length, words.length + 2)
  assert.equal([...new Set(words)], [0, 1, 2, 3, 4])
  assert.ok(words.filter(word => word === 0).length > 1)
})

test.run()
