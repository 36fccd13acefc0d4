// Keys and values of earlier tokens of sequences, in pages that several sequences may share.

import type { EncoderMemory } from '../nn/attention.ts'
import type { StackCache } from '../nn/stack.ts'
import { type Device, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { CacheLayer, type CachePass, type CacheState } from './cacheLayer.ts'
import { PAGE, Pages } from './pages.ts'
import { type Prefix, Prefixes } from './prefixes.ts'

/** How keys and values of earlier tokens are kept. */
export interface CacheOptions {
  /** Their type; f32 keeps them as the layers make them. Default f32. */
  readonly cacheType?: 'f32' | 'bf16' | undefined
  /** Most tokens of texts that are kept for others that begin alike. */
  readonly reuse?: number | undefined
}

/** A sequence on its way. */
interface Held {
  length: number
  readonly pages: number[]
}

/**
 * The cache of a decoder for some sequences that grow side by side. Say what comes before each forward pass: the
 * prompts of new sequences ({@link begin}), or a token of each ({@link advance}). Dispose it to free its memory.
 */
export class KvCache implements StackCache, CacheState, Disposable {
  readonly layers: readonly CacheLayer[]
  readonly dtype: 'bf16' | undefined
  readonly #device: Device
  readonly #pages = new Pages()
  readonly #prefixes: Prefixes
  #sequences: Held[] = []
  #added: readonly number[] = []
  /** Sequences before these were there already. */
  #first = 0
  /** What the tokens of this pass read and where they go; made once it is asked for. */
  #pass: CachePass | undefined
  /** What the encoder made of the newest sequences. */
  #fresh: EncoderMemory | undefined
  /** How much the encoder read for each sequence. */
  #sources: number[] = []
  /** Where what it made for each sequence begins, i32[B + 1]. */
  #begins: Tensor | undefined

  constructor(layers: number, { device, cacheType, reuse = 0 }: CacheOptions & { device: Device }) {
    this.#device = device
    this.dtype = cacheType === 'bf16' ? 'bf16' : undefined
    this.#prefixes = new Prefixes(this.#pages, Math.ceil(reuse / PAGE))
    this.layers = Array.from({ length: layers }, () => new CacheLayer(this))
  }

  /** Most tokens that the pages of a sequence of this pass hold. */
  get capacity(): number {
    return PAGE * Math.max(...this.#active.map(({ pages }) => pages.length))
  }

  get pageCount(): number {
    return this.#pages.count
  }

  /** Bytes of keys and values, with the room for more of them. */
  get bytes(): number {
    return this.layers.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Tokens that are kept of texts, those of sequences on their way among them. */
  get kept(): number {
    return PAGE * this.#prefixes.count
  }

  /** Tokens of each sequence so far. */
  get lengths(): Int32Array {
    return Int32Array.from(this.#sequences, ({ length }) => length)
  }

  /** The longest beginning of `ids` that is kept of texts made with the adapters of `key`; not the last token. */
  find(key: string, ids: readonly number[]): Prefix {
    return this.#prefixes.find(key, ids, ids.length - 1)
  }

  /** Keeps what sequence `i` holds, the first of `ids`, for others that begin alike. */
  keep(i: number, key: string, ids: readonly number[]): void {
    const { length, pages } = nth(this.#sequences, i)
    this.#prefixes.keep(key, ids.slice(0, length), pages)
  }

  /**
   * New sequences behind those that are there; the next forward pass brings so many tokens of each, and no others.
   * `prefixes`: what stands before them.
   */
  begin(added: Int32Array, prefixes: readonly Prefix[] = []): void {
    this.#first = this.#sequences.length
    for (const i of added.keys()) {
      const { pages, length } = prefixes[i] ?? { pages: [], length: 0 }
      for (const page of pages) this.#pages.hold(page)
      this.#sequences.push({ pages: [...pages], length })
    }
    this.#come([...added])
  }

  /** The next forward pass brings one token of each sequence. */
  advance(): void {
    this.#first = 0
    this.#come(this.#sequences.map(() => 1))
  }

  /** Sequence `i` goes, and the last one takes its place. */
  drop(i: number): void {
    const last = must(this.#sequences.pop(), 'sequence')
    const gone = i < this.#sequences.length ? nth(this.#sequences, i) : last
    if (gone !== last) this.#sequences[i] = last
    for (const page of gone.pages) this.#pages.release(page)
    if (this.#sources.length > 0) this.#dropSource(i)
    this.#endPass()
  }

  /** Sequence `i` becomes a copy of what sequence `parents[i]` was; there may be more or fewer than before. */
  reorder(parents: Int32Array): void {
    const old = this.#sequences
    this.#sequences = Array.from(parents, parent => {
      const { pages, length } = nth(old, parent)
      for (const page of pages) this.#pages.hold(page)
      return { pages: [...pages], length }
    })
    for (const { pages } of old) for (const page of pages) this.#pages.release(page)
    this.#endPass()
  }

  /** Gives back room that nothing is in, where that is more than half: less is not worth to be copied for. */
  shrink(): void {
    if (2 * this.#pages.held >= this.#pages.count) return
    const old = this.#pages.compact()
    this.#prefixes.renumber(old)
    if (old.length === 0) for (const layer of this.layers) layer.dispose()
    else for (const layer of this.layers) layer.compact(old)
    const numbers = new Map(old.map((page, i) => [page, i]))
    for (const { pages } of this.#sequences)
      for (const [i, page] of pages.entries()) pages[i] = must(numbers.get(page), 'page')
    this.#endPass()
  }

  /** The first of the sequences that the forward pass brings tokens of. */
  get first(): number {
    return this.#first
  }

  get isPrompt(): boolean {
    return this.#active.every(({ length }, i) => length === nth(this.#added, i))
  }

  get #active(): readonly Held[] {
    return this.#sequences.slice(this.#first)
  }

  #come(added: readonly number[]): void {
    this.#endPass()
    this.#added = added
    const sequences = this.#active
    const lacking = sequences.map(({ pages, length }, i) => {
      const copied = length % PAGE > 0 && this.#pages.isShared(nth(pages, pages.length - 1)) ? 1 : 0
      return copied + Math.ceil((length + nth(added, i)) / PAGE) - pages.length
    })
    this.#makeRoom(lacking.reduce((sum, count) => sum + count, 0))
    for (const [i, sequence] of sequences.entries()) this.#lengthen(sequence, nth(added, i))
  }

  #makeRoom(pages: number): void {
    const { held, count } = this.#pages
    if (held + pages <= count) return
    this.#pages.grow(Math.max(held + pages, Math.ceil(1.5 * count)))
    for (const layer of this.layers) layer.grow()
  }

  /** A page that others hold too is not written: the sequence goes on in a copy of it. */
  #lengthen(sequence: Held, count: number): void {
    const { pages, length } = sequence
    const last = pages.length - 1
    if (length % PAGE > 0 && this.#pages.isShared(nth(pages, last))) {
      const [shared, own] = [nth(pages, last), must(this.#pages.take(), 'page')]
      for (const layer of this.layers) layer.copy(shared, own)
      this.#pages.release(shared)
      pages[last] = own
    }
    sequence.length += count
    while (pages.length * PAGE < sequence.length) pages.push(must(this.#pages.take(), 'page'))
  }

  get pass(): CachePass {
    this.#pass ??= this.#upload()
    return this.#pass
  }

  #upload(): CachePass {
    const most = Math.max(...this.#active.map(({ pages }) => pages.length))
    const rows = this.#added.reduce((sum, count) => sum + count, 0)
    const [lengths, slots, table] = [new Int32Array(rows), new Int32Array(rows), new Int32Array(rows * most)]
    let row = 0
    for (const [i, { pages, length }] of this.#active.entries())
      for (let at = length - nth(this.#added, i); at < length; at++, row++) {
        lengths[row] = at + 1
        slots[row] = nth(pages, Math.floor(at / PAGE)) * PAGE + (at % PAGE)
        table.set(pages, row * most)
      }
    const made = (data: Int32Array, shape: number[]) => Tensor.from(data, shape, { device: this.#device }).keep()
    return { lengths: made(lengths, [rows]), pages: made(table, [rows, most]), slots: made(slots, [rows]) }
  }

  #endPass(): void {
    for (const tensor of [this.#pass?.lengths, this.#pass?.pages, this.#pass?.slots]) tensor?.dispose()
    this.#pass = undefined
  }

  /** What the encoder made of the sequences of this pass; past their first one the layers have its keys and values. */
  get memory(): EncoderMemory | undefined {
    if (!this.#fresh || this.isPrompt) return this.#fresh
    this.#begins ??= Tensor.from(startsOf(this.#sources), [this.#sources.length + 1], { device: this.#device }).keep()
    return { hidden: this.#fresh.hidden, cuSeqlens: this.#begins, maxLength: Math.max(...this.#sources) }
  }

  /** What the encoder made of the sequences that come with the next forward pass, and how much it read for each. */
  remember(memory: EncoderMemory, lengths: readonly number[]): void {
    this.#forget()
    this.#fresh = memory
    this.#sources.push(...lengths)
    for (const tensor of [memory.hidden, memory.cuSeqlens]) tensor.keep()
  }

  #forget(): void {
    for (const tensor of [this.#fresh?.hidden, this.#fresh?.cuSeqlens, this.#begins]) tensor?.dispose()
    this.#fresh = undefined
    this.#begins = undefined
  }

  /** The memory of sequence `i` goes, and that of the last takes its place. */
  #dropSource(i: number): void {
    const starts = startsOf(this.#sources)
    const last = this.#sources.length - 1
    const order = Array.from({ length: last }, (_, k) => (k === i ? last : k))
    const rows = order.flatMap(k => Array.from({ length: nth(this.#sources, k) }, (_, t) => nth(starts, k) + t))
    for (const layer of this.layers) layer.pickCrossed(Int32Array.from(rows))
    this.#sources = order.map(k => nth(this.#sources, k))
    this.#begins?.dispose()
    this.#begins = undefined
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose()
    this.#forget()
    this.#endPass()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Where sequences of these lengths begin, and the last one ends. */
function startsOf(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) starts[i + 1] = nth(starts, i) + length
  return starts
}
