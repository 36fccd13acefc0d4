// tokenizer_config.json has the last word on some things that tokenizer.json says too, as in transformers 5.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { isNamedSpecial, namedSpecials, tokenConfigs } from './specials.ts'

/** Which end of a text is cut off, or padded. */
export type Side = 'left' | 'right'

// Classes that build BERT's normalizer from the config, whatever the file holds.
const bertClasses =
  /^(Bert|DistilBert|Electra|MobileBert|ConvBert|Retribert|Dpr\w*|SqueezeBert|LayoutLM|RoCBert)Tokenizer(Fast)?$/
// Classes whose byte-level splitting takes add_prefix_space from the config, false where it is silent; the first ones
// split as GPT-2 does.
const gpt2Classes = /^(Roberta|GPT2|Bart|Longformer|LED|CodeGen|Blenderbot|Deberta)Tokenizer(Fast)?$/
const byteLevelClasses = new RegExp(`${gpt2Classes.source}|^(GPTNeoX|Qwen2)Tokenizer(Fast)?$`)
const robertaClasses = /^(Roberta|Bart|Longformer|LED)Tokenizer(Fast)?$/
const pieceClasses = /^(T5|MT5|XLMRoberta|Albert|Camembert|MBart|MBart50|XLNet|BigBird)Tokenizer(Fast)?$/

/** Models that classes build, whatever the file holds. */
const modelsOf: readonly (readonly [classes: RegExp, model: string])[] = [
  [bertClasses, 'WordPiece'],
  [byteLevelClasses, 'BPE'],
  [pieceClasses, 'Unigram'],
]

/** Whether a class reads vocab.txt as BERT does, or vocab.json and merges.txt as GPT-2 does. */
export const readsVocabulary = (name: string, model: 'WordPiece' | 'BPE'): boolean =>
  (model === 'BPE' ? gpt2Classes : bertClasses).test(name)

/** The model that a class makes of a vocabulary, as tokenizer.json names it; undefined for classes not known here. */
function modelOfClass(name: string): string | undefined {
  return modelsOf.find(([classes]) => classes.test(name))?.[1]
}

/**
 * The parsed tokenizer.json with what tokenizer_config.json changes: the normalizer of BERT's classes, the space before
 * the first word of byte-level ones, and added tokens.
 * @param config tokenizer_config.json  @param map special_tokens_map.json
 * @throws ERR_UNSUPPORTED for a class that would make another model of the vocabulary
 */
export function followConfig(source: Fields, config: Fields, map: Fields): Fields {
  const model = modelType(source)
  const name = classOf(config, model)
  const built = modelOfClass(name) ?? model
  check(model === undefined || built === model, 'ERR_UNSUPPORTED', () => {
    return (
      `tokenizer: tokenizer_config.json says tokenizer_class ${shown(name)}, which makes ${built} of a vocabulary, and ` +
      `tokenizer.json holds ${shown(model)}; if the file is right, set tokenizer_class to "PreTrainedTokenizerFast"`
    )
  })
  let result: Fields = { ...source, added_tokens: addedTokens(source, config, map, name) }
  if (bertClasses.test(name)) result = { ...result, ...bertParts(config) }
  if (byteLevelClasses.test(name))
    result = { ...result, pre_tokenizer: withPrefix(source.pre_tokenizer, config.add_prefix_space === true) }
  const vocab = asObject(asObject(source.model)?.vocab) ?? {}
  const frame = robertaClasses.test(name) ? robertaFrame(vocab, config, map) : undefined
  if (frame) result = { ...result, post_processor: frame }
  return result
}

/** The class that reads the files; where none is named, BERT's settings beside a vocabulary like BERT's are BERT's. */
function classOf(config: Fields, model: unknown): string {
  if (typeof config.tokenizer_class === 'string') return config.tokenizer_class
  if (config.tokenizer_class !== undefined || model !== 'WordPiece') return ''
  const keys = ['do_lower_case', 'strip_accents', 'tokenize_chinese_chars']
  return keys.some(key => Object.hasOwn(config, key)) ? 'BertTokenizer' : ''
}

/** A side from tokenizer_config.json, else from the truncation or padding that tokenizer.json stores. */
export function sideOf(value: unknown, stored: unknown, option: string): Side {
  const side = value ?? asObject(stored)?.direction ?? 'right'
  const lower = String(side).toLowerCase()
  check(lower === 'left' || lower === 'right', 'ERR_CONFIG', () => {
    return `tokenizer: ${option} is ${shown(side)}, neither left nor right`
  })
  return lower
}

function modelType(source: Fields): unknown {
  const model = asObject(source.model)
  return model?.type ?? (model?.max_input_chars_per_word === undefined ? undefined : 'WordPiece')
}

/** RoBERTa's frame, where the vocabulary has its tokens. */
export function robertaFrame(vocab: Fields, config: Fields, map: Fields): Fields | undefined {
  const { cls = '<s>', sep = '</s>' } = namedSpecials(tokenConfigs(config, map))
  if (!Object.hasOwn(vocab, cls) || !Object.hasOwn(vocab, sep)) return undefined
  const trims = { add_prefix_space: config.add_prefix_space === true, trim_offsets: config.trim_offsets !== false }
  return { type: 'RobertaProcessing', cls: [cls, vocab[cls]], sep: [sep, vocab[sep]], ...trims }
}

/** BERT's normalizer and pre-tokenizer, set up by a config. */
export function bertParts(config: Fields): Fields {
  return {
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: config.tokenize_chinese_chars !== false,
      strip_accents: config.strip_accents ?? null,
      lowercase: config.do_lower_case !== false,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
  }
}

function withPrefix(part: unknown, prefix: boolean): unknown {
  const config = asObject(part)
  if (config?.type === 'ByteLevel') return { ...config, add_prefix_space: prefix }
  if (config?.type !== 'Sequence') return part
  return { ...config, pretokenizers: asArray(config.pretokenizers).map(inner => withPrefix(inner, prefix)) }
}

/**
 * Those of the file, those of the config's added_tokens_decoder, and named special tokens that neither has. A class
 * that builds its tokenizer anew takes those of the file only where the config lists none.
 */
function addedTokens(source: Fields, config: Fields, map: Fields, className: string): readonly unknown[] {
  const tokens = new Map<unknown, unknown>()
  const add = (content: string, token: Fields) => {
    const id = tokens.has(content) ? undefined : idIn(source, content)
    if (id !== undefined) tokens.set(content, { id, ...token })
  }
  const configs = tokenConfigs(config, map)
  const listed = asObject(config.added_tokens_decoder)
  const rebuilt = bertClasses.test(className) || byteLevelClasses.test(className)
  if (!rebuilt || !listed)
    for (const token of asArray(source.added_tokens)) tokens.set(asObject(token)?.content ?? token, token)
  const named = new Set(Object.values(namedSpecials(configs)))
  for (const [id, value] of Object.entries(listed ?? {})) {
    const token = asObject(value)
    const special = token?.special === true || named.has(String(token?.content))
    if (token) tokens.set(token.content, { ...token, special, id: Number(id) })
  }
  for (const content of named)
    if (content !== undefined) add(content, { normalized: false, ...flagsOf(configs, content), special: true })
  for (const content of usualOf(className)) add(content, { content, special: true, normalized: false })
  for (const token of extraSpecials(config, map))
    if (!tokens.has(token.content))
      tokens.set(token.content, { ...token, id: idIn(source, String(token.content)) ?? 0 })
  if (config.split_special_tokens !== true) return [...tokens.values()]
  return [...tokens.values()].map(token => ({ ...asObject(token), searched: asObject(token)?.special !== true }))
}

/** The special tokens of classes that know theirs. */
function usualOf(name: string): readonly string[] {
  if (bertClasses.test(name)) return ['[UNK]', '[SEP]', '[PAD]', '[CLS]', '[MASK]']
  return robertaClasses.test(name) ? ['<s>', '</s>', '<unk>', '<pad>', '<mask>'] : []
}

/** The id of an entry of a file, else of one of its added tokens; undefined where there is none. */
function idIn(source: Fields, content: string): unknown {
  const vocab = asObject(source.model)?.vocab
  const ids = asObject(vocab)
  if (ids && Object.hasOwn(ids, content)) return ids[content]
  // A Unigram's vocabulary is a list of entries and scores.
  const place = asArray(vocab).findLastIndex(entry => asArray(entry)[0] === content)
  if (place >= 0) return place
  return asObject(asArray(source.added_tokens).findLast(token => asObject(token)?.content === content))?.id
}

/** How a special token is found that a config gives as an object. */
function flagsOf(configs: readonly Fields[], content: string): Fields {
  for (const config of configs)
    for (const value of Object.values(config)) {
      const token = asObject(value)
      if (token?.content === content) return { ...token, special: true }
    }
  return { content }
}

/** Special tokens beside the seven that have names, those of the map where the config does not list added tokens. */
function extraSpecials(config: Fields, map: Fields): readonly Fields[] {
  const lists = [config.extra_special_tokens, config.additional_special_tokens]
  const more =
    config.added_tokens_decoder === undefined ? [map.additional_special_tokens, map.extra_special_tokens] : []
  const values = [...lists, ...more].flatMap(value =>
    asObject(value) ? Object.values(asObject(value)!) : asArray(value),
  )
  const single = Object.entries(config).filter(([key, value]) => {
    return key.endsWith('_token') && !isNamedSpecial(key) && typeof value === 'string'
  })
  return [...values, ...single.map(([, value]) => value)].flatMap(value => {
    if (typeof value === 'string') return value === '' ? [] : [{ content: value, special: true, normalized: false }]
    const token = asObject(value)
    return typeof token?.content === 'string' ? [{ ...token, special: true }] : []
  })
}
