// The one file that touches @huggingface/tokenizers. Its type declarations do not resolve under nodenext, so the part
// that is used is declared here.
import * as library from '@huggingface/tokenizers'
import { check, fail } from '../errors.ts'
import { asArray, asObject, type Json } from './specials.ts'

/** The library's tokenizer, as far as it is used. */
export interface Encoder {
  pre_tokenizer: object | null
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] }
  decode(ids: number[]): string
  id_to_token(id: number): string | undefined
  get_vocab(): Map<string, number>
  get_added_tokens_decoder(): Map<number, { special: boolean }>
}

type PatternPart = { new (): { pattern: RegExp } }

const { Tokenizer, ByteLevelPreTokenizer, BertPreTokenizer, SequencePreTokenizer } = library as unknown as {
  Tokenizer: new (tokenizer: object, config: object) => Encoder
  ByteLevelPreTokenizer: PatternPart
  BertPreTokenizer: PatternPart
  SequencePreTokenizer: { new (): { tokenizers: (object | null)[] } }
}

// JavaScript's \s holds U+FEFF and lacks U+0085; Unicode's White_Space, which Rust goes by, is the other way round.
const space = '\\p{White_Space}'
const punctuation = '\\p{P}\\u0021-\\u002F\\u003A-\\u0040\\u005B-\\u0060\\u007B-\\u007E'
const bertPattern = new RegExp(`[^${space}${punctuation}]+|[${punctuation}]`, 'gu')
const byteLevelPattern = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+|${space}+(?!\\P{White_Space})|${space}+`,
  'gu',
)

/**
 * An encoder over a parsed tokenizer.json that adds no special tokens.
 * @throws ERR_CONFIG for a file without vocabulary, ERR_UNSUPPORTED for parts the library cannot run.
 */
export function createEncoder(path: string, source: Json): Encoder {
  const model = asObject(source.model)
  check(model && (asObject(model.vocab) || Array.isArray(model.vocab)), 'ERR_CONFIG', () => {
    return `tokenizer: ${path} has no model with a vocabulary; is it a tokenizer.json?`
  })
  for (const item of asArray(source.added_tokens)) {
    const token = asObject(item)
    const sound = typeof token?.content === 'string' && Number.isInteger(token.id)
    check(sound, 'ERR_CONFIG', () => `tokenizer: ${path} has an added token without content or id`)
    check(token.single_word !== true, 'ERR_UNSUPPORTED', () => {
      return `tokenizer: added token "${token.content}" has single_word true; save it with false`
    })
  }
  const parts = { added_tokens: [], normalizer: null, pre_tokenizer: null, decoder: null }
  try {
    // Special tokens and truncation are applied by the caller, so the post-processor stays out of the way.
    const encoder = new Tokenizer(
      { ...parts, ...source, post_processor: null },
      { clean_up_tokenization_spaces: false },
    )
    alignWhiteSpace(encoder.pre_tokenizer)
    return encoder
  } catch (error) {
    fail('ERR_UNSUPPORTED', `tokenizer: ${path} cannot be used: ${(error as Error).message}`, error)
  }
}

/** Makes the library's pre-tokenizers split at Unicode white space. */
function alignWhiteSpace(part: object | null): void {
  if (part instanceof ByteLevelPreTokenizer) part.pattern = byteLevelPattern
  else if (part instanceof BertPreTokenizer) part.pattern = bertPattern
  else if (part instanceof SequencePreTokenizer) for (const inner of part.tokenizers) alignWhiteSpace(inner)
}
