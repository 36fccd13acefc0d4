import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../errors.ts'
import { causalLmHead, seq2seqLmHead } from '../heads/languageModel.ts'
import { readJson } from '../io/json.ts'
import type { Model } from '../model.ts'
import { maxTokens, pack } from '../nn/batch.ts'
import { sample } from '../ops/sample.ts'
import { SEED } from '../options.ts'
import { scope } from '../tensor.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { KvCache } from './kvCache.ts'

/** How {@link generateTokens} picks tokens, and when it ends. */
export interface TokenOptions {
  /** Most tokens to generate. Default 256, and never more than the model has positions for. */
  readonly maxNewTokens?: number | undefined
  /** 0 takes the likeliest token each time. Default 0. */
  readonly temperature?: number | undefined
  /** Draw among so many of the likeliest; 0: all. Default 0. */
  readonly topK?: number | undefined
  /** Draw among the fewest that together have this probability. Default 1. */
  readonly topP?: number | undefined
  /** The same seed draws the same tokens. Default {@link SEED}. */
  readonly seed?: number | undefined
  /** Ids that end a text. Default: those of generation_config.json or config.json. */
  readonly endIds?: readonly number[] | undefined
  /** Stops between tokens, with its reason thrown. */
  readonly signal?: AbortSignal | undefined
}

/** How {@link generate} picks tokens, and when it ends. */
export interface GenerateOptions extends TokenOptions {
  /** Strings that end the text; they are not part of it. */
  readonly stop?: readonly string[] | undefined
}

/** A piece of a generated text. */
export interface Generated {
  /** What it adds to the text; empty while a character or a stop string may still go on. */
  readonly text: string
  /** Why it is the last: an end token or stop string, or no room. */
  readonly finish?: 'stop' | 'length'
}

/**
 * The tokens that a causal language model adds to a prompt, or an encoder-decoder says to it, one after the other, an
 * end token included. Each is a forward pass of one token; those before it lie in a cache.
 * @throws ERR_OPTION for a prompt that is empty or leaves no room, ERR_UNSUPPORTED for a model with another head
 */
export async function* generateTokens(
  model: Model,
  prompt: Int32Array,
  options: TokenOptions = {},
): AsyncGenerator<number> {
  const { maxNewTokens = 256, temperature = 0, topK = 0, topP = 1, seed = SEED, signal } = options
  const most = maxTokens(model.backbone.limits)
  const tasks: readonly string[] = [causalLmHead.task, seq2seqLmHead.task]
  check(tasks.includes(model.task), 'ERR_UNSUPPORTED', () => {
    return `generate: the model has a head for ${model.task}; load it with task ${tasks.join(' or ')}`
  })
  check(prompt.length > 0 && prompt.length < most, 'ERR_OPTION', () => {
    return `generate: a prompt of ${prompt.length} tokens, expected 1 to ${most - 1}; shorten it`
  })
  check(Number.isInteger(maxNewTokens) && maxNewTokens > 0, 'ERR_OPTION', () => {
    return `maxNewTokens: ${maxNewTokens} is not a positive integer`
  })
  const ends = new Set(options.endIds ?? endIdsOf(model))
  const { startId } = model.backbone
  let ids = startId === undefined ? prompt : Int32Array.of(startId)
  const begin = ids.length
  const capacity = Math.min(most, begin + maxNewTokens)
  const cache = new KvCache(model.backbone.layers, { sequences: 1, capacity, device: model.device })
  try {
    if (startId !== undefined) scope(() => cache.remember(model.encode(pack([prompt]))))
    for (let step = 0; begin + step < capacity; step++) {
      signal?.throwIfAborted()
      const { read } = scope(() => {
        const logits = nextLogits(model, ids, cache)
        return { read: sample(logits, { temperature, topK, topP, seed, step }).data() }
      })
      const [id] = (await read) as Int32Array
      yield id!
      if (ends.has(id!)) return
      ids = Int32Array.of(id!)
    }
  } finally {
    cache.dispose()
  }
}

/** Logits of the token after `ids`, which follow those in the cache; inside a scope. */
function nextLogits(model: Model, ids: Int32Array, cache: KvCache) {
  const [past = 0] = cache.lengths
  const { length } = ids
  cache.advance(Int32Array.of(length))
  const positions = ids.map((_, i) => past + i)
  return model.next({ ids, positions, cuSeqlens: Int32Array.of(0, length), maxLength: length }, cache)
}

/**
 * The text that a language model adds to a prompt, or says to it, piece by piece, up to an end token, a stop string or
 * the last of `maxNewTokens`. Pieces joined are the text.
 * @throws as {@link generateTokens}
 */
export async function* generate(
  model: Model,
  tokenizer: Tokenizer,
  prompt: string,
  options: GenerateOptions = {},
): AsyncGenerator<Generated> {
  const { stop = [] } = options
  check(!stop.includes(''), 'ERR_OPTION', () => 'stop: an empty string ends every text; leave it out')
  const { ids: given } = tokenizer.encode(prompt)
  const ends = new Set(options.endIds ?? endIdsOf(model))
  // An encoder-decoder's answer does not begin with what it read.
  const ids = model.backbone.startId === undefined ? [...given] : []
  const before = tokenizer.decode(Int32Array.from(ids)).length
  let told = 0
  for await (const id of generateTokens(model, given, options)) {
    if (ends.has(id)) {
      yield { text: textAfter(tokenizer, ids, before).slice(told), finish: 'stop' }
      return
    }
    ids.push(id)
    const text = textAfter(tokenizer, ids, before)
    const end = Math.min(...stop.map(each => text.indexOf(each)).filter(at => at >= 0))
    if (Number.isFinite(end)) {
      yield { text: text.slice(told, end), finish: 'stop' }
      return
    }
    const safe = settled(text, stop)
    yield { text: text.slice(told, safe) }
    told = Math.max(told, safe)
  }
  yield { text: textAfter(tokenizer, ids, before).slice(told), finish: 'length' }
}

const textAfter = (tokenizer: Tokenizer, ids: readonly number[], before: number) =>
  tokenizer.decode(Int32Array.from(ids)).slice(before)

/** How much of a text no later token can change: without half a character, or the beginning of a stop string. */
function settled(text: string, stop: readonly string[]): number {
  let end = text.length
  while (end > 0 && text[end - 1] === '\uFFFD') end--
  for (const each of stop)
    for (let size = Math.min(each.length - 1, end); size > 0; size--)
      if (text.slice(0, end).endsWith(each.slice(0, size))) {
        end -= size
        break
      }
  return end
}

/** `eos_token_id` of generation_config.json, else of config.json: one id or several. */
function endIdsOf({ path, config }: Model): number[] {
  const file = path === undefined ? '' : join(path, 'generation_config.json')
  const own = existsSync(file) ? (readJson(file) as Readonly<Record<string, unknown>>).eos_token_id : undefined
  const ids = own ?? config.values.eos_token_id ?? []
  return [ids].flat().filter(id => typeof id === 'number')
}
