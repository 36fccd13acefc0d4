// What a tokenizer.json says about the texts it takes.

import { asArray, asObject, type Fields } from './json.ts'

/** Properties of a tokenizer that decide how its input is prepared. */
export interface Traits {
  /** Text may be cut before white space without changing the tokens before the cut. */
  readonly cutsAtSpaces: boolean
  /** Words given one by one need a space before them (byte-level without add_prefix_space). */
  readonly wordPrefix: boolean
  /** Whether a vocabulary entry continues the word before it. */
  readonly continues: (token: string) => boolean
}

// Normalizers that look at no more than a character and the marks after it.
const local = ['BertNormalizer', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents']

/** Reads the traits from a parsed tokenizer.json; `prefix` is the mark of entries that continue a word. */
export function readTraits(source: Fields, prefix: string | undefined): Traits {
  const normalizers = flatten(source.normalizer, 'normalizers')
  const preTokenizers = flatten(source.pre_tokenizer, 'pretokenizers')
  const types = preTokenizers.map(part => part.type)
  const byteLevel = preTokenizers.find(part => part.type === 'ByteLevel')
  const spaced = asArray(source.added_tokens).some(token => /\s/.test(String(asObject(token)?.content)))
  const regex = byteLevel !== undefined && byteLevel.use_regex !== false
  const near = normalizers.every(part => local.includes(String(part.type)))
  const starts = byteLevel ? 'Ġ' : marksWords(normalizers, types) ? '▁' : undefined
  return {
    cutsAtSpaces: !spaced && near && types.length === 1 && (types[0] === 'BertPreTokenizer' || regex),
    wordPrefix: byteLevel !== undefined && byteLevel.add_prefix_space !== true,
    continues: token => {
      return starts ? !token.startsWith(starts) : prefix !== undefined && prefix !== '' && token.startsWith(prefix)
    },
  }
}

function marksWords(normalizers: readonly Fields[], preTokenizers: readonly unknown[]): boolean {
  return preTokenizers.includes('Metaspace') || normalizers.some(part => part.content === '▁')
}

function flatten(part: unknown, key: string): readonly Fields[] {
  const object = asObject(part)
  if (!object) return []
  return object.type === 'Sequence' ? asArray(object[key]).flatMap(inner => flatten(inner, key)) : [object]
}
