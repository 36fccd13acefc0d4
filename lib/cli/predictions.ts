// Predictions as records for JSON lines and as lines for people.

import type { Columns } from '../data/columns.ts'
import type { Example } from '../data/encode.ts'
import { textOf } from '../data/row.ts'
import { type EntitySpan, entitySpans } from '../metrics/entities.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Prediction } from '../train/evaluate.ts'
import { areEntityTags } from '../train/scores.ts'
import { paint } from './terminal/console.ts'
import { pad } from './terminal/table.ts'

/** An entity of a sentence: words [start, end), and what it says. */
export interface EntityRecord extends EntitySpan {
  readonly text: string
  /** Least probability of its words. */
  readonly probability: number
}

/** A label with its probability. */
export interface LabelRecord {
  readonly label: string
  readonly probability: number
}

/** What stands behind a mask. */
export interface TokenRecord {
  readonly predicted: string
  readonly probability: number
  readonly gold?: string
  /** The likeliest tokens, the first being `predicted`. */
  readonly top?: readonly { readonly predicted: string; readonly probability: number }[]
}

/** One prediction, as plain data. */
export type PredictionRecord = { readonly text: string } & (
  | (LabelRecord & { readonly top?: readonly LabelRecord[]; readonly gold?: string })
  | { readonly labels: readonly LabelRecord[]; readonly gold?: readonly string[] }
  | { readonly value: number | readonly number[]; readonly gold?: number | readonly number[] }
  | { readonly entities: readonly EntityRecord[]; readonly tags: readonly string[]; readonly gold?: readonly string[] }
  | { readonly words: readonly string[]; readonly tags: readonly string[]; readonly gold?: readonly string[] }
  | { readonly tokens: readonly TokenRecord[] }
)

/** What is needed to say what a prediction means. */
export interface Reader {
  readonly tokenizer: Tokenizer
  readonly labels: readonly string[]
  readonly columns: Columns
}

/** What a prediction says about an example; `top` asks for the likeliest labels. */
export function predictionRecord(prediction: Prediction, example: Example, reader: Reader, top = 1): PredictionRecord {
  const { labels } = reader
  const text = textFor(example, reader)
  switch (prediction.kind) {
    case 'class': {
      const ranked = rank(prediction.probabilities, labels)
      const gold = prediction.gold === undefined ? {} : { gold: labels[prediction.gold]! }
      return { text, ...ranked[0]!, ...(top > 1 ? { top: ranked.slice(0, top) } : {}), ...gold }
    }
    case 'labels': {
      const found = rank(prediction.probabilities, labels).filter(({ probability }) => probability > 0.5)
      const gold = prediction.gold && labels.filter((_, c) => prediction.gold![c] === 1)
      return { text, labels: found, ...(gold ? { gold } : {}) }
    }
    case 'values': {
      const single = (values: Float32Array) => (values.length === 1 ? values[0]! : Array.from(values))
      const gold = prediction.gold === undefined ? {} : { gold: single(prediction.gold) }
      return { text, value: single(prediction.predicted), ...gold }
    }
    case 'tags':
      return tagRecord(prediction, example, labels, text)
    default:
      return { text, tokens: tokenRecords(prediction, reader) }
  }
}

type ItemPrediction = Extract<Prediction, { positions: Int32Array }>

function tagRecord(prediction: ItemPrediction, { words = [] }: Example, labels: readonly string[], text: string) {
  const names = (ids: Int32Array): string[] => Array.from(ids, id => labels[id]!)
  const tags = names(prediction.predicted)
  const gold = prediction.gold ? { gold: names(prediction.gold) } : {}
  if (!areEntityTags(labels)) return { text, words: words.slice(0, tags.length), tags, ...gold }
  const entities = entitySpans(tags).map(span => ({
    ...span,
    text: words.slice(span.start, span.end).join(' '),
    probability: Math.min(...prediction.probabilities.subarray(span.start, span.end)),
  }))
  return { text, entities, tags, ...gold }
}

function tokenRecords({ predicted, gold, probabilities }: ItemPrediction, { tokenizer }: Reader) {
  return Array.from(predicted, (id, i) => ({
    predicted: tokenizer.token(id) ?? `#${id}`,
    probability: probabilities[i]!,
    ...(gold ? { gold: tokenizer.token(gold[i]!) ?? `#${gold[i]}` } : {}),
  }))
}

function rank(probabilities: Float32Array, labels: readonly string[]): LabelRecord[] {
  return Array.from(probabilities, (probability, c) => ({ label: labels[c]!, probability })).sort(
    (a, b) => b.probability - a.probability,
  )
}

/** What an example was made from, to be shown. */
export function textFor({ row, words, ids }: Example, { tokenizer, columns }: Omit<Reader, 'labels'>): string {
  if (words) return words.join(' ')
  if (columns.text === undefined) return tokenizer.decode(ids)
  const first = textOf(row, columns.text)
  return columns.text2 === undefined ? first : `${first} | ${textOf(row, columns.text2)}`
}

/** A record as one line: what was found, then the text; entities stand in the text itself. */
export function predictionLine(record: PredictionRecord, color: boolean): string {
  const percent = (p: number, width = 0) => paint(color, 'dim', `${(100 * p).toFixed(1).padStart(width)} %`)
  if ('label' in record) {
    const others = (record.top ?? []).slice(1).map(({ label, probability }) => `${label} ${percent(probability)}`)
    const rest = others.length > 0 ? paint(color, 'dim', `  (${others.join(', ')})`) : ''
    return `${pad(paint(color, 'bold', record.label), 16)} ${percent(record.probability, 5)}  ${record.text}${rest}`
  }
  if ('labels' in record) {
    const found = record.labels.map(
      ({ label, probability }) => `${paint(color, 'bold', label)} ${percent(probability)}`,
    )
    return `${found.join(', ') || '(none)'}  ${record.text}`
  }
  if ('value' in record) {
    const values = typeof record.value === 'number' ? [record.value] : record.value
    return `${values.map(value => value.toPrecision(4)).join(' ')}  ${record.text}`
  }
  if ('entities' in record) return entityLine(record.text.split(' '), record.entities, color)
  if ('words' in record)
    return record.words.map((word, i) => `${word}/${paint(color, 'cyan', record.tags[i]!)}`).join(' ')
  const masks = record.tokens.map(({ predicted, probability, top = [{ predicted, probability }] }) => {
    return top.map(each => `${paint(color, 'bold', each.predicted)} ${percent(each.probability)}`).join(', ')
  })
  return `${record.text}\n    ${masks.join('\n    ')}`
}

function entityLine(words: readonly string[], entities: readonly EntityRecord[], color: boolean): string {
  const parts: string[] = []
  let at = 0
  for (const { start, end, type } of entities) {
    parts.push(...words.slice(at, start))
    parts.push(`[${paint(color, 'bold', words.slice(start, end).join(' '))} ${paint(color, 'cyan', type)}]`)
    at = end
  }
  return [...parts, ...words.slice(at)].join(' ')
}
