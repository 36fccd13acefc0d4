// tokenizer_config.json has the last word on some things that tokenizer.json says too, as in transformers 5.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { namedSpecials } from './specials.ts'

/** Which end of a text is cut off, or padded. */
export type Side = 'left' | 'right'

// Classes that build BERT's normalizer from the config, whatever the file holds.
const bertClasses =
  /^(Bert|DistilBert|Electra|MobileBert|ConvBert|Retribert|Dpr\w*|SqueezeBert|LayoutLM|RoCBert)Tokenizer(Fast)?$/
// Classes whose byte-level splitting takes add_prefix_space from the config, false where it is silent.
const byteLevelClasses = /^(Roberta|GPT2|Bart|Longformer|LED|CodeGen|Blenderbot|Deberta)Tokenizer(Fast)?$/

/**
 * The parsed tokenizer.json with what tokenizer_config.json changes: the normalizer of BERT's classes, the space before
 * the first word of byte-level ones, and added tokens.
 * @param config tokenizer_config.json  @param map special_tokens_map.json
 */
export function followConfig(source: Fields, config: Fields, map: Fields): Fields {
  const name = typeof config.tokenizer_class === 'string' ? config.tokenizer_class : ''
  let result: Fields = { ...source, added_tokens: addedTokens(source, config, map) }
  if (bertClasses.test(name) && modelType(source) === 'WordPiece') result = { ...result, ...bertParts(config) }
  const prefix = config.add_prefix_space
  if (byteLevelClasses.test(name) || (typeof prefix === 'boolean' && hasByteLevel(source.pre_tokenizer)))
    result = { ...result, pre_tokenizer: withPrefix(source.pre_tokenizer, prefix === true) }
  return result
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

function hasByteLevel(part: unknown): boolean {
  const config = asObject(part)
  return config?.type === 'ByteLevel' || asArray(config?.pretokenizers).some(hasByteLevel)
}

function withPrefix(part: unknown, prefix: boolean): unknown {
  const config = asObject(part)
  if (config?.type === 'ByteLevel') return { ...config, add_prefix_space: prefix }
  if (config?.type !== 'Sequence') return part
  return { ...config, pretokenizers: asArray(config.pretokenizers).map(inner => withPrefix(inner, prefix)) }
}

/** Those of the file, those of the config's added_tokens_decoder, and named special tokens of the vocabulary. */
function addedTokens(source: Fields, config: Fields, map: Fields): readonly unknown[] {
  const tokens = new Map<unknown, unknown>()
  for (const token of asArray(source.added_tokens)) tokens.set(asObject(token)?.content ?? token, token)
  for (const [id, token] of Object.entries(asObject(config.added_tokens_decoder) ?? {}))
    if (asObject(token)) tokens.set(asObject(token)!.content, { ...asObject(token), id: Number(id) })
  const vocab = asObject(asObject(source.model)?.vocab)
  for (const content of Object.values(namedSpecials([config, map])))
    if (content !== undefined && vocab && Object.hasOwn(vocab, content) && !tokens.has(content))
      tokens.set(content, { id: vocab[content], content, special: true, normalized: false })
  const all = [...tokens.values()]
  return config.split_special_tokens === true ? all.filter(token => asObject(token)?.special !== true) : all
}
