import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { check, fail } from '../errors.ts'
import { createEncoder, type Encoder } from './encoder.ts'
import { asObject, findSpecials, type Json, readTemplate, type SpecialIds, type Template } from './specials.ts'
import { prepareText, readTraits, type Traits } from './text.ts'
import { truncatePair } from './truncate.ts'

/** One text or pair as token ids, special tokens included, never padded. */
export interface Encoded {
  readonly ids: Int32Array
  /** 0 for the first text, 1 for the second where the tokenizer tells them apart; as long as `ids`. */
  readonly typeIds: Int32Array
  /** Whether tokens were cut to keep `maxLength`. */
  readonly truncated: boolean
}

/** Words as token ids; `wordIds[i]` is the index of the word that token i comes from, −1 for special tokens. */
export interface EncodedWords extends Encoded {
  readonly wordIds: Int32Array
}

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  readonly pair?: string | undefined
  /** Most tokens, special tokens included. */
  readonly maxLength?: number | undefined
}

/** Text to token ids and back. All calls are synchronous and may be repeated with equal results. */
export interface Tokenizer {
  /** The folder or file it was loaded from. */
  readonly path: string
  readonly specials: SpecialIds
  /** Ids of every special token, of `specials` or not. */
  readonly specialIds: ReadonlySet<number>
  /** Largest token id + 1: rows the embedding must have. */
  readonly vocabSize: number
  /** `model_max_length` of tokenizer_config.json; undefined when absent or the "no limit" number. */
  readonly modelMaxLength: number | undefined
  /** Special tokens around one text. */
  readonly overhead: number
  /**
   * Ids of one text or a pair. Past `maxLength` the special tokens stay and tokens are cut from the right, for pairs
   * from the longer text. @throws ERR_OPTION when maxLength has no room for the special tokens.
   */
  encode(text: string, options?: EncodeOptions): Encoded
  /**
   * Ids of a sentence given as words; each word is tokenised alone (byte-level tokenizers: as after a space). A word
   * without any token becomes the unknown token, so that each word that fits has a piece.
   */
  encodeWords(words: readonly string[], options?: { readonly maxLength?: number | undefined }): EncodedWords
  /** Ids of a text without special tokens and without limit. */
  tokens(text: string): number[]
  /** Text of ids. Special tokens are left out unless `keepSpecials`. @throws ERR_DATA for an unknown id. */
  decode(ids: ArrayLike<number>, options?: { readonly keepSpecials?: boolean }): string
  /** Text of one token as the vocabulary has it (`##ing`, `Ġthe`); undefined for an unknown id. */
  token(id: number): string | undefined
  /** Id of a vocabulary entry. */
  id(token: string): number | undefined
  /** Whether a token continues the word of the token before it. */
  continues(id: number): boolean
}

const wordCacheSize = 100_000
const unlimited = 1e15

/**
 * Loads a tokenizer from a Hugging Face folder (tokenizer.json, and tokenizer_config.json and special_tokens_map.json
 * where present) or from a tokenizer.json file itself. Truncation and padding stored in the file are ignored.
 * @throws ERR_CONFIG when files are missing or malformed, ERR_UNSUPPORTED for parts this package cannot run.
 */
export function loadTokenizer(dirOrFile: string): Tokenizer {
  const isFolder = statSync(dirOrFile, { throwIfNoEntry: false })?.isDirectory() ?? false
  const file = isFolder ? join(dirOrFile, 'tokenizer.json') : dirOrFile
  const folder = isFolder ? dirOrFile : dirname(dirOrFile)
  const tokenizer = readJson(file)
  check(tokenizer, 'ERR_CONFIG', () => `tokenizer: ${file} does not exist; save the tokenizer in its fast format`)
  const config = readJson(join(folder, 'tokenizer_config.json')) ?? {}
  const map = readJson(join(folder, 'special_tokens_map.json')) ?? {}
  return createTokenizer(dirOrFile, tokenizer, [config, map])
}

function createTokenizer(path: string, source: Json, configs: readonly [Json, Json]): Tokenizer {
  const encoder = createEncoder(path, source)
  const traits = readTraits(source)
  const vocab = encoder.get_vocab()
  const idOf = (token: string): number | undefined => vocab.get(token)
  const specials = findSpecials(source, configs, idOf)
  const template = readTemplate(source.post_processor, idOf)
  const specialIds = new Set(Object.values(specials).filter(id => id !== undefined))
  for (const [id, token] of encoder.get_added_tokens_decoder()) if (token.special) specialIds.add(id)
  let vocabSize = 0
  for (const id of vocab.values()) vocabSize = Math.max(vocabSize, id + 1)
  const limit = configs[0].model_max_length
  const tokens = (text: string, most = Number.POSITIVE_INFINITY): number[] => rawIds(encoder, traits, text, most)
  const wordTokens = wordEncoder(tokens, traits, specials.unk)
  return {
    path,
    specials,
    specialIds,
    vocabSize,
    modelMaxLength: typeof limit === 'number' && limit > 0 && limit < unlimited ? limit : undefined,
    overhead: template.single.filter(slot => 'id' in slot).length,
    encode: (text, options = {}) => encodeText(tokens, template, text, options),
    encodeWords: (list, options = {}) => encodeWordList(wordTokens, template, list, options.maxLength),
    tokens: text => tokens(text),
    decode: (ids, options = {}) => decodeIds(encoder, ids, specialIds, options.keepSpecials ?? false),
    token: id => encoder.id_to_token(id),
    id: idOf,
    continues: id => traits.continues(encoder.id_to_token(id) ?? ''),
  }
}

/** Ids of single words, remembered, since data repeat their words. */
function wordEncoder(tokens: (text: string) => number[], traits: Traits, unknown: number | undefined) {
  const words = new Map<string, readonly number[]>()
  return (word: string): readonly number[] => {
    const known = words.get(word)
    if (known) return known
    const pieces = tokens(traits.wordPrefix && word !== '' && !word.startsWith(' ') ? ` ${word}` : word)
    if (pieces.length === 0) {
      check(unknown !== undefined, 'ERR_DATA', () => `tokenizer: the word "${word}" yields no token`)
      pieces.push(unknown)
    }
    if (words.size >= wordCacheSize) words.clear()
    words.set(word, pieces)
    return pieces
  }
}

function readJson(file: string): Json | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    fail('ERR_CONFIG', `tokenizer: cannot read ${file}: ${String((error as Error).message)}`, error)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    fail('ERR_CONFIG', `tokenizer: ${file} is not JSON: ${(error as Error).message}`, error)
  }
  const object = asObject(value)
  check(object, 'ERR_CONFIG', () => `tokenizer: ${file} holds no JSON object`)
  return object
}

/** Token ids of a text; may stop after `most` + 1 of them where that cannot change the earlier ones. */
function rawIds(encoder: Encoder, traits: Traits, text: string, most: number): number[] {
  let size = Math.max(4096, most * 16)
  while (traits.cutsAtSpaces && size < text.length) {
    const end = spaceAfterWord(text, size)
    if (end < 0) break
    const ids = allIds(encoder, traits, text.slice(0, end))
    if (ids.length > most) return ids
    size = Math.max(size * 4, end + 1)
  }
  return allIds(encoder, traits, text)
}

/** The first plain space at or after `from` that follows a letter, digit or mark; −1 without one. */
function spaceAfterWord(text: string, from: number): number {
  const pattern = /[\p{L}\p{N}\p{P}](?=[ \n])/gu
  pattern.lastIndex = from
  const match = pattern.exec(text)
  return match ? match.index + match[0].length : -1
}

function allIds(encoder: Encoder, traits: Traits, text: string): number[] {
  if (text === '') return []
  const ids = encoder.encode(prepareText(text, traits), { add_special_tokens: false }).ids
  check(isComplete(ids), 'ERR_DATA', () => {
    return 'tokenizer: the text holds a character outside the vocabulary and there is no unknown token'
  })
  return ids
}

function isComplete(ids: (number | undefined)[]): ids is number[] {
  return !ids.includes(undefined)
}

function encodeText(
  tokens: (text: string, most?: number) => number[],
  template: Template,
  text: string,
  { pair, maxLength }: EncodeOptions,
): Encoded {
  const slots = pair === undefined ? template.single : template.pair
  const room = roomFor(slots, maxLength)
  const first = tokens(text, room)
  const second = pair === undefined ? [] : tokens(pair, room)
  const [a, b] = truncatePair(first.length, second.length, room)
  const parts = { A: first.slice(0, a), B: second.slice(0, b) }
  const { ids, typeIds } = assemble(slots, parts)
  return { ids, typeIds, truncated: a < first.length || b < second.length }
}

function encodeWordList(
  wordTokens: (word: string) => readonly number[],
  { single }: Template,
  words: readonly string[],
  maxLength: number | undefined,
): EncodedWords {
  const room = roomFor(single, maxLength)
  const pieces: number[] = []
  const owners: number[] = []
  for (let i = 0; i < words.length && pieces.length <= room; i++)
    for (const id of wordTokens(words[i]!)) {
      pieces.push(id)
      owners.push(i)
    }
  const truncated = pieces.length > room
  const kept = truncated ? pieces.slice(0, room) : pieces
  const { ids, typeIds, start } = assemble(single, { A: kept, B: [] })
  const wordIds = new Int32Array(ids.length).fill(-1)
  wordIds.set(owners.slice(0, kept.length), start)
  return { ids, typeIds, wordIds, truncated }
}

function roomFor(slots: Template['single'], maxLength: number | undefined): number {
  if (maxLength === undefined) return Number.POSITIVE_INFINITY
  const fixed = slots.filter(slot => 'id' in slot).length
  check(Number.isInteger(maxLength) && maxLength > fixed, 'ERR_OPTION', () => {
    return `maxLength: ${maxLength} leaves no room beside ${fixed} special tokens; give an integer above ${fixed}`
  })
  return maxLength - fixed
}

function assemble(slots: Template['single'], parts: Record<'A' | 'B', readonly number[]>) {
  let length = 0
  for (const slot of slots) length += 'id' in slot ? 1 : parts[slot.text].length
  const ids = new Int32Array(length)
  const typeIds = new Int32Array(length)
  let at = 0
  let start = 0
  for (const slot of slots) {
    const piece = 'id' in slot ? [slot.id] : parts[slot.text]
    if ('text' in slot && slot.text === 'A') start = at
    ids.set(piece, at)
    typeIds.fill(slot.type, at, at + piece.length)
    at += piece.length
  }
  return { ids, typeIds, start }
}

function decodeIds(
  encoder: Encoder,
  ids: ArrayLike<number>,
  specialIds: ReadonlySet<number>,
  keepSpecials: boolean,
): string {
  const list = Array.from(ids)
  for (const id of list)
    check(encoder.id_to_token(id) !== undefined, 'ERR_DATA', () => `decode: token id ${id} is not in the vocabulary`)
  const kept = keepSpecials ? list : list.filter(id => !specialIds.has(id))
  return kept.length === 0 ? '' : encoder.decode(kept)
}
