import { check } from '../errors.ts'
import { causalLmHead, seq2seqLmHead } from '../heads/languageModel.ts'
import { preferenceHead } from '../heads/preference.ts'
import { shown } from '../io/json.ts'
import type { Model } from '../model.ts'
import { checkIdle, checkOptions, isRecord, type OptionsOf } from '../options.ts'
import { openedIds } from '../tasks/causalLm.ts'
import { type ChatOptions, promptIds } from '../tasks/chat.ts'
import { withEnd } from '../tasks/seq2seqLm.ts'
import type { Message } from '../tokenizer/chatTemplate.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { nth } from '../tuple.ts'
import { Decoder } from './decoder.ts'
import type { CacheOptions } from './kvCache.ts'
import { cacheOptions, choiceOf, type Decoding, TOKEN_OPTIONS, type TokenOptions } from './options.ts'

/** What is continued: a text as it is, or a conversation in which the assistant is to speak next. */
export type Prompt = string | readonly Message[]

/** How a text is made. */
export interface GenerateOptions extends TokenOptions {
  /** Strings that end the text; they are not part of it. */
  readonly stop?: readonly string[] | undefined
  /** How conversations are written. */
  readonly chat?: ChatOptions | undefined
  /** What the assistant may call. */
  readonly tools?: readonly unknown[] | undefined
}

/** Names of {@link GenerateOptions}. */
export const TEXT_OPTIONS: OptionsOf<GenerateOptions> = { ...TOKEN_OPTIONS, stop: true, chat: true, tools: true }

/** A piece of a generated text. */
export interface Generated {
  /** What it adds to the text; empty while a character or a stop string may still go on. */
  readonly text: string
  /** Why it is the last: an end token or stop string, or no room. */
  readonly finish?: 'stop' | 'length'
}

/** A whole generated text. */
export interface Completion {
  readonly text: string
  readonly finish: 'stop' | 'length'
  /** Tokens generated, the one that ended it included. */
  readonly tokens: number
}

/**
 * The tokens that a causal language model adds to a prompt, or an encoder-decoder says to it, one after the other, an
 * end token included. Each is a forward pass of one token; those before it lie in a cache.
 * @throws ERR_OPTION for a prompt that is empty or leaves no room, or an option that is none; ERR_UNSUPPORTED for a
 * model with another head
 */
export async function* generateTokens(
  model: Model,
  prompt: Int32Array,
  options: TokenOptions & Pick<CacheOptions, 'cacheType'> = {},
): AsyncGenerator<number> {
  checkOptions('generateTokens', options, { ...TOKEN_OPTIONS, cacheType: true })
  checkModel(model)
  const { cacheType, ...choices } = options
  const choice = choiceOf(model, choices)
  const decoder = new Decoder(model, { ...cacheOptions({ cacheType }), sequences: 1, reuse: 0 })
  try {
    yield* choice.beams > 1 ? firstBeam(decoder, prompt, choice) : decoder.tokens(prompt, choice)
  } finally {
    await decoder.close()
  }
}

/**
 * The text that a language model adds to a prompt, or says to it, piece by piece, up to an end token, a stop string or
 * the last of `maxNewTokens`. Pieces joined are the text; of a beam search there is one.
 * @throws as {@link generateTokens}; ERR_CONFIG for messages where the tokenizer has no chat template
 */
export async function* generate(
  model: Model,
  tokenizer: Tokenizer,
  prompt: Prompt,
  options: GenerateOptions & Pick<CacheOptions, 'cacheType'> = {},
): AsyncGenerator<Generated> {
  checkOptions('generate', options, { ...TEXT_OPTIONS, cacheType: true })
  checkModel(model)
  const { cacheType, ...choices } = options
  const decoder = new Decoder(model, { ...cacheOptions({ cacheType }), sequences: 1, reuse: 0 })
  try {
    yield* generateBy(decoder, model, tokenizer, prompt, choices)
  } finally {
    await decoder.close()
  }
}

/** The same by a decoder that goes on: what it keeps of earlier texts is not read again. */
export async function* generateBy(
  decoder: Decoder,
  model: Model,
  tokenizer: Tokenizer,
  prompt: Prompt,
  { stop, chat, tools, ...choices }: GenerateOptions,
): AsyncGenerator<Generated> {
  const choice = choiceOf(model, choices)
  const given = encodePrompt(model, tokenizer, prompt, { chat, tools })
  const text = { before: historyOf(model, given), ends: choice.ends, stop }
  const ids = choice.beams > 1 ? firstBeam(decoder, given, choice) : decoder.tokens(given, choice)
  yield* pieces(tokenizer, ids, text)
}

async function* firstBeam(decoder: Decoder, prompt: Int32Array, choice: Decoding): AsyncGenerator<number> {
  yield* nth(await decoder.beams(prompt, choice), 0)
}

/** How many texts are made, and how. */
export interface CompleteOptions extends GenerateOptions, CacheOptions {
  /** Texts for each prompt, each drawn anew; the best so many of a beam search. Default 1. */
  readonly n?: number | undefined
  /** Texts under way at a time; others wait. Default 16. */
  readonly batchSize?: number | undefined
}

/**
 * Texts that a language model adds to prompts, `n` for each, in their order. Prompts of any lengths go side by
 * side, and one takes the place of another as soon as that is done; what is drawn is the same however many there are.
 * @throws as {@link generate}
 */
export async function complete(
  model: Model,
  tokenizer: Tokenizer,
  prompts: readonly Prompt[],
  options: CompleteOptions = {},
): Promise<Completion[][]> {
  checkOptions('complete', options, { ...TEXT_OPTIONS, n: true, batchSize: true, cacheType: true, reuse: true })
  checkModel(model)
  const { stop, chat, tools, n = 1, batchSize = 16, cacheType, reuse, ...choices } = options
  for (const [name, value] of Object.entries({ n, batchSize }))
    check(Number.isInteger(value) && value > 0, 'ERR_OPTION', () => `${name}: ${value} is not a positive integer`)
  const choice = choiceOf(model, choices)
  check(choice.beams === 1 || n <= choice.beams, 'ERR_OPTION', () => {
    return `n: ${n} texts of ${choice.beams} beams; ask for at most as many`
  })
  const decoder = new Decoder(model, { ...cacheOptions({ cacheType, reuse }), sequences: batchSize })
  const completeOne = async (prompt: Prompt): Promise<Completion[]> => {
    const given = encodePrompt(model, tokenizer, prompt, { chat, tools })
    const whole = (ids: AsyncIterable<number>) =>
      joined(tokenizer, ids, { before: historyOf(model, given), ends: choice.ends, stop })
    if (choice.beams === 1)
      return Promise.all(
        Array.from({ length: n }, (_, i) => whole(decoder.tokens(given, { ...choice, sample: choice.sample + i }))),
      )
    const beams = await decoder.beams(given, choice)
    return Promise.all(beams.slice(0, n).map(ids => whole(streamed(ids))))
  }
  try {
    if (choice.beams === 1) return await Promise.all(prompts.map(completeOne))
    const all: Completion[][] = []
    for (const prompt of prompts) all.push(await completeOne(prompt))
    return all
  } finally {
    await decoder.close()
  }
}

async function* streamed(ids: readonly number[]): AsyncGenerator<number> {
  yield* ids
}

/** Ids of a prompt. @throws ERR_CONFIG for messages where the tokenizer has no chat template */
function encodePrompt(
  { backbone }: Model,
  tokenizer: Tokenizer,
  prompt: Prompt,
  { chat = {}, tools }: Pick<GenerateOptions, 'chat' | 'tools'> = {},
): Int32Array {
  if (typeof prompt === 'string') {
    checkIdle('tools', tools, () => 'on a text', "give a conversation, [{ role: 'user', content: 'text' }]")
    return backbone.startId === undefined
      ? Int32Array.from(openedIds(tokenizer, prompt))
      : withEnd(tokenizer, prompt, Number.POSITIVE_INFINITY).ids
  }
  check(Array.isArray(prompt) && prompt.length > 0 && prompt.every(isMessage), 'ERR_OPTION', () => {
    return `prompt: ${shown(prompt)} is no text and no list of messages; give { role: 'user', content: 'text' }, say`
  })
  return promptIds({ messages: prompt, ...(tools ? { tools } : {}) }, tokenizer, chat)
}

const isMessage = (value: unknown) => isRecord(value) && typeof value.role === 'string'

/** An encoder-decoder's answer does not go on from what it read. */
const historyOf = ({ backbone }: Model, given: Int32Array) =>
  backbone.startId === undefined ? given : new Int32Array(0)

/** @throws ERR_UNSUPPORTED for a model that says no texts */
export function checkModel({ task }: Model): void {
  const tasks: readonly string[] = [causalLmHead.task, preferenceHead.task, seq2seqLmHead.task]
  check(tasks.includes(task), 'ERR_UNSUPPORTED', () => {
    return `generate: the model has a head for ${task}; load it with task ${tasks.join(' or ')}`
  })
}

/** What is needed to read tokens as text. */
interface TextOptions {
  /** Tokens that the text goes on from, and does not begin with. */
  readonly before: Int32Array
  readonly ends: Decoding['ends']
  readonly stop: readonly string[] | undefined
}

/** Tokens as a whole text. */
async function joined(tokenizer: Tokenizer, ids: AsyncIterable<number>, options: TextOptions): Promise<Completion> {
  let [text, tokens, finish]: [string, number, Completion['finish']] = ['', 0, 'length']
  const counted = async function* () {
    for await (const id of ids) {
      tokens++
      yield id
    }
  }
  for await (const piece of pieces(tokenizer, counted(), options)) {
    text += piece.text
    finish = piece.finish ?? finish
  }
  return { text, finish, tokens }
}

/** Tokens as pieces of text. */
async function* pieces(
  tokenizer: Tokenizer,
  tokens: AsyncIterable<number>,
  { before: given, ends, stop = [] }: TextOptions,
): AsyncGenerator<Generated> {
  check(!stop.includes(''), 'ERR_OPTION', () => 'stop: an empty string ends every text; leave it out')
  const ids = [...given]
  const before = tokenizer.decode(given).length
  const textSoFar = () => tokenizer.decode(Int32Array.from(ids)).slice(before)
  let told = 0
  for await (const id of tokens) {
    if (ends.has(id)) {
      yield { text: textSoFar().slice(told), finish: 'stop' }
      return
    }
    // Embeddings may have more rows than there are tokens.
    if (tokenizer.token(id) !== undefined) ids.push(id)
    const text = textSoFar()
    const end = Math.min(...stop.map(each => text.indexOf(each)).filter(at => at >= 0))
    if (Number.isFinite(end)) {
      yield { text: text.slice(told, end), finish: 'stop' }
      return
    }
    const safe = settled(text, stop)
    yield { text: text.slice(told, safe) }
    told = Math.max(told, safe)
  }
  yield { text: textSoFar().slice(told), finish: 'length' }
}

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
