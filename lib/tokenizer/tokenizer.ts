import { brief, check } from '../errors.ts'
import { localFolder } from '../hub/folder.ts'
import { shown } from '../io/json.ts'
import { checkOptions } from '../options.ts'
import { isCount } from '../tuple.ts'
import { type ChatTemplate, chatTemplate } from './chatTemplate.ts'
import { followConfig, type Side, sideOf } from './config.ts'
import { readDecoder } from './decoders.ts'
import type { TokenizerFiles } from './files.ts'
import { readTokenizerFiles } from './folder.ts'
import type { Fields } from './json.ts'
import { createPipeline, type Pipeline, push, type Spans } from './pipeline.ts'
import { findSpecials, namedSpecials, type SpecialIds, tokenConfigs } from './specials.ts'
import { readTemplate, type Template } from './template.ts'
import { readTraits, type Traits } from './traits.ts'
import { truncatePair } from './truncate.ts'

/** One text or pair as token ids, special tokens included, never padded. */
export interface Encoded {
  readonly ids: Int32Array
  /** 0 for the first text, 1 for the second where the tokenizer tells them apart; as long as `ids`. */
  readonly typeIds: Int32Array
  /**
   * Token i stands for the units [starts[i], ends[i]) of its text (UTF-16), or of its word with `encodeWords`.
   * Both are 0 for special tokens that surround a text.
   */
  readonly starts: Int32Array
  readonly ends: Int32Array
  /** The text that each token is of: 0 for the first, 1 for the second, −1 for special tokens around them. */
  readonly textIds: Int32Array
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

  /** The end of a text that is cut off past `maxLength`; right where the files say nothing. */
  readonly truncationSide: Side
  /** How conversations are written; undefined where the files do not say it. */
  readonly chatTemplate: ChatTemplate | undefined
  /**
   * Ids of one text or a pair. Past `maxLength` the special tokens stay and tokens are cut off at `truncationSide`, for
   * pairs from the longer text. @throws ERR_OPTION when maxLength has no room for the special tokens.
   */
  encode(text: string, options?: EncodeOptions): Encoded
  /**
   * Ids of a sentence given as words; each word is tokenised alone (byte-level tokenizers: as after a space). A word
   * without any token becomes the unknown token, so that each word that fits has a piece.
   */
  encodeWords(words: readonly string[], options?: { readonly maxLength?: number | undefined }): EncodedWords
  /** Ids of a text without special tokens and without limit. */
  tokens(text: string): number[]
  /** {@link tokens}, and the UTF-16 units that each stands for. */
  spans(text: string): Readonly<Spans>
  /** Text of ids. Special tokens are left out unless `keepSpecials`. @throws ERR_DATA for an unknown id. */
  decode(ids: ArrayLike<number>, options?: { readonly keepSpecials?: boolean }): string
  /** Text of one token as the vocabulary has it (`##ing`, `Ġthe`); undefined for an unknown id. */
  token(id: number): string | undefined
  /** Id of a vocabulary entry. */
  id(token: string): number | undefined
  /** Whether a token continues the word of the token before it. */
  continues(id: number): boolean
}

/** What is taken in place of what the files say. */
export interface TokenizerOptions {
  readonly truncationSide?: Side | undefined
}

const wordCacheSize = 100_000
const unlimited = 1e15

/**
 * Loads a tokenizer from a Hugging Face folder, a tokenizer.json itself, a GGUF file, or the hub (`owner/name`). A
 * folder holds tokenizer.json, or vocab.txt (BERT), or vocab.json and merges.txt (GPT-2, RoBERTa), and, where present,
 * tokenizer_config.json and special_tokens_map.json; the config is followed as transformers 5 follows it. Lengths of
 * truncation and padding stored in the file are ignored.
 * @throws ERR_CONFIG when files are missing or malformed, ERR_UNSUPPORTED for parts this package cannot run.
 */
export async function loadTokenizer(dirOrFile: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
  checkOptions('loadTokenizer', options, { truncationSide: true })
  check(typeof dirOrFile === 'string', 'ERR_OPTION', () => {
    return `loadTokenizer: ${dirOrFile} is no path of a folder or file`
  })
  const cure = 'name a folder with tokenizer.json, or a model of the hub (owner/name)'
  const path = await localFolder(dirOrFile, { option: 'tokenizer', purpose: 'tokenizer', cure })
  return createTokenizer(path, await readTokenizerFiles(path), options)
}

function createTokenizer(path: string, files: TokenizerFiles, options: TokenizerOptions): Tokenizer {
  const { tokenizer, config, map, templates } = files
  const source = followConfig(tokenizer, config, map)
  const pipeline = createPipeline(path, source)
  const { vocabulary } = pipeline.model
  const idOf = (token: string): number | undefined => vocabulary.id(token)
  const specials = findSpecials(source, tokenConfigs(config, map), idOf)
  const traits = readTraits(source, pipeline.model.continuing)
  const template = readTemplate(source.post_processor, idOf)
  const specialIds = new Set(Object.values(specials).filter(id => id !== undefined))
  const special = pipeline.added.filter(token => token.special)
  for (const { id } of special) specialIds.add(id)
  const hidden = new Set(special.map(token => token.content))
  const limit = config.model_max_length
  const side = options.truncationSide ?? config.truncation_side
  const truncationSide = sideOf(side, source.truncation, 'truncation_side')
  const coder: Coder = { pipeline, traits, template, side: truncationSide, unknown: specials.unk, words: new Map() }
  const decoder = readDecoder(source.decoder)
  return {
    path,
    specials,
    specialIds,
    vocabSize: vocabulary.size,
    modelMaxLength: typeof limit === 'number' && limit > 0 && limit < unlimited ? limit : undefined,

    truncationSide,
    chatTemplate: chatTemplate(path, templates, variablesOf(tokenConfigs(config, map))),
    encode: (text, options) => encodeText(coder, text, options),
    encodeWords: (list, options) => encodeWordList(coder, list, options),
    tokens: text => pipeline.encode(checkText('tokens', text)).ids,
    spans: text => pipeline.encode(checkText('spans', text)),
    decode(ids, options) {
      const list = textsOf(pipeline, ids, hidden, options)
      return list.length === 0 ? '' : decoder(list).join('')
    },
    token: id => vocabulary.token(id),
    id: idOf,
    continues: id => traits.continues(vocabulary.token(id) ?? ''),
  }
}

/** Special tokens under the names that chat templates know. */
function variablesOf(configs: readonly Fields[]): Fields {
  return Object.fromEntries(Object.entries(namedSpecials(configs)).map(([kind, token]) => [`${kind}_token`, token]))
}

/** @throws ERR_OPTION for what JavaScript may hand over in place of a text */
function checkText(what: string, text: unknown): string {
  check(typeof text === 'string', 'ERR_OPTION', () => `${what}: ${shown(text)} is no text`)
  return text
}

type WordOptions = Pick<EncodeOptions, 'maxLength'>

/** What encoding needs. */
interface Coder {
  readonly pipeline: Pipeline
  readonly traits: Traits
  readonly template: Template
  readonly side: Side
  readonly unknown: number | undefined
  /** Tokens of single words, remembered, since data repeat their words. */
  readonly words: Map<string, Spans>
}

/** Tokens of a text; may stop after `most` + 1 of them where that cannot change the earlier ones. */
function spansOf({ pipeline, traits, template, side }: Coder, text: string, most: number): Spans {
  const encode = (part: string) => pipeline.encode(part, template.trims ? { addsSpace: template.addsSpace } : undefined)
  let size = Math.max(4096, most * 16)
  while (traits.cutsAtSpaces && side === 'right' && size < text.length) {
    const end = spaceAfterWord(text, size)
    if (end < 0) break
    const spans = encode(text.slice(0, end))
    if (spans.ids.length > most) return spans
    size = Math.max(size * 4, end + 1)
  }
  return encode(text)
}

/** The first plain space at or after `from` that follows a letter, digit or mark; −1 without one. */
function spaceAfterWord(text: string, from: number): number {
  const pattern = /[\p{L}\p{N}\p{P}](?=[ \n])/gu
  pattern.lastIndex = from
  const match = pattern.exec(text)
  return match ? match.index + match[0].length : -1
}

function encodeText(coder: Coder, text: string, options: EncodeOptions = {}): Encoded {
  checkOptions('encode', options, { pair: true, maxLength: true })
  const { pair, maxLength } = options
  checkText('encode', text)
  if (pair !== undefined) checkText('pair', pair)
  const slots = pair === undefined ? coder.template.single : coder.template.pair
  const room = roomFor(slots, maxLength)
  const first = spansOf(coder, text, room)
  const second = pair === undefined ? none : spansOf(coder, pair, room)
  const [a, b] = truncatePair(first.ids.length, second.ids.length, room)
  const parts = { A: cut(first, a, coder.side), B: cut(second, b, coder.side) }
  const truncated = a < first.ids.length || b < second.ids.length
  return { ...assemble(slots, parts), truncated }
}

const none: Spans = { ids: [], starts: [], ends: [] }

function cut(spans: Spans, length: number, side: Side): Spans {
  if (length === spans.ids.length) return spans
  const from = side === 'right' ? 0 : spans.ids.length - length
  const part = (list: number[]) => list.slice(from, from + length)
  return { ids: part(spans.ids), starts: part(spans.starts), ends: part(spans.ends) }
}

/** A word's tokens, as after a space for byte-level tokenizers; one without any gets the unknown token. */
function wordSpans(coder: Coder, word: string): Spans {
  checkText('encodeWords', word)
  const known = coder.words.get(word)
  if (known) return known
  const prefix = coder.traits.wordPrefix && word !== '' && !word.startsWith(' ') ? ' ' : ''
  const spans = spansOf(coder, prefix + word, Number.POSITIVE_INFINITY)
  if (prefix) shift(spans, word.length)
  if (spans.ids.length === 0) {
    const { unknown } = coder
    check(unknown !== undefined, 'ERR_DATA', () => `tokenizer: the word "${brief(word)}" yields no token`)
    push(spans, unknown, 0, word.length)
  }
  if (coder.words.size >= wordCacheSize) coder.words.clear()
  coder.words.set(word, spans)
  return spans
}

/** Places without the space that was put before the word. */
function shift({ starts, ends }: Spans, length: number): void {
  for (let i = 0; i < starts.length; i++) {
    starts[i] = Math.min(length, Math.max(0, starts[i]! - 1))
    ends[i] = Math.max(0, ends[i]! - 1)
  }
}

function encodeWordList(coder: Coder, words: readonly string[], options: WordOptions = {}): EncodedWords {
  checkOptions('encodeWords', options, { maxLength: true })
  const { maxLength } = options
  check(Array.isArray(words), 'ERR_OPTION', () => `encodeWords: ${shown(words)} is no list of words`)
  const { single } = coder.template
  const room = roomFor(single, maxLength)
  const all: Spans = { ids: [], starts: [], ends: [] }
  const owners: number[] = []
  for (let i = 0; i < words.length && (coder.side === 'left' || all.ids.length <= room); i++) {
    const spans = wordSpans(coder, words[i]!)
    for (let t = 0; t < spans.ids.length; t++) {
      push(all, spans.ids[t]!, spans.starts[t]!, spans.ends[t]!)
      owners.push(i)
    }
  }
  const truncated = all.ids.length > room
  const kept = truncated ? cut(all, room, coder.side) : all
  const { start, ...encoded } = assemble(single, { A: kept, B: none })
  const wordIds = new Int32Array(encoded.ids.length).fill(-1)
  wordIds.set(owners.slice(coder.side === 'left' ? -kept.ids.length : 0).slice(0, kept.ids.length), start)
  return { ...encoded, wordIds, truncated }
}

function roomFor(slots: Template['single'], maxLength: number | undefined): number {
  if (maxLength === undefined) return Number.POSITIVE_INFINITY
  const fixed = slots.filter(slot => 'id' in slot).length
  check(Number.isInteger(maxLength) && maxLength > fixed, 'ERR_OPTION', () => {
    return `maxLength: ${maxLength} leaves no room beside ${fixed} special tokens; give an integer above ${fixed}`
  })
  return maxLength - fixed
}

function assemble(slots: Template['single'], parts: Readonly<Record<'A' | 'B', Spans>>) {
  let length = 0
  for (const slot of slots) length += 'id' in slot ? 1 : parts[slot.text].ids.length
  const make = () => new Int32Array(length)
  const [ids, typeIds, starts, ends, textIds] = [make(), make(), make(), make(), make().fill(-1)]
  let at = 0
  let start = 0
  for (const slot of slots) {
    if ('id' in slot) ids[at] = slot.id
    else {
      if (slot.text === 'A') start = at
      const spans = parts[slot.text]
      ids.set(spans.ids, at)
      starts.set(spans.starts, at)
      ends.set(spans.ends, at)
      textIds.fill(slot.text === 'A' ? 0 : 1, at, at + spans.ids.length)
    }
    const count = 'id' in slot ? 1 : parts[slot.text].ids.length
    typeIds.fill(slot.type, at, at + count)
    at += count
  }
  return { ids, typeIds, starts, ends, textIds, start }
}

/** Texts of ids, those of special tokens left out unless they are kept. */
function textsOf(
  { model, addedText }: Pipeline,
  ids: ArrayLike<number>,
  specials: ReadonlySet<string>,
  options: Parameters<Tokenizer['decode']>[1] = {},
): string[] {
  checkOptions('decode', options, { keepSpecials: true })
  check(typeof ids === 'object' && isCount(ids?.length), 'ERR_OPTION', () => `decode: ${shown(ids)} is no list of ids`)
  const without = options.keepSpecials ? undefined : specials
  const texts: string[] = []
  for (const id of Array.from(ids)) {
    const token = addedText(id) ?? model.vocabulary.token(id)
    check(token !== undefined, 'ERR_DATA', () => `decode: token id ${id} is not in the vocabulary`)
    if (!without?.has(token)) texts.push(token)
  }
  return texts
}
