// Keys and values of earlier tokens, one pair of buffers a layer.

import { concatRows } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import { native } from '../native.ts'
import type { EncoderMemory, LayerCache } from '../nn/attention.ts'
import type { StackCache } from '../nn/stack.ts'
import { embedding } from '../ops/embedding.ts'
import { type Device, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'

/** How much a cache holds. */
interface Room {
  readonly sequences: number
  /** Tokens of each sequence. */
  readonly capacity: number
}

/**
 * The cache of a decoder for some sequences that grow side by side. Say what comes before each forward pass: the
 * prompts of new sequences ({@link begin}), or a token of each ({@link advance}). Dispose it to free its memory.
 */
export class KvCache implements StackCache, Disposable {
  readonly layers: readonly Layer[]
  readonly #device: Device
  #room: Room
  #lengths: Int32Array = new Int32Array(0)
  #added: Int32Array = new Int32Array(0)
  /** Sequences before these were there already. */
  #first = 0
  #onDevice: Tensor | undefined
  /** What the encoder made of the newest sequences. */
  #fresh: EncoderMemory | undefined
  /** How much the encoder read for each sequence. */
  #sources: number[] = []
  /** Where what it made for each sequence begins, i32[B + 1]. */
  #begins: Tensor | undefined

  /** `sequences` of at most `capacity` tokens each; both may be raised later. */
  constructor(layers: number, { sequences, capacity, device }: Room & { device: Device }) {
    this.#room = { sequences, capacity }
    this.#device = device
    this.layers = Array.from({ length: layers }, () => new Layer(this))
  }

  /** Most tokens of a sequence. */
  get capacity(): number {
    return this.#room.capacity
  }

  get room(): Room {
    return this.#room
  }

  /** Tokens of each sequence so far. */
  get lengths(): Int32Array {
    return this.#lengths
  }

  /** The lengths on the device, i32[B]. */
  get lengthsTensor(): Tensor {
    this.#onDevice ??= Tensor.from(this.#lengths, [this.#lengths.length], { device: this.#device }).keep()
    return this.#onDevice
  }

  /** Makes room for more or longer sequences; those that are there stay. */
  reserve({ sequences, capacity }: Room): void {
    const old = this.#room
    this.#room = {
      sequences: Math.max(old.sequences, sequences),
      capacity: Math.max(old.capacity, capacity),
    }
    if (this.#room.sequences === old.sequences && this.#room.capacity === old.capacity) return
    const stay = Int32Array.from(this.#lengths.keys())
    for (const layer of this.layers) layer.move(stay, old, this.#room)
  }

  /** New sequences behind those that are there; the next forward pass brings so many tokens of each, and no others. */
  begin(added: Int32Array): void {
    this.#first = this.#lengths.length
    this.#come(Int32Array.of(...this.#lengths, ...added), added)
  }

  /** The next forward pass brings one token of each sequence. */
  advance(): void {
    this.#first = 0
    this.#come(
      this.#lengths.map(length => length + 1),
      this.#lengths.map(() => 1),
    )
  }

  /** Sequence `i` goes, and the last one takes its place. */
  drop(i: number): void {
    const last = this.#lengths.length - 1
    if (i < last) for (const layer of this.layers) layer.copy(last, i, nth(this.#lengths, last))
    const lengths = this.#lengths.slice(0, last)
    if (i < last) lengths[i] = nth(this.#lengths, last)
    if (this.#sources.length > 0) this.#dropSource(i)
    this.#set(lengths)
  }

  /** Sequence `i` becomes a copy of what sequence `parents[i]` was; there may be more or fewer than before. */
  reorder(parents: Int32Array): void {
    const isSame = parents.length === this.#lengths.length && parents.every((parent, i) => parent === i)
    const lengths = parents.map(parent => nth(this.#lengths, parent))
    const old = this.#room
    this.#room = { ...old, sequences: Math.max(old.sequences, parents.length) }
    if (!isSame) for (const layer of this.layers) layer.move(parents, old, this.#room)
    this.#set(lengths)
  }

  /** The first of the sequences that the forward pass brings tokens of. */
  get first(): number {
    return this.#first
  }

  /** Whether the tokens of the forward pass are the first of their sequences. */
  get isPrompt(): boolean {
    return this.#added.some((count, i) => count === this.#lengths[this.#first + i])
  }

  #come(lengths: Int32Array, added: Int32Array): void {
    const { sequences, capacity } = this.#room
    const most = Math.max(...lengths)
    check(lengths.length <= sequences, 'ERR_OPTION', () => {
      return `cache: ${lengths.length} sequences, it holds ${sequences}; reserve more`
    })
    check(most <= capacity, 'ERR_OPTION', () => {
      return `cache: ${most} tokens of a sequence, it holds ${capacity}; generate fewer or shorten the prompt`
    })
    this.#added = added
    this.#set(lengths)
  }

  #set(lengths: Int32Array): void {
    this.#lengths = lengths
    this.#onDevice?.dispose()
    this.#onDevice = undefined
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

  /** Tokens that each sequence brings in this forward pass. */
  get added(): Int32Array {
    return this.#added
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose()
    this.#forget()
    this.#onDevice?.dispose()
    this.#onDevice = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

type Pair = readonly [keys: Tensor, values: Tensor]

/** Where sequences of these lengths begin, and the last one ends. */
function startsOf(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) starts[i + 1] = nth(starts, i) + length
  return starts
}

class Layer implements LayerCache {
  readonly #cache: KvCache
  #keys: Tensor | undefined
  #values: Tensor | undefined
  #crossed: Pair | undefined

  constructor(cache: KvCache) {
    this.#cache = cache
  }

  get keys(): Tensor {
    return this.#active(must(this.#keys, 'keys'))
  }

  get values(): Tensor {
    return this.#active(must(this.#values, 'values'))
  }

  get lengths(): Tensor {
    return this.#cache.lengthsTensor
  }

  append(keys: Tensor, values: Tensor): boolean {
    const { lengths, room, added, first, isPrompt } = this.#cache
    const width = keys.columns
    this.#keys ??= empty(room, keys, width)
    this.#values ??= empty(room, values, width)
    let row = 0
    for (const [i, count] of added.entries()) {
      const at = ((first + i) * room.capacity + nth(lengths, first + i) - count) * width
      const pairs = [
        [this.#keys, keys],
        [this.#values, values],
      ] as const
      for (const [to, from] of pairs) fill(to, at, from, row * width, [count, width])
      row += count
    }
    return isPrompt
  }

  /** Sequence `to` becomes that of `from`. */
  copy(from: number, to: number, length: number): void {
    const { capacity } = this.#cache.room
    for (const tensor of [this.#keys, this.#values]) {
      if (!tensor) continue
      const width = nth(tensor.shape, 2)
      fill(tensor, to * capacity * width, tensor, from * capacity * width, [length, width])
    }
  }

  /** The sequences `parents` of the old room into a new one. */
  move(parents: Int32Array, old: Room, room: Room): void {
    const moved = (tensor: Tensor | undefined) => {
      if (!tensor) return undefined
      const width = nth(tensor.shape, 2)
      const next = empty(room, tensor, width)
      for (const [i, parent] of parents.entries()) {
        const length = Math.min(old.capacity, nth(this.#cache.lengths, parent))
        fill(next, i * room.capacity * width, tensor, parent * old.capacity * width, [length, width])
      }
      tensor.dispose()
      return next
    }
    this.#keys = moved(this.#keys)
    this.#values = moved(this.#values)
  }

  /** In the first pass of sequences those of these alone, else of all. */
  crossed(make: () => Pair): Pair {
    const old = this.#crossed
    if (old && !this.#cache.isPrompt) return old
    const made = make()
    this.#crossed = old ? [concatRows([old[0], made[0]]), concatRows([old[1], made[1]])] : made
    for (const tensor of this.#crossed) tensor.keep()
    for (const tensor of old ?? []) tensor.dispose()
    return made
  }

  /** Of the keys and values of an encoder's memory these rows stay. */
  pickCrossed(rows: Int32Array): void {
    const old = this.#crossed
    if (!old) return
    if (rows.length === 0) this.#crossed = undefined
    else {
      const index = Tensor.from(rows, [rows.length], { device: old[0].device })
      this.#crossed = [embedding(old[0], index, old[0].dtype), embedding(old[1], index, old[1].dtype)]
      for (const tensor of this.#crossed) tensor.keep()
      index.dispose()
    }
    for (const tensor of old) tensor.dispose()
  }

  dispose(): void {
    for (const tensor of this.#crossed ?? []) tensor.dispose()
    this.#crossed = undefined
    this.#keys?.dispose()
    this.#values?.dispose()
    this.#keys = undefined
    this.#values = undefined
  }

  #active(tensor: Tensor): Tensor {
    const { lengths, room } = this.#cache
    return tensor.view(0, [lengths.length, room.capacity, nth(tensor.shape, 2)])
  }
}

function empty({ sequences, capacity }: Room, { device, dtype }: Tensor, width: number): Tensor {
  return Tensor.empty([sequences, capacity, width], { device, dtype }).keep()
}

/** Elements of `shape` at `at` of one tensor become those at `from` of another. */
function fill(to: Tensor, at: number, source: Tensor, from: number, shape: readonly number[]): void {
  const [target, given] = [to.view(at, shape), source.view(from, shape)]
  native.copyInto(target.handle, given.handle)
  target.dispose()
  given.dispose()
}
