// Finding the special tokens of a tokenizer folder, whichever version of transformers wrote it.
import { check } from '../errors.ts'

/** Token ids of the special tokens; undefined where the tokenizer has none. */
export interface SpecialIds {
  readonly cls: number | undefined
  readonly sep: number | undefined
  readonly pad: number | undefined
  readonly unk: number | undefined
  readonly mask: number | undefined
}

/** A parsed JSON object. */
export type Json = Readonly<Record<string, unknown>>

/** One place of a sequence template: a special token id, or the text A or B. */
export type Slot = { readonly id: number; readonly type: number } | { readonly text: 'A' | 'B'; readonly type: number }

/** What surrounds one text and a pair of texts. */
export interface Template {
  readonly single: readonly Slot[]
  readonly pair: readonly Slot[]
}

const usual: Record<keyof SpecialIds, readonly string[]> = {
  cls: ['[CLS]', '<s>'],
  sep: ['[SEP]', '</s>'],
  pad: ['[PAD]', '<pad>'],
  unk: ['[UNK]', '<unk>'],
  mask: ['[MASK]', '<mask>'],
}

const bare: Template = {
  single: [{ text: 'A', type: 0 }],
  pair: [
    { text: 'A', type: 0 },
    { text: 'B', type: 1 },
  ],
}

/** `value` as a JSON object, or undefined. */
export function asObject(value: unknown): Json | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Json) : undefined
}

/**
 * Special token ids: a token named in tokenizer_config.json or special_tokens_map.json (a string, or an object with
 * `content`), else the model's `unk_token`, else the usual name of a token that tokenizer.json marks special.
 * @param idOf token text to id
 */
export function findSpecials(
  tokenizer: Json,
  configs: readonly Json[],
  idOf: (token: string) => number | undefined,
): SpecialIds {
  const special = new Set<unknown>()
  for (const token of asArray(tokenizer.added_tokens))
    if (asObject(token)?.special === true) special.add(asObject(token)?.content)
  const find = (kind: keyof SpecialIds): number | undefined => {
    for (const config of configs) {
      const name = tokenText(config[`${kind}_token`])
      if (name === undefined) continue
      const id = idOf(name)
      check(id !== undefined, 'ERR_CONFIG', () => `tokenizer: ${kind}_token "${name}" is not in the vocabulary`)
      return id
    }
    const unknown = kind === 'unk' ? tokenText(asObject(tokenizer.model)?.unk_token) : undefined
    const name = unknown ?? usual[kind].find(token => special.has(token))
    return name === undefined ? undefined : idOf(name)
  }
  return { cls: find('cls'), sep: find('sep'), pad: find('pad'), unk: find('unk'), mask: find('mask') }
}

/** The sequence template of tokenizer.json's `post_processor`. */
export function readTemplate(processor: unknown, idOf: (token: string) => number | undefined): Template {
  const config = asObject(processor)
  if (!config) return bare
  switch (config.type) {
    case 'TemplateProcessing':
      return {
        single: asArray(config.single).flatMap(item => templateSlots(item, config, idOf)),
        pair: asArray(config.pair).flatMap(item => templateSlots(item, config, idOf)),
      }
    case 'BertProcessing':
    case 'RobertaProcessing':
      return fixedTemplate(config)
    case 'Sequence': {
      const found = asArray(config.processors).map(inner => readTemplate(inner, idOf))
      return found.find(template => template !== bare) ?? bare
    }
    case 'ByteLevel':
      return bare
    default:
      check(false, 'ERR_UNSUPPORTED', () => `tokenizer: unknown post_processor type "${String(config.type)}"`)
  }
}

/** Items of `value`, or none when it is not an array. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const content = asObject(value)?.content
  return typeof content === 'string' ? content : undefined
}

function templateSlots(item: unknown, config: Json, idOf: (token: string) => number | undefined): Slot[] {
  const sequence = asObject(asObject(item)?.Sequence)
  if (sequence) return [{ text: sequence.id === 'B' ? 'B' : 'A', type: Number(sequence.type_id ?? 0) }]
  const special = asObject(asObject(item)?.SpecialToken)
  check(special, 'ERR_CONFIG', () => 'tokenizer: a post_processor template item is neither Sequence nor SpecialToken')
  const name = String(special.id)
  const known = asObject(asObject(config.special_tokens)?.[name])?.ids
  const ids = known === undefined ? [idOf(name)] : asArray(known)
  return ids.map(id => {
    check(typeof id === 'number', 'ERR_CONFIG', () => `tokenizer: template token "${name}" has no id`)
    return { id, type: Number(special.type_id ?? 0) }
  })
}

/** `[CLS] A [SEP] B [SEP]` of BERT, or `<s> A </s> </s> B </s>` of RoBERTa, whose type ids are all 0. */
function fixedTemplate(config: Json): Template {
  const id = (key: string): number => {
    const value = asArray(config[key])[1]
    check(typeof value === 'number', 'ERR_CONFIG', () => `tokenizer: post_processor.${key} is not [token, id]`)
    return value
  }
  const [cls, sep] = [id('cls'), id('sep')]
  const roberta = config.type === 'RobertaProcessing'
  const second = roberta ? 0 : 1
  const single: Slot[] = [
    { id: cls, type: 0 },
    { text: 'A', type: 0 },
    { id: sep, type: 0 },
  ]
  const between: Slot[] = roberta ? [{ id: sep, type: 0 }] : []
  return { single, pair: [...single, ...between, { text: 'B', type: second }, { id: sep, type: second }] }
}
