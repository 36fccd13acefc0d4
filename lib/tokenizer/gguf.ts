// The tokenizer of a GGUF file, in the shape of tokenizer.json: byte-level BPE with the splitting that its name stands
// for, or sentencepiece's BPE, whose merges follow from the scores of its pieces. Sources: llama.cpp's llama-vocab.cpp
// for the names, the tokenizer.json files of the models themselves for the parts.

import { check, fail } from '../errors.ts'
import { readGguf } from '../io/gguf/file.ts'
import type { GgufHeader, GgufValue } from '../io/gguf/read.ts'
import { isTexts, nth } from '../tuple.ts'
import type { TokenizerFiles } from './files.ts'
import type { Fields } from './json.ts'

/** Kinds of tokens, as sentencepiece numbers them. */
export const KINDS = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const
const { normal: NORMAL, control: CONTROL, userDefined: USER_DEFINED } = KINDS

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
/** With every key that Python's library wants. */
const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
})
const split = (digits: string) => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex: `${contractions}|${digits}|${rest}` }, behavior: 'Isolated', invert: false },
    byteLevel(false),
  ],
})
const singleDigits = {
  type: 'Sequence',
  pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)],
}

/** How a kind of byte-level BPE splits texts into words. */
interface Splitting {
  readonly pre_tokenizer: Fields
  readonly normalizer?: Fields
  readonly ignoreMerges?: boolean
  /** Whether texts begin with the bos token where the file does not say it. */
  readonly addsBos?: boolean
}
const gpt2: Splitting = { pre_tokenizer: byteLevel(true) }
const digits: Splitting = { pre_tokenizer: singleDigits }
const llama3: Splitting = { pre_tokenizer: split('\\p{N}{1,3}'), ignoreMerges: true, addsBos: true }
const qwen2: Splitting = { pre_tokenizer: split('\\p{N}'), normalizer: { type: 'NFC' } }

/** By `tokenizer.ggml.pre`. */
export const SPLITTINGS: Readonly<Record<string, Splitting>> = {
  'gpt-2': gpt2,
  'phi-2': gpt2,
  olmo: gpt2,
  smollm: digits,
  starcoder: digits,
  refact: digits,
  'command-r': digits,
  'llama-bpe': llama3,
  'llama-v3': llama3,
  llama3,
  qwen2,
  stablelm2: qwen2,
  'deepseek-r1-qwen': qwen2,
}

interface Vocabulary extends Pick<GgufHeader, 'metadata'> {
  readonly path: string
  readonly tokens: readonly string[]
  readonly types: readonly GgufValue[]
}

/** What a GGUF file says of its tokenizer. @throws ERR_UNSUPPORTED for kinds not known here, ERR_CONFIG */
export function ggufTokenizer(path: string): TokenizerFiles {
  const { metadata } = readGguf(path)
  const tokens = list(metadata.get('tokenizer.ggml.tokens'))
  check(isTexts(tokens) && tokens.length > 0, 'ERR_CONFIG', () => {
    return `tokenizer: ${path} holds no tokens; name a folder that has the tokenizer with tokenizer`
  })
  const types = list(metadata.get('tokenizer.ggml.token_type'))
  const vocabulary = { path, metadata, tokens, types }
  const kind = metadata.get('tokenizer.ggml.model')
  check(kind === 'gpt2' || kind === 'llama', 'ERR_UNSUPPORTED', () => {
    return `tokenizer: ${path} has one of the kind "${kind}", known are gpt2 and llama; name a folder with tokenizer`
  })
  const tokenizer = kind === 'gpt2' ? bytePairs(vocabulary) : sentencePieces(vocabulary)
  return { tokenizer, config: configOf(vocabulary), map: {}, templates: templatesOf(metadata) }
}

const areNumbers = (values: readonly GgufValue[]): values is readonly number[] =>
  values.every(value => typeof value === 'number')

const list = (value: GgufValue | undefined): readonly GgufValue[] => (Array.isArray(value) ? value : [])

function bytePairs(vocabulary: Vocabulary): Fields {
  const { path, metadata, tokens } = vocabulary
  const name = metadata.get('tokenizer.ggml.pre')
  const known = Object.keys(SPLITTINGS)
  const splitting = typeof name === 'string' && Object.hasOwn(SPLITTINGS, name) ? SPLITTINGS[name] : undefined
  if (!splitting)
    fail(
      'ERR_UNSUPPORTED',
      `tokenizer: ${path} splits texts as "${name ?? 'nothing is said'}", known are ${known.join(', ')}; ` +
        'name a folder that has the tokenizer with tokenizer',
    )
  const merges = list(metadata.get('tokenizer.ggml.merges'))
  check(isTexts(merges), 'ERR_CONFIG', () => `tokenizer: ${path} has merges that are no texts; the file is damaged`)
  const { pre_tokenizer, normalizer = null, ignoreMerges = false, addsBos = false } = splitting
  return {
    added_tokens: addedTokens(vocabulary, false),
    normalizer,
    pre_tokenizer,
    post_processor: framing(vocabulary, addsBos, [byteLevel(true)]),
    decoder: byteLevel(true),
    model: { type: 'BPE', ignore_merges: ignoreMerges, vocab: idsOf(tokens), merges },
  }
}

function sentencePieces(vocabulary: Vocabulary): Fields {
  const { path, metadata, tokens } = vocabulary
  const scores = list(metadata.get('tokenizer.ggml.scores'))
  check(scores.length === tokens.length && areNumbers(scores), 'ERR_CONFIG', () => {
    return `tokenizer: ${path} has ${scores.length} scores for ${tokens.length} tokens; convert the model again`
  })
  const addsSpace = metadata.get('tokenizer.ggml.add_space_prefix') !== false
  const toMark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const toText = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ]
  const first = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  const prepend = { type: 'Prepend', prepend: '▁' }
  return {
    // A normalized token would begin with the added space itself.
    added_tokens: addedTokens(vocabulary, !addsSpace),
    normalizer: addsSpace ? { type: 'Sequence', normalizers: [prepend, toMark] } : toMark,
    pre_tokenizer: null,
    post_processor: framing(vocabulary, true, []),
    decoder: { type: 'Sequence', decoders: addsSpace ? [...toText, first] : toText },
    model: {
      type: 'BPE',
      byte_fallback: true,
      fuse_unk: true,
      unk_token: nameOf(vocabulary, 'unknown') ?? null,
      vocab: idsOf(tokens),
      merges: mergesOf(vocabulary, scores),
    },
  }
}

/**
 * Sentencepiece joins the two neighbours whose joint piece has the highest score: each way to cut a piece in two is a
 * merge, in the order of the scores.
 */
function mergesOf({ tokens, types }: Vocabulary, scores: readonly number[]): readonly [string, string][] {
  const isPiece = (id: number) => types.length === 0 || types[id] === NORMAL || types[id] === USER_DEFINED
  const ids = new Map<string, number>()
  tokens.forEach((token, id) => {
    if (isPiece(id)) ids.set(token, id)
  })
  const order = [...ids.values()].sort((a, b) => nth(scores, b) - nth(scores, a) || a - b)
  const merges: [string, string][] = []
  for (const id of order) {
    const token = nth(tokens, id)
    for (let at = 1; at < token.length; at++) {
      const [left, right] = [token.slice(0, at), token.slice(at)]
      if (ids.has(left) && ids.has(right)) merges.push([left, right])
    }
  }
  return merges
}

function idsOf(tokens: readonly string[]): Fields {
  return Object.fromEntries(tokens.map((token, id) => [token, id]))
}

/** Tokens that are found in a text before it is split: control tokens, and what users defined. */
function addedTokens({ tokens, types }: Vocabulary, normalized: boolean): readonly Fields[] {
  return tokens.flatMap((content, id) => {
    if (types[id] === CONTROL) return [{ id, content, special: true, normalized: false }]
    const isAdded = types[id] === USER_DEFINED && (normalized || !content.includes('▁'))
    return isAdded ? [{ id, content, special: false, normalized }] : []
  })
}

function idOf({ metadata }: Vocabulary, kind: string): number | undefined {
  const id = metadata.get(`tokenizer.ggml.${kind}_token_id`)
  return typeof id === 'number' ? id : undefined
}

/** The text of a special token. @throws ERR_CONFIG for an id beyond the tokens */
function nameOf(vocabulary: Vocabulary, kind: string): string | undefined {
  const { path, tokens } = vocabulary
  const id = idOf(vocabulary, kind)
  check(id === undefined || id < tokens.length, 'ERR_CONFIG', () => {
    return `tokenizer: ${path} names ${kind}_token_id ${id} of ${tokens.length} tokens; the file is damaged`
  })
  return id === undefined ? undefined : tokens[id]
}

/** The post-processor: `steps`, and the special tokens that texts begin and end with. */
function framing(vocabulary: Vocabulary, addsBos: boolean, steps: readonly Fields[]): Fields | null {
  const flag = (kind: string, usual: boolean) => {
    const told = vocabulary.metadata.get(`tokenizer.ggml.add_${kind}_token`)
    return (typeof told === 'boolean' ? told : usual) ? nameOf(vocabulary, kind) : undefined
  }
  const [bos, eos] = [flag('bos', addsBos), flag('eos', false)]
  const frame = (text: 'A' | 'B') => {
    const special = (token: string | undefined) =>
      token === undefined ? [] : [{ SpecialToken: { id: token, type_id: text === 'A' ? 0 : 1 } }]
    return [...special(bos), { Sequence: { id: text, type_id: text === 'A' ? 0 : 1 } }, ...special(eos)]
  }
  const named = [['bos', bos] as const, ['eos', eos] as const].flatMap(([kind, token]) => {
    return token === undefined ? [] : [[token, { id: token, ids: [idOf(vocabulary, kind)], tokens: [token] }]]
  })
  const template = {
    type: 'TemplateProcessing',
    single: frame('A'),
    pair: [...frame('A'), ...frame('B')],
    special_tokens: Object.fromEntries(named),
  }
  const processors = named.length > 0 ? [...steps, template] : steps
  return processors.length > 1 ? { type: 'Sequence', processors } : (processors[0] ?? null)
}

/** What tokenizer_config.json would say. */
function configOf(vocabulary: Vocabulary): Fields {
  const names = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' }
  return Object.fromEntries(
    Object.entries(names).flatMap(([kind, key]) => {
      const token = nameOf(vocabulary, key)
      return token === undefined ? [] : [[`${kind}_token`, token]]
    }),
  )
}

/** `tokenizer.chat_template`, and those with a name behind it. */
function templatesOf(metadata: GgufHeader['metadata']): TokenizerFiles['templates'] {
  const key = 'tokenizer.chat_template'
  const entries = [...metadata].flatMap(([name, value]) => {
    if (typeof value !== 'string' || (name !== key && !name.startsWith(`${key}.`))) return []
    return [[name === key ? 'default' : name.slice(key.length + 1), value] as const]
  })
  return Object.fromEntries(entries)
}
