// Unigram: of all ways to cut a word into entries, the one with the largest sum of scores.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isCount } from '../tuple.ts'
import { byteIds, bytesOf } from './bpe.ts'
import type { Fields } from './json.ts'
import { asArray } from './json.ts'
import type { SubwordModel, Tokens } from './model.ts'
import { Trie } from './trie.ts'
import { Vocabulary } from './vocabulary.ts'

const unknownPenalty = 10

/** @throws ERR_CONFIG for a vocabulary that is no list of entries and scores */
export function readUnigram(config: Fields): SubwordModel {
  const list = asArray(config.vocab)
  check(list.length > 0, 'ERR_CONFIG', () => 'tokenizer: Unigram has no vocabulary of entries and scores')
  const vocabulary = new Vocabulary()
  const trie = new Trie()
  const scores = new Float64Array(list.length)
  let lowest = Number.POSITIVE_INFINITY
  list.forEach((item, id) => {
    const [token, score] = asArray(item)
    check(typeof token === 'string' && typeof score === 'number' && Number.isFinite(score), 'ERR_CONFIG', () => {
      return `tokenizer: entry ${id} of Unigram, ${shown(item)}, is no [text, score]`
    })
    vocabulary.set(token, id, 'Unigram')
    if (token !== '') trie.add(token, id)
    scores[id] = score
    lowest = Math.min(lowest, score)
  })
  const unknown = config.unk_id === null || config.unk_id === undefined ? undefined : config.unk_id
  check(
    unknown === undefined || isCount(unknown, list.length),
    'ERR_CONFIG',
    () => `tokenizer: Unigram has unk_id ${shown(unknown)} and ${list.length} entries`,
  )
  const unknownId = unknown
  const bytes = config.byte_fallback === true ? byteIds(vocabulary) : undefined
  const lattice = { vocabulary, trie, scores, unknownScore: lowest - unknownPenalty, unknownId, bytes }
  return { vocabulary, tokenize: word => best(lattice, word), continuing: undefined, unknownOfText: unknownId }
}

interface Lattice {
  readonly vocabulary: Vocabulary
  readonly trie: Trie
  readonly scores: Float64Array
  readonly unknownScore: number
  readonly unknownId: number | undefined
  readonly bytes: readonly (number | undefined)[] | undefined
}

function best(lattice: Lattice, word: string): Tokens {
  const { trie, scores, unknownScore, unknownId } = lattice
  const total = new Float64Array(word.length + 1)
  const from = new Int32Array(word.length + 1).fill(-1)
  const ids = new Int32Array(word.length + 1)
  const offer = (start: number, end: number, id: number | undefined, score: number) => {
    if (from[end]! >= 0 && score <= total[end]!) return
    check(id !== undefined, 'ERR_DATA', () => {
      return 'tokenizer: the text holds a character outside the vocabulary and there is no unknown token'
    })
    total[end] = score
    from[end] = start
    ids[end] = id
  }
  for (let at = 0; at < word.length; ) {
    const width = word.codePointAt(at)! > 0xffff ? 2 : 1
    let single = false
    for (let node = 0, end = at; end < word.length; ) {
      node = trie.child(node, word.charCodeAt(end++))
      if (node < 0) break
      const id = trie.entry(node)
      if (id < 0) continue
      offer(at, end, id, scores[id]! + total[at]!)
      if (end - at === width) single = true
    }
    if (!single) offer(at, at + width, unknownId, unknownScore + total[at]!)
    at += width
  }
  return traced(lattice, word, from, ids)
}

/** The best way, back from the end; neighbours that are unknown become one. */
function traced(lattice: Lattice, word: string, from: Int32Array, ids: Int32Array): Tokens {
  const spans: [start: number, end: number][] = []
  let joins = false
  for (let end = word.length; end > 0; ) {
    const start = from[end]!
    const isUnknown = ids[end] === lattice.unknownId
    if (isUnknown && joins) spans.at(-1)![0] = start
    else spans.push([start, end])
    joins = isUnknown
    end = start
  }
  const tokens: number[] = []
  for (const [start, end] of spans.reverse()) {
    const text = word.slice(start, end)
    const id = lattice.vocabulary.ids.get(text)
    const bytes = id === undefined ? bytesOf(text, lattice.bytes) : undefined
    if (bytes) for (const byte of bytes) tokens.push(byte, start, end)
    else tokens.push(id ?? lattice.unknownId!, start, end)
  }
  return tokens
}
