// Byte-pair encoding: the pair of neighbours whose merge was learnt first is merged first, leftmost first.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { utf8 } from './bytes.ts'
import { asArray, type Fields } from './json.ts'
import type { SubwordModel, Tokens } from './model.ts'
import { PairTable } from './pairTable.ts'
import { readVocabulary, type Vocabulary } from './vocabulary.ts'

// Beyond this a word is no word, and merging it takes seconds.
const longestWord = 1_000_000
const scanned = 24

/** How a BPE model is set up. */
interface Bpe {
  readonly vocabulary: Vocabulary
  /** Rank and result of merging two ids: an index into `merged`. */
  readonly ranks: PairTable
  /** Resulting id by rank. */
  readonly merged: Int32Array
  readonly prefix: string
  readonly suffix: string
  readonly unknown: number | undefined
  readonly fuseUnknown: boolean
  readonly bytes: readonly (number | undefined)[] | undefined
}

/** @throws ERR_CONFIG for merges of unknown entries, ERR_UNSUPPORTED for dropout */
export function readBpe(config: Fields): SubwordModel {
  check(!config.dropout, 'ERR_UNSUPPORTED', () => {
    return `tokenizer: BPE has dropout ${shown(config.dropout)}, which would give other tokens each time; save it with null`
  })
  const vocabulary = readVocabulary(config.vocab, 'BPE')
  const { ids } = vocabulary
  const prefix = String(config.continuing_subword_prefix ?? '')
  const unknown = typeof config.unk_token === 'string' ? config.unk_token : undefined
  const { ranks, merged } = readMerges(config.merges, vocabulary, prefix)
  const bpe: Bpe = {
    vocabulary,
    ranks,
    merged,
    prefix,
    suffix: String(config.end_of_word_suffix ?? ''),
    unknown: unknown === undefined ? undefined : ids.get(unknown),
    fuseUnknown: config.fuse_unk === true,
    bytes: config.byte_fallback === true ? byteIds(vocabulary) : undefined,
  }
  const ignoreMerges = config.ignore_merges === true
  const tokenize = (word: string): Tokens => {
    const whole = ignoreMerges ? ids.get(word) : undefined
    return whole === undefined ? merge(bpe, symbolsOf(bpe, word)) : [whole, 0, word.length]
  }
  return { vocabulary, tokenize, continuing: prefix || undefined }
}

/** Ids of `<0x00>` to `<0xFF>`, where the vocabulary has them. */
export function byteIds({ ids }: Vocabulary): readonly (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) => ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`))
}

/** Ids of the bytes of a text, if the vocabulary has all of them. */
export function bytesOf(text: string, known: readonly (number | undefined)[] | undefined): number[] | undefined {
  if (!known) return undefined
  const found = [...text].flatMap(char => utf8(char.codePointAt(0)!)).map(byte => known[byte])
  return found.every(id => id !== undefined) ? found : undefined
}

function readMerges(value: unknown, { ids }: Vocabulary, prefix: string) {
  const list = asArray(value)
  const ranks = new PairTable(list.length)
  const merged = new Int32Array(list.length)
  list.forEach((item, rank) => {
    const pair = typeof item === 'string' ? item.split(' ') : asArray(item)
    const [a, b] = pair.map(part => (typeof part === 'string' ? ids.get(part) : undefined))
    const result =
      pair.length === 2
        ? ids.get(String(pair[0]) + String(pair[1]).slice(String(pair[1]).startsWith(prefix) ? prefix.length : 0))
        : undefined
    check(a !== undefined && b !== undefined && result !== undefined, 'ERR_CONFIG', () => {
      return `tokenizer: merge ${rank + 1} of BPE, ${shown(item)}, is no pair of entries whose merge is an entry too`
    })
    ranks.set(a, b, rank)
    merged[rank] = result
  })
  return { ranks, merged }
}

/** Ids of a word's characters, with their places; what is unknown goes to bytes or to the unknown token. */
function symbolsOf(bpe: Bpe, word: string): number[] {
  check(word.length <= longestWord, 'ERR_DATA', () => {
    return `tokenizer: ${word.length} characters in a row without a word boundary, at most ${longestWord}; is this text?`
  })
  const { ids } = bpe.vocabulary
  const symbols: number[] = []
  let pending: [id: number, from: number, to: number] | undefined
  const flush = () => {
    if (pending) symbols.push(...pending)
    pending = undefined
  }
  for (let from = 0; from < word.length; ) {
    const to = from + (word.codePointAt(from)! > 0xffff ? 2 : 1)
    const text = (from === 0 ? '' : bpe.prefix) + word.slice(from, to) + (to === word.length ? bpe.suffix : '')
    const id = ids.get(text)
    const bytes = id === undefined ? bytesOf(text, bpe.bytes) : undefined
    if (id !== undefined) {
      flush()
      symbols.push(id, from, to)
    } else if (bytes) for (const byte of bytes) symbols.push(byte, from, to)
    else if (bpe.unknown !== undefined) {
      if (pending && bpe.fuseUnknown) pending[2] = to
      else {
        flush()
        pending = [bpe.unknown, from, to]
      }
    }
    from = to
  }
  flush()
  return symbols
}

function merge(bpe: Bpe, symbols: number[]): Tokens {
  const count = symbols.length / 3
  return count < 2 ? symbols : count <= scanned ? mergeShort(bpe, symbols) : mergeLong(bpe, symbols)
}

/** For short words: looks for the best pair anew after each merge. */
function mergeShort({ ranks, merged }: Bpe, symbols: number[]): Tokens {
  const order: number[] = []
  for (let i = 0; i + 3 < symbols.length; i += 3) order.push(ranks.get(symbols[i]!, symbols[i + 3]!))
  for (;;) {
    let best = -1
    for (let i = 0; i < order.length; i++) if (order[i]! >= 0 && (best < 0 || order[i]! < order[best]!)) best = i
    if (best < 0) return symbols
    symbols[3 * best] = merged[order[best]!]!
    symbols[3 * best + 2] = symbols[3 * best + 5]!
    symbols.splice(3 * best + 3, 3)
    order.splice(best, 1)
    if (best > 0) order[best - 1] = ranks.get(symbols[3 * best - 3]!, symbols[3 * best]!)
    if (best < order.length) order[best] = ranks.get(symbols[3 * best]!, symbols[3 * best + 3]!)
  }
}

/** For long ones: a heap of pairs by rank and place; what changed since it was pushed is skipped. */
function mergeLong({ ranks, merged }: Bpe, symbols: number[]): Tokens {
  const count = symbols.length / 3
  const next = Int32Array.from({ length: count }, (_, i) => (i + 1 < count ? i + 1 : -1))
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1)
  const heap = new Heap()
  const offer = (left: number) => {
    const right = left < 0 ? -1 : next[left]!
    const rank = right < 0 ? -1 : ranks.get(symbols[3 * left]!, symbols[3 * right]!)
    if (rank >= 0) heap.push(rank * count + left)
  }
  for (let i = 0; i < count; i++) offer(i)
  for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
    const left = top % count
    const rank = (top - left) / count
    const right = next[left]!
    if (symbols[3 * left]! < 0 || right < 0) continue
    if (ranks.get(symbols[3 * left]!, symbols[3 * right]!) !== rank) continue
    symbols[3 * left] = merged[rank]!
    symbols[3 * left + 2] = symbols[3 * right + 2]!
    symbols[3 * right] = -1
    next[left] = next[right]!
    if (next[right]! >= 0) previous[next[right]!] = left
    offer(previous[left]!)
    offer(left)
  }
  const tokens: number[] = []
  for (let i = 0; i >= 0; i = next[i]!) tokens.push(symbols[3 * i]!, symbols[3 * i + 1]!, symbols[3 * i + 2]!)
  return tokens
}

/** Smallest number first. */
class Heap {
  readonly #items: number[] = []

  push(item: number): void {
    const items = this.#items
    let at = items.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (items[parent]! <= item) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): number | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (top === undefined || last === undefined || items.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++
      if (items[child]! >= last) break
      items[at] = items[child]!
      at = child
    }
    items[at] = last
    return top
  }
}
