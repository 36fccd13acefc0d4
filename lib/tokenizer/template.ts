// Post-processors of tokenizer.json: which special tokens surround a text.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isCount } from '../tuple.ts'
import { asArray, asObject, type Fields } from './json.ts'

/** One place of a sequence template: a special token id, or the text A or B. */
type Slot = { readonly id: number; readonly type: number } | { readonly text: 'A' | 'B'; readonly type: number }

/** What surrounds one text and a pair of texts. */
export interface Template {
  readonly single: readonly Slot[]
  readonly pair: readonly Slot[]
  /** Whether the places of tokens leave out the white space at their ends. */
  readonly trims: boolean
  /** With `trims`: whether the space before the first word was added, so that its place is right as it is. */
  readonly addsSpace: boolean
}

const bare: Template = {
  single: [{ text: 'A', type: 0 }],
  pair: [
    { text: 'A', type: 0 },
    { text: 'B', type: 1 },
  ],
  trims: false,
  addsSpace: false,
}

type IdOf = (token: string) => number | undefined

/** The sequence template of tokenizer.json's `post_processor`. @throws ERR_UNSUPPORTED, ERR_CONFIG */
export function readTemplate(processor: unknown, idOf: IdOf): Template {
  const config = asObject(processor)
  if (!config) return bare
  switch (config.type) {
    case 'TemplateProcessing':
      return { ...bare, single: slotsOf(config, 'single', idOf), pair: slotsOf(config, 'pair', idOf) }
    case 'BertProcessing':
    case 'RobertaProcessing':
      return fixedTemplate(config)
    case 'ByteLevel':
      return { ...bare, trims: config.trim_offsets !== false, addsSpace: config.add_prefix_space !== false }
    case 'Sequence':
      return inSequence(asArray(config.processors).map(inner => readTemplate(inner, idOf)))
    default:
      check(false, 'ERR_UNSUPPORTED', () => `tokenizer: unknown post_processor type ${shown(config.type)}`)
  }
}

function inSequence(steps: readonly Template[]): Template {
  const framed = steps.filter(step => step.single !== bare.single)
  check(framed.length <= 1, 'ERR_UNSUPPORTED', () => {
    return `tokenizer: ${framed.length} steps of the post_processor add special tokens; one is followed`
  })
  const trimming = steps.find(step => step.trims)
  return { ...(framed[0] ?? bare), trims: trimming !== undefined, addsSpace: trimming?.addsSpace ?? false }
}

function slotsOf(config: Fields, key: 'single' | 'pair', idOf: IdOf): Slot[] {
  const slots = asArray(config[key]).flatMap(item => templateSlots(item, config, idOf))
  const texts = key === 'single' ? ['A'] : ['A', 'B']
  for (const text of texts)
    check(slots.filter(slot => 'text' in slot && slot.text === text).length === 1, 'ERR_CONFIG', () => {
      return `tokenizer: the post_processor's template "${key}" does not hold the text ${text} once`
    })
  return slots
}

function templateSlots(item: unknown, config: Fields, idOf: IdOf): Slot[] {
  const sequence = asObject(asObject(item)?.Sequence)
  if (sequence) return [{ text: sequence.id === 'B' ? 'B' : 'A', type: typeId(sequence) }]
  const special = asObject(asObject(item)?.SpecialToken)
  check(special, 'ERR_CONFIG', () => 'tokenizer: a post_processor template item is neither Sequence nor SpecialToken')
  const name = String(special.id)
  const known = asObject(asObject(config.special_tokens)?.[name])?.ids
  const ids = known === undefined ? [idOf(name)] : asArray(known)
  return ids.map(id => ({ id: tokenId(id, `template token ${shown(name)}`), type: typeId(special) }))
}

function typeId(item: Fields): number {
  const type = item.type_id ?? 0
  check(isCount(type, 256), 'ERR_CONFIG', () => {
    return `tokenizer: a post_processor template has the type_id ${shown(type)}`
  })
  return type
}

function tokenId(id: unknown, where: string): number {
  check(isCount(id, 2 ** 31), 'ERR_CONFIG', () => {
    return `tokenizer: ${where} has no id`
  })
  return id
}

/** `[CLS] A [SEP] B [SEP]` of BERT, or `<s> A </s> </s> B </s>` of RoBERTa, whose type ids are all 0. */
function fixedTemplate(config: Fields): Template {
  const id = (key: string): number => tokenId(asArray(config[key])[1], `post_processor.${key}`)
  const [cls, sep] = [id('cls'), id('sep')]
  const roberta = config.type === 'RobertaProcessing'
  const second = roberta ? 0 : 1
  const single: Slot[] = [
    { id: cls, type: 0 },
    { text: 'A', type: 0 },
    { id: sep, type: 0 },
  ]
  const between: Slot[] = roberta ? [{ id: sep, type: 0 }] : []
  const pair: Slot[] = [...single, ...between, { text: 'B', type: second }, { id: sep, type: second }]
  const trims = roberta && config.trim_offsets !== false
  return { single, pair, trims, addsSpace: roberta && config.add_prefix_space !== false }
}
