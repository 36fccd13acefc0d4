// What an opened model is asked about, as rows, and its answers as told of what was asked.

import type { ColumnNames } from '../data/columns.ts'
import type { Row } from '../data/row.ts'
import { check, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import { isRecord } from '../options.ts'
import type { PredictionRecord } from '../tasks/task.ts'
import { isOneOf, isTexts, nth } from '../tuple.ts'

/** What can be asked about: a text, a pair of texts, a question with its text, or the words of a sentence. */
export type Input =
  | string
  | { readonly text: string; readonly text2?: string }
  | { readonly question: string; readonly context: string }
  | { readonly tokens: readonly string[] }

export const isList = (asked: Input | readonly Input[]): asked is readonly Input[] => Array.isArray(asked)

/** What inputs that are no texts are made of: the names of each, and of those of them that stand for texts. */
const SHAPES = [['text'], ['text', 'text2'], ['question', 'context'], ['tokens']] as const
const ASKED = 'give a text, { text, text2 }, { question, context } or { tokens: words }'

/** Inputs of one kind are answered together. */
export const kindOf = ({ values }: Row): string => Object.keys(values).sort().join(' ')

/** An input as a row. @throws ERR_OPTION for what JavaScript may hand over in place of one */
export function rowOf(input: Input, line: number): Row {
  if (typeof input === 'string') return { values: { text: input }, file: '', line }
  const isPlain = isRecord(input) && [Object.prototype, null].includes(Object.getPrototypeOf(input))
  check(isPlain, 'ERR_OPTION', () => `predict: input ${line} is ${shown(input)}; ${ASKED}`)
  const parts = Object.entries(input).filter(([, value]) => value !== undefined)
  const names = parts.map(([name]) => name)
  const known = SHAPES.flat()
  const odd = names.find(name => !isOneOf(known, name))
  check(odd === undefined, 'ERR_OPTION', () => {
    return `predict: input ${line} has "${odd}"${nearest(odd ?? '', known)}; ${ASKED}`
  })
  const shape = SHAPES.find(each => each.length === names.length && each.every(name => names.includes(name)))
  check(shape, 'ERR_OPTION', () => `predict: input ${line} has ${names.join(' and ') || 'nothing'}; ${ASKED}`)
  const given: Readonly<Record<string, unknown>> = Object.fromEntries(parts)
  const [first, second] = shape.map(name => given[name])
  const isRead =
    shape[0] === 'tokens' ? isTexts(first) : [...shape.keys()].every(i => typeof [first, second][i] === 'string')
  check(isRead, 'ERR_OPTION', () => `predict: input ${line} is ${shown(input)}; ${ASKED}`)
  if (isTexts(first)) return { values: { tokens: first }, file: '', line }
  return { values: second === undefined ? { text: first } : { text: first, text2: second }, file: '', line }
}

export function columnsOf({ values }: Row): ColumnNames {
  return Object.fromEntries(Object.keys(values).map(name => [name, name]))
}

/** Entities of a text by its UTF-16 units: the words they are made of stand in it in order. */
export function withPlaces(record: PredictionRecord, input: Input): PredictionRecord {
  const text = typeof input === 'string' ? input : 'text' in input ? input.text : undefined
  const { entities } = record
  if (!Array.isArray(entities) || text === undefined) return record
  const places: { start: number; end: number }[] = []
  for (const word of record.text.split(' ')) {
    const start = text.indexOf(word, places.at(-1)?.end ?? 0)
    places.push({ start, end: start + word.length })
  }
  const placed = entities.map(entity => {
    const { start } = nth(places, entity.start)
    const { end } = nth(places, entity.end - 1)
    return { ...entity, start, end, text: text.slice(start, end) }
  })
  return { ...record, text, entities: placed }
}
