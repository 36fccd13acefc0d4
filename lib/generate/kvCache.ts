// Keys and values of earlier tokens, one pair of buffers a layer.

import { check } from '../errors.ts'
import { native } from '../native.ts'
import type { EncoderMemory, LayerCache } from '../nn/attention.ts'
import type { StackCache } from '../nn/stack.ts'
import { type Device, Tensor } from '../tensor.ts'

/**
 * The cache of a decoder for some sequences that grow together: their prompts first, then a token each. Say what comes
 * with {@link advance} before each forward pass. Dispose it to free its memory.
 */
export class KvCache implements StackCache, Disposable {
  readonly layers: readonly Layer[]
  /** Most tokens of a sequence. */
  readonly capacity: number
  readonly #device: Device
  #lengths: Int32Array
  #added: Int32Array | undefined
  #onDevice: Tensor | undefined
  #memory: EncoderMemory | undefined

  constructor(
    layers: number,
    { sequences, capacity, device }: { sequences: number; capacity: number; device: Device },
  ) {
    this.capacity = capacity
    this.#device = device
    this.#lengths = new Int32Array(sequences)
    this.layers = Array.from({ length: layers }, () => new Layer(this))
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

  /** Tokens that each sequence brings in the next forward pass; ERR_OPTION where there is no room for them. */
  advance(added: Int32Array): void {
    const isFirst = this.#added === undefined
    this.#lengths = this.#lengths.map((length, i) => length + added[i]!)
    const most = Math.max(...this.#lengths)
    check(most <= this.capacity, 'ERR_OPTION', () => {
      return `cache: ${most} tokens of a sequence, it holds ${this.capacity}; generate fewer or shorten the prompt`
    })
    check(isFirst || added.every(count => count === 1), 'ERR_UNSUPPORTED', () => {
      return 'cache: past the first forward pass each sequence brings one token'
    })
    this.#added = added
    this.#onDevice?.dispose()
    this.#onDevice = undefined
  }

  /** What the encoder made of the sequences that are answered; it is freed with the cache. */
  get memory(): EncoderMemory | undefined {
    return this.#memory
  }

  remember(memory: EncoderMemory): void {
    this.#memory = memory
    for (const tensor of [memory.hidden, memory.cuSeqlens]) tensor.keep()
  }

  /** Tokens that each sequence brings in this forward pass. */
  get added(): Int32Array {
    return this.#added ?? new Int32Array(this.#lengths.length)
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose()
    this.#memory?.hidden.dispose()
    this.#memory?.cuSeqlens.dispose()
    this.#memory = undefined
    this.#onDevice?.dispose()
    this.#onDevice = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

class Layer implements LayerCache {
  readonly #cache: KvCache
  #keys: Tensor | undefined
  #values: Tensor | undefined
  #crossed: readonly [Tensor, Tensor] | undefined

  constructor(cache: KvCache) {
    this.#cache = cache
  }

  get keys(): Tensor {
    return this.#keys!
  }

  get values(): Tensor {
    return this.#values!
  }

  get lengths(): Tensor {
    return this.#cache.lengthsTensor
  }

  append(keys: Tensor, values: Tensor): boolean {
    const { lengths, capacity, added } = this.#cache
    const width = keys.shape[1]!
    const isFirst = this.#keys === undefined
    const room = () => {
      return Tensor.zeros([lengths.length, capacity, width], { device: keys.device, dtype: keys.dtype }).keep()
    }
    this.#keys ??= room()
    this.#values ??= room()
    let row = 0
    for (const [i, count] of added.entries()) {
      const at = (i * capacity + lengths[i]! - count) * width
      const pairs = [
        [this.#keys, keys],
        [this.#values, values],
      ] as const
      for (const [to, from] of pairs)
        native.copyInto(to.view(at, [count, width]).handle, from.view(row * width, [count, width]).handle)
      row += count
    }
    return isFirst
  }

  crossed(make: () => readonly [Tensor, Tensor]): readonly [Tensor, Tensor] {
    this.#crossed ??= make()
    for (const tensor of this.#crossed) tensor.keep()
    return this.#crossed
  }

  dispose(): void {
    for (const tensor of this.#crossed ?? []) tensor.dispose()
    this.#crossed = undefined
    this.#keys?.dispose()
    this.#values?.dispose()
    this.#keys = undefined
    this.#values = undefined
  }
}
