// Finding the special tokens of a tokenizer folder, whichever version of transformers wrote it.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { asArray, asObject, type Fields } from './json.ts'

/** Token ids of the special tokens; undefined where the tokenizer has none. */
export interface SpecialIds {
  readonly cls: number | undefined
  readonly sep: number | undefined
  readonly pad: number | undefined
  readonly unk: number | undefined
  readonly mask: number | undefined
  /** What a text begins and ends with for generation. */
  readonly bos: number | undefined
  readonly eos: number | undefined
}

const kinds = ['cls', 'sep', 'pad', 'unk', 'mask', 'bos', 'eos'] as const

const usual: Record<keyof SpecialIds, readonly string[]> = {
  cls: ['[CLS]', '<s>'],
  sep: ['[SEP]', '</s>'],
  pad: ['[PAD]', '<pad>'],
  unk: ['[UNK]', '<unk>'],
  mask: ['[MASK]', '<mask>'],
  bos: ['<s>', '<|begin_of_text|>', '<bos>'],
  eos: ['</s>', '<|endoftext|>', '<|end_of_text|>', '<eos>'],
}

/**
 * tokenizer_config.json and special_tokens_map.json, the one that counts first: the map comes from older versions of
 * transformers, and is heard where the config does not list added tokens.
 */
export function tokenConfigs(config: Fields, map: Fields): readonly Fields[] {
  return config.added_tokens_decoder === undefined ? [map, config] : [config, map]
}

/** Whether a key of a config names a special token: `cls_token` and its like. */
export const isNamedSpecial = (key: string): boolean => kinds.some(kind => key === `${kind}_token`)

/** The special tokens that configs name, by kind: a string, or an object with `content`. */
export function namedSpecials(configs: readonly Fields[]): Partial<Record<keyof SpecialIds, string>> {
  const named: Partial<Record<keyof SpecialIds, string>> = {}
  for (const kind of kinds)
    for (const config of configs) {
      const name = tokenText(config[`${kind}_token`])
      if (name !== undefined) named[kind] ??= name
    }
  return named
}

/**
 * Special token ids: a token named in tokenizer_config.json or special_tokens_map.json (a string, or an object with
 * `content`), else the model's `unk_token`, else the usual name of a token that tokenizer.json marks special.
 * @param idOf token text to id
 */
export function findSpecials(
  tokenizer: Fields,
  configs: readonly Fields[],
  idOf: (token: string) => number | undefined,
): SpecialIds {
  const special = new Set<unknown>()
  for (const token of asArray(tokenizer.added_tokens))
    if (asObject(token)?.special === true) special.add(asObject(token)?.content)
  const named = namedSpecials(configs)
  const find = (kind: keyof SpecialIds): number | undefined => {
    const name = named[kind]
    if (name !== undefined) {
      const id = idOf(name)
      check(id !== undefined, 'ERR_CONFIG', () => `tokenizer: ${kind}_token ${shown(name)} is not in the vocabulary`)
      return id
    }
    const unknown = kind === 'unk' ? tokenText(asObject(tokenizer.model)?.unk_token) : undefined
    const found = unknown ?? usual[kind].find(token => special.has(token))
    return found === undefined ? undefined : idOf(found)
  }
  return {
    cls: find('cls'),
    sep: find('sep'),
    pad: find('pad'),
    unk: find('unk'),
    mask: find('mask'),
    bos: find('bos'),
    eos: find('eos'),
  }
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = asObject(value)?.content
  return typeof content === 'string' ? content : undefined
}
