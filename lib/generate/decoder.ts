// Sequences that a model continues side by side: new ones join while others are under way, each token is one forward
// pass of all of them.

import { check } from '../errors.ts'
import type { Model } from '../model.ts'
import { maxTokens, type PackedBatch, pack } from '../nn/batch.ts'
import { turnsByLength } from '../nn/rope.ts'
import { sample } from '../ops/sample.ts'
import { scope, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { type Beam, BeamSearch } from './beams.ts'
import { type CacheOptions, KvCache } from './kvCache.ts'
import type { Decoding } from './options.ts'
import { PAGE } from './pages.ts'
import { adjust, countAbove, isAdjusted, type Logits } from './penalties.ts'
import { commonLength, type Prefix } from './prefixes.ts'

/** A sequence on its way. */
interface Sequence {
  readonly choice: Decoding
  /** What the encoder of an encoder-decoder reads. */
  readonly source: Int32Array | undefined
  /** What stands before, and what was generated. */
  readonly ids: number[]
  readonly begin: number
  /** Most tokens, prompt included. */
  readonly longest: number
  /** The adapters that made what is in the cache; undefined once they were others on the way. */
  key?: string | undefined
  /** Generated, and not read yet. */
  readonly unread: number[]
  isOver: boolean
  error?: unknown
}

/** How sequences are taken in, and their cache. */
export interface DecoderOptions extends CacheOptions {
  /** Most at a time; others wait. Default 16. */
  readonly sequences?: number | undefined
}

/** Most prompts that one forward pass reads. */
const TOKENS_AT_ONCE = 4096

/** A sequence that may be taken in, and what of it is in the cache. */
interface Candidate {
  readonly sequence: Sequence
  readonly prefix: Prefix
}

/**
 * Continues sequences by one model. Nothing runs unless somebody reads; whoever reads moves all sequences on. Close it
 * when all are done.
 */
export class Decoder {
  readonly #model: Model
  readonly #most: number
  readonly #options: CacheOptions
  readonly #waiting: Sequence[] = []
  /** In the order of the cache. */
  readonly #active: Sequence[] = []
  #cache: KvCache | undefined
  #round: Promise<void> | undefined
  #promptTokens = 0
  /** Numbers of adapters, which may have each other's names one after the other. */
  readonly #numbers = new WeakMap<object, number>()
  #adapters = 0

  /** The weights of the model and its adapters stay as they are until it is closed; which are on may change. */
  constructor(model: Model, { sequences = 16, cacheType, reuse }: DecoderOptions = {}) {
    const { backbone, config } = model
    // The same tokens have other keys where an encoder read something else, or where they turn by the whole length.
    const isAlike = backbone.startId === undefined && !turnsByLength(config)
    this.#model = model
    this.#most = sequences
    this.#options = { cacheType, reuse: isAlike ? reuse : 0 }
  }

  /** Tokens of prompts that forward passes have read; those whose keys and values were there are not among them. */
  get promptTokens(): number {
    return this.#promptTokens
  }

  /** Bytes of keys and values. */
  get cacheBytes(): number {
    return this.#cache?.bytes ?? 0
  }

  /** Tokens that follow a prompt, an end token included. @throws ERR_OPTION for a prompt that leaves no room */
  async *tokens(prompt: Int32Array, choice: Decoding): AsyncGenerator<number> {
    const sequence = this.#sequenceOf(prompt, choice)
    this.#waiting.push(sequence)
    try {
      while (!sequence.isOver || sequence.unread.length > 0) {
        choice.signal?.throwIfAborted()
        if (sequence.unread.length > 0) yield must(sequence.unread.shift(), 'entry')
        else await this.#move(sequence)
      }
    } finally {
      await this.#leave(sequence)
    }
  }

  /** The best continuations of a prompt by beam search, best first. */
  async beams(prompt: Int32Array, choice: Decoding): Promise<readonly number[][]> {
    const { ids, begin, longest, source } = this.#sequenceOf(prompt, choice)
    const search = new BeamSearch(ids, longest, choice)
    const cache = this.#newCache({ ...this.#options, reuse: 0 })
    try {
      if (source) this.#read(cache, Array<Int32Array>(choice.beams).fill(source))
      while (!search.isOver) {
        choice.signal?.throwIfAborted()
        const isFirst = nth(search.running, 0).ids.length === begin
        // What an encoder made is there for every beam: at first they are all alike.
        const running = isFirst && source ? Array<Beam>(choice.beams).fill(nth(search.running, 0)) : search.running
        const given = running.map(({ ids }) => (isFirst ? ids : ids.slice(-1)))
        const all = await scope(() => ({ read: this.#logits(cache, given, isFirst).f32() })).read
        const V = this.#model.head.outputs
        const parents = search.advance(search.running.map((_, i) => all.subarray(i * V, (i + 1) * V)))
        if (!search.isOver) cache.reorder(parents)
      }
      return search.ended.map(beam => beam.ids.slice(begin))
    } finally {
      cache.dispose()
    }
  }

  /** Frees the memory, once nothing runs: at once where nothing does. */
  async close(): Promise<void> {
    if (this.#round) await this.#round.catch(() => undefined)
    this.#cache?.dispose()
    this.#cache = undefined
    this.#active.length = 0
  }

  #sequenceOf(prompt: Int32Array, choice: Decoding): Sequence {
    const { held } = this.#virtual
    const most = maxTokens(this.#model.backbone.limits) - held
    check(prompt.length > 0 && prompt.length < most, 'ERR_OPTION', () => {
      return `generate: a prompt of ${prompt.length} tokens, expected 1 to ${most - 1}; shorten it`
    })
    const { startId } = this.#model.backbone
    const ids = startId === undefined ? [...prompt] : [startId]
    const longest = Math.min(most, ids.length + choice.maxNewTokens)
    const source = startId === undefined ? undefined : prompt
    return { choice, source, ids, begin: ids.length, longest, unread: [], isOver: false }
  }

  /** Virtual tokens of a sequence: which it reads as words, and how many places of the cache all of them take. */
  get #virtual(): { read: number; held: number } {
    const { promptTokens, prefixTokens, backbone } = this.#model
    const read = backbone.startId === undefined ? promptTokens : 0
    return { read, held: read + prefixTokens }
  }

  #newCache(options: CacheOptions): KvCache {
    const { backbone, device } = this.#model
    return new KvCache(backbone.layers, { ...options, device })
  }

  /** Lets the encoder of an encoder-decoder read what is answered next. */
  #read(cache: KvCache, sources: readonly Int32Array[]): void {
    const lengths = sources.map(({ length }) => length + this.#model.promptTokens)
    scope(() => cache.remember(this.#model.encode(pack(sources)), lengths))
  }

  /** Waits for a token of a sequence, moving all on where nobody does. */
  async #move(sequence: Sequence): Promise<void> {
    this.#round ??= this.#advance().finally(() => {
      this.#round = undefined
    })
    await this.#round
    if (sequence.error !== undefined) throw sequence.error
  }

  /** A sequence that nobody reads any more. */
  async #leave(sequence: Sequence): Promise<void> {
    sequence.isOver = true
    await this.#round?.catch(() => undefined)
    const waits = this.#waiting.indexOf(sequence)
    if (waits >= 0) this.#waiting.splice(waits, 1)
    this.#dropDone()
  }

  /** One forward pass: of the prompts that wait and fit, else of the last token of each sequence. */
  async #advance(): Promise<void> {
    const key = this.#key()
    for (const sequence of this.#active) if (sequence.key !== key) sequence.key = undefined
    const fresh = this.#admit(key)
    const isPrompt = fresh.length > 0
    const moved = isPrompt ? fresh.map(({ sequence }) => sequence) : [...this.#active]
    try {
      if (moved.length === 0) return
      const cache = must(this.#cache, 'cache')
      const prefixes = fresh.map(({ prefix }) => prefix)
      const given = moved.map(({ ids }, i) => ids.slice(isPrompt ? nth(prefixes, i).length : -1))
      const { reads } = scope(() => ({
        reads: this.#draw(this.#logits(cache, given, isPrompt, prefixes), moved),
      }))
      if (isPrompt) for (const [i, sequence] of moved.entries()) this.#keep(cache, sequence, cache.first + i)
      const ids = await reads
      moved.forEach((sequence, i) => {
        const id = nth(ids, i)
        sequence.ids.push(id)
        sequence.unread.push(id)
        sequence.isOver ||= sequence.choice.ends.has(id) || sequence.ids.length >= sequence.longest
      })
    } catch (error) {
      // What the cache holds now is unknown.
      for (const sequence of this.#active.splice(0)) Object.assign(sequence, { error, isOver: true })
      this.#cache?.dispose()
      this.#cache = undefined
    }
    this.#dropDone()
  }

  /**
   * Takes in sequences that wait, while there is room, in their order. A pass brings whole prompts or what comes after
   * kept beginnings, and what another of the same pass begins with too waits for the next one, to find it there.
   */
  #admit(key: string | undefined): Candidate[] {
    const fresh: Candidate[] = []
    let tokens = 0
    while (this.#waiting.length > 0 && this.#active.length < this.#most) {
      const sequence = nth(this.#waiting, 0)
      const prefix = this.#prefixOf(sequence, key)
      const { source, ids } = sequence
      tokens += source?.length ?? ids.length - prefix.length
      if (fresh.length > 0 && (tokens > TOKENS_AT_ONCE || this.#gainsByWaiting({ sequence, prefix }, fresh))) break
      this.#waiting.shift()
      sequence.key = key
      fresh.push({ sequence, prefix })
      this.#active.push(sequence)
    }
    if (fresh.length === 0) return fresh
    this.#cache ??= this.#newCache(this.#options)
    const sources = fresh.flatMap(({ sequence: { source } }) => (source ? [source] : []))
    if (sources.length > 0) this.#read(this.#cache, sources)
    return fresh
  }

  /** The adapters in use; undefined where keys and values are for no other text: virtual tokens are not in its ids. */
  #key(): string | undefined {
    const { adapters } = this.#model
    if (this.#virtual.held > 0 || !this.#options.reuse) return undefined
    const active = [...adapters.values()].filter(({ isActive }) => isActive)
    return String(
      active.map(adapter => {
        const number = this.#numbers.get(adapter) ?? this.#adapters++
        this.#numbers.set(adapter, number)
        return number
      }),
    )
  }

  #prefixOf({ ids }: Sequence, key: string | undefined): Prefix {
    const found = key === undefined ? undefined : this.#cache?.find(key, ids)
    return found && isWorth(found.length, ids) ? found : { pages: [], length: 0 }
  }

  #gainsByWaiting({ sequence: { ids }, prefix }: Candidate, fresh: readonly Candidate[]): boolean {
    if (prefix.length > 0 !== nth(fresh, 0).prefix.length > 0) return true
    if (nth(fresh, 0).sequence.key === undefined) return false
    const common = Math.max(...fresh.map(({ sequence }) => commonLength(sequence.ids, ids.slice(0, -1))))
    return common >= prefix.length + PAGE && isWorth(common, ids)
  }

  /** Keeps what the cache holds of a sequence for others that begin alike. */
  #keep(cache: KvCache, { key, ids }: Sequence, i: number): void {
    if (key !== undefined) cache.keep(i, key, ids)
  }

  #dropDone(): void {
    for (let i = this.#active.length - 1; i >= 0; i--) {
      if (!nth(this.#active, i).isOver) continue
      const cache = must(this.#cache, 'cache')
      this.#keep(cache, nth(this.#active, i), i)
      cache.drop(i)
      const last = must(this.#active.pop(), 'entry')
      if (i < this.#active.length) this.#active[i] = last
    }
    if (this.#active.length > 0 || !this.#cache) return
    if (this.#cache.kept > 0) this.#cache.shrink()
    else {
      this.#cache.dispose()
      this.#cache = undefined
    }
  }

  /** Logits of what follows each sequence, [B, V]; inside a scope. */
  #logits(
    cache: KvCache,
    given: readonly (readonly number[])[],
    isPrompt: boolean,
    prefixes?: readonly Prefix[],
  ): Tensor {
    const { read: count, held } = this.#virtual
    const virtual = Array<number>(isPrompt ? count : 0).fill(0)
    const read = virtual.length > 0 ? given.map(ids => [...virtual, ...ids]) : given
    const added = Int32Array.from(given, ids => ids.length + held)
    if (isPrompt) this.#promptTokens += given.reduce((sum, ids) => sum + ids.length, 0)
    if (isPrompt) cache.begin(added, prefixes)
    else cache.advance()
    const { lengths, first } = cache
    return this.#model.next(packed(read, lengths.subarray(first)), cache)
  }

  /** The next token of each sequence: drawn on the device, after a look at the scores where the options ask for one. */
  async #draw(logits: Tensor, sequences: readonly Sequence[]): Promise<ArrayLike<number>> {
    if (sequences.every(({ choice }) => choice.temperature === 0 && !isAdjusted(choice)))
      return await sample(logits, { temperature: 0, seed: 0, step: 0 }).i32()
    const V = logits.columns
    const reads = sequences.map((sequence, i) => {
      const row = logits.view(i * V, [1, V])
      return isAdjusted(sequence.choice) ? row.data() : drawn(row, sequence).data()
    })
    return Promise.all(
      reads.map(async (read, i) => {
        const values = await read
        if (values instanceof Int32Array) return nth(values, 0)
        return await drawAdjusted(values, nth(sequences, i), this.#model.device)
      }),
    )
  }
}

/**
 * Tokens after a kept beginning meet it key by key, those of a whole prompt in blocks, three times as fast: with fewer
 * kept than new ones little is saved.
 */
const isWorth = (kept: number, ids: readonly number[]) => kept >= PAGE && 2 * kept >= ids.length

function drawn(row: Tensor, { choice, ids, begin }: Sequence, topK = choice.topK): Tensor {
  const { temperature, topP, seed, sample: number } = choice
  return sample(row, { temperature, topK, topP, seed, step: ids.length - begin, row: number })
}

/** Draws from scores on the host. What lies below `minP` is what lies behind so many of the likeliest. */
function drawAdjusted(scores: Logits, sequence: Sequence, device: Tensor['device']): Promise<number> {
  const { topK, minP, temperature } = sequence.choice
  adjust(scores, sequence, sequence.choice)
  const above = minP > 0 && temperature > 0 ? countAbove(scores, minP, temperature) : 0
  const most = above > 0 && (topK === 0 || above < topK) ? above : topK
  const { read } = scope(() => {
    return { read: drawn(Tensor.from(scores, [1, scores.length], { device }), sequence, most).data() }
  })
  return read.then(([id]) => must(id, 'id'))
}

/** Tokens of sequences that reach `lengths` with them, one after the other. */
function packed(given: readonly (readonly number[])[], lengths: Int32Array): PackedBatch {
  const positions = given.flatMap((ids, i) => ids.map((_, t) => nth(lengths, i) - ids.length + t))
  return { ...pack(given.map(ids => Int32Array.from(ids))), positions: Int32Array.from(positions) }
}
