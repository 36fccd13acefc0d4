// What a tokenizer.json says about text, where the JavaScript library and the Rust one part ways.
import { check } from '../errors.ts'
import { asArray, asObject, type Json } from './specials.ts'

/** Properties of a tokenizer that decide how its input is prepared. */
export interface Traits {
  /** BertNormalizer with handle_chinese_chars: each ideograph is a word. */
  readonly isolatesIdeographs: boolean
  readonly lowercases: boolean
  /** Text may be cut before white space without changing the tokens before the cut. */
  readonly cutsAtSpaces: boolean
  /** Most characters of one run of letters, digits, marks or spaces: byte-pair merging is slow on endless ones. */
  readonly longestRun: number
  /** Words given one by one need a space before them (byte-level without add_prefix_space). */
  readonly wordPrefix: boolean
  /** Whether a vocabulary entry continues the word before it. */
  readonly continues: (token: string) => boolean
}

// The ideographs BERT isolates beyond U+FFFF. The library looks at UTF-16 units and so misses exactly these.
const farIdeograph = /[\u{20000}-\u{2A6DF}\u{2A700}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu
const loneSurrogate = /\p{Surrogate}/gu

/** Reads the traits from a parsed tokenizer.json. */
export function readTraits(source: Json): Traits {
  const normalizers = flatten(source.normalizer, 'normalizers')
  const preTokenizers = flatten(source.pre_tokenizer, 'pretokenizers')
  const types = preTokenizers.map(part => part.type)
  const byteLevel = preTokenizers.find(part => part.type === 'ByteLevel')
  const prefix = asObject(source.model)?.continuing_subword_prefix
  const spaced = asArray(source.added_tokens).some(token => /\s/.test(String(asObject(token)?.content)))
  const regex = byteLevel !== undefined && byteLevel.use_regex !== false
  return {
    isolatesIdeographs: normalizers.some(part => part.handle_chinese_chars === true),
    lowercases: normalizers.some(part => part.type === 'Lowercase' || part.lowercase === true),
    cutsAtSpaces: !spaced && types.length === 1 && (types[0] === 'BertPreTokenizer' || regex),
    longestRun: byteLevel ? 1_000_000 : Number.POSITIVE_INFINITY,
    wordPrefix: byteLevel !== undefined && byteLevel.add_prefix_space !== true,
    continues: byteLevel
      ? token => !token.startsWith('Ġ')
      : token => typeof prefix === 'string' && prefix !== '' && token.startsWith(prefix),
  }
}

/**
 * The text as the library must get it to answer like the Rust one: ideographs beyond U+FFFF spaced, capital sigma
 * lowered without regard to its place in the word, lone surrogates replaced by U+FFFD.
 * @throws ERR_DATA for an endless run of characters where that would take minutes
 */
export function prepareText(text: string, traits: Traits): string {
  if (text.length > traits.longestRun) checkRuns(text, traits.longestRun)
  let result = text.replace(loneSurrogate, '\uFFFD')
  if (traits.isolatesIdeographs) result = result.replace(farIdeograph, ' $& ')
  if (traits.lowercases) result = result.replaceAll('Σ', 'σ')
  return result
}

function checkRuns(text: string, longest: number): void {
  for (const [run] of text.matchAll(/\p{L}+|\p{N}+|[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+/gu))
    check(run.length <= longest, 'ERR_DATA', () => {
      return `tokenizer: ${run.length} characters in a row without a word boundary, at most ${longest}; is this text?`
    })
}

function flatten(part: unknown, key: string): readonly Json[] {
  const object = asObject(part)
  if (!object) return []
  return object.type === 'Sequence' ? asArray(object[key]).flatMap(inner => flatten(inner, key)) : [object]
}
