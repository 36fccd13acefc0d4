// A tokenizer as the metadata of a GGUF file: byte-level BPE whose splitting has a name there, and sentencepiece's BPE.

import { check, fail } from '../errors.ts'
import { isGguf, openGguf } from '../io/gguf/file.ts'
import type { GgufEntry } from '../io/gguf/write.ts'
import { isTexts } from '../tuple.ts'
import { followConfig } from './config.ts'
import { readTokenizerFiles } from './folder.ts'
import { KINDS, SPLITTINGS } from './gguf.ts'
import { asArray, asObject, type Fields } from './json.ts'
import { findSpecials, tokenConfigs } from './specials.ts'
import { readTemplate } from './template.ts'

/**
 * The entries of the tokenizer of a folder or GGUF file, for a model with so many rows of embeddings.
 * @throws ERR_UNSUPPORTED for kinds that GGUF files do not know, ERR_CONFIG for more tokens than rows
 */
export async function tokenizerEntries(path: string, rows: number): Promise<GgufEntry[]> {
  if (isGguf(path)) return entriesOfGguf(path, rows)
  const { tokenizer, config, map, templates } = await readTokenizerFiles(path)
  const source = followConfig(tokenizer, config, map)
  const model = asObject(source.model) ?? {}
  const vocab = asObject(model.vocab)
  check(vocab && (model.type === 'BPE' || model.merges !== undefined), 'ERR_UNSUPPORTED', () => {
    return `gguf: the tokenizer of ${path} is ${String(model.type)}, and GGUF files hold BPE; keep the model as a folder`
  })
  const tokens = tokensOf(path, vocab, asArray(source.added_tokens), rows)
  const kind =
    model.byte_fallback === true ? piecesEntries(source, model, tokens) : byteEntries(path, source, model, tokens)
  const idOf = (token: string) => tokens.ids.get(token)
  const { bos, eos, unk, pad } = findSpecials(source, tokenConfigs(config, map), idOf)
  const { single } = readTemplate(source.post_processor, idOf)
  const [first, last] = [single.at(0), single.at(-1)]
  const ids = { bos, eos, unknown: unk, padding: pad }
  return [
    ...kind,
    ...Object.entries(ids).flatMap(([name, id]): GgufEntry[] =>
      id === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, { u32: id }]],
    ),
    ['tokenizer.ggml.add_bos_token', { bool: first !== undefined && 'id' in first && first.id === bos }],
    ['tokenizer.ggml.add_eos_token', { bool: last !== undefined && 'id' in last && last.id === eos }],
    ...templateEntries(templates),
  ]
}

function entriesOfGguf(path: string, rows: number): GgufEntry[] {
  const file = openGguf(path)
  try {
    const tokens = file.metadata.get('tokenizer.ggml.tokens')
    const count = Array.isArray(tokens) ? tokens.length : 0
    check(count === rows, 'ERR_CONFIG', () => {
      return `gguf: ${path} has ${count} tokens, the model embeds ${rows}; take the model's own tokenizer`
    })
    const keys = [...file.metadata.keys()].filter(key => key.startsWith('tokenizer.'))
    return keys.map(key => [key, { raw: file.entry(key) }])
  } finally {
    file.close()
  }
}

interface Tokens {
  readonly texts: readonly string[]
  readonly ids: ReadonlyMap<string, number>
  /** Those that are added: special ones, and others. */
  readonly added: ReadonlyMap<number, boolean>
}

/** Tokens in the order of their ids; rows that have none get a name that no text has. */
function tokensOf(path: string, vocab: Fields, addedTokens: readonly unknown[], rows: number): Tokens {
  const texts = Array.from({ length: rows }, (_, id) => `[PAD${id}]`)
  const ids = new Map<string, number>()
  const added = new Map<number, boolean>()
  const put = (token: string, id: unknown) => {
    if (typeof id !== 'number' || !(id < rows))
      fail('ERR_CONFIG', `gguf: the token "${token}" of ${path} has the id ${id}, the model embeds ${rows}`)
    texts[id] = token
    ids.set(token, id)
    return id
  }
  for (const [token, id] of Object.entries(vocab)) put(token, id)
  for (const each of addedTokens) {
    const { content, id, special } = asObject(each) ?? {}
    if (typeof content === 'string') added.set(put(content, id), special === true)
  }
  return { texts, ids, added }
}

function kindsOf({ texts, ids, added }: Tokens, of: (token: string) => number): number[] {
  return texts.map((token, id) => {
    const special = added.get(id)
    if (special !== undefined) return special ? KINDS.control : KINDS.userDefined
    return ids.has(token) ? of(token) : KINDS.unused
  })
}

function byteEntries(path: string, source: Fields, model: Fields, tokens: Tokens): GgufEntry[] {
  const wanted = signature(source.pre_tokenizer)
  const name = Object.keys(SPLITTINGS).find(key => signature(SPLITTINGS[key]?.pre_tokenizer) === wanted)
  if (name === undefined)
    fail(
      'ERR_UNSUPPORTED',
      `gguf: the tokenizer of ${path} splits texts in a way that has no name in GGUF files; keep the model as a folder`,
    )
  const merges = asArray(model.merges).map(pair => (typeof pair === 'string' ? pair : asArray(pair).join(' ')))
  return [
    ['tokenizer.ggml.model', { text: 'gpt2' }],
    ['tokenizer.ggml.pre', { text: name }],
    ['tokenizer.ggml.tokens', { texts: tokens.texts }],
    ['tokenizer.ggml.token_type', { i32s: kindsOf(tokens, () => KINDS.normal) }],
    ['tokenizer.ggml.merges', { texts: merges }],
  ]
}

/** What of a pre-tokenizer decides where a text is split. */
function signature(value: unknown): string {
  const part = asObject(value)
  if (part?.type === 'Sequence') return asArray(part.pretokenizers).map(signature).join(' then ')
  if (part?.type === 'ByteLevel') return `bytes ${part.use_regex !== false} ${part.add_prefix_space === true}`
  if (part?.type === 'Digits') return `digits ${part.individual_digits === true}`
  const pattern = asObject(part?.pattern)
  return `${String(part?.type)} ${String(pattern?.Regex)} ${String(part?.behavior)} ${part?.invert === true}`
}

/** Sentencepiece's kind. Its files have scores in place of merges: the earlier a piece is made, the higher its own. */
function piecesEntries(source: Fields, model: Fields, tokens: Tokens): GgufEntry[] {
  const ranks = new Map<string, number>()
  asArray(model.merges).forEach((pair, rank) => {
    const piece = typeof pair === 'string' ? pair.replace(' ', '') : asArray(pair).join('')
    if (!ranks.has(piece)) ranks.set(piece, rank)
  })
  const isByte = (token: string) => /^<0x[0-9A-F]{2}>$/.test(token)
  const unknown = model.unk_token
  const kinds = kindsOf(tokens, token => {
    return token === unknown ? KINDS.unknown : isByte(token) ? KINDS.byte : KINDS.normal
  })
  if (typeof unknown === 'string') kinds[tokens.ids.get(unknown) ?? -1] = KINDS.unknown
  // A piece that no merge makes comes after all others.
  const scores = tokens.texts.map(token => -(ranks.get(token) ?? ranks.size))
  const text = JSON.stringify([source.normalizer, source.pre_tokenizer])
  const addsSpace = /"Prepend"/.test(text) || /"prepend_scheme":"(first|always)"/.test(text)
  return [
    ['tokenizer.ggml.model', { text: 'llama' }],
    ['tokenizer.ggml.pre', { text: 'default' }],
    ['tokenizer.ggml.tokens', { texts: tokens.texts }],
    ['tokenizer.ggml.scores', { f32s: scores }],
    ['tokenizer.ggml.token_type', { i32s: kinds }],
    ['tokenizer.ggml.add_space_prefix', { bool: addsSpace }],
  ]
}

function templateEntries(templates: Readonly<Record<string, string>>): GgufEntry[] {
  const key = 'tokenizer.chat_template'
  const names = Object.keys(templates).filter(name => name !== 'default')
  const entries: GgufEntry[] = Object.entries(templates).map(([name, text]) => {
    return [name === 'default' ? key : `${key}.${name}`, { text }]
  })
  return isTexts(names) && names.length > 0 ? [...entries, ['tokenizer.chat_templates', { texts: names }]] : entries
}
