// A training batch decoded: what the model sees, and which of it the loss looks at.

import type { MicroBatch } from '../../data/batches.ts'
import { IGNORED } from '../../data/encode.ts'
import type { Problem, Task } from '../../heads/head.ts'
import type { Tokenizer } from '../../tokenizer/tokenizer.ts'
import { paint } from './console.ts'

/** One sequence of a batch. */
export interface SequenceView {
  readonly tokens: readonly string[]
  /** Label of the sequence: a name, names, or a number. */
  readonly label?: string | readonly string[] | readonly number[]
  /** What the loss expects at each token; null where it looks at nothing. */
  readonly tokenLabels?: readonly (string | null)[]
  /** Weight in the sum of losses, before it is divided by the weight of the step. */
  readonly weight: number
}

/** What is needed to read a batch. */
export interface BatchReader {
  readonly tokenizer: Tokenizer
  readonly task: Task
  readonly problem: Problem
  readonly labels: readonly string[]
  readonly classWeights?: readonly number[] | undefined
}

/** The sequences of a micro-batch, decoded. */
export function viewBatch(batch: MicroBatch, reader: BatchReader): SequenceView[] {
  const { tokenizer } = reader
  return Array.from({ length: batch.cuSeqlens.length - 1 }, (_, i) => {
    const [start, end] = [batch.cuSeqlens[i]!, batch.cuSeqlens[i + 1]!]
    const tokens = Array.from(batch.ids.subarray(start, end), id => tokenizer.token(id) ?? `#${id}`)
    return { tokens, ...supervisionOf(batch, i, reader) }
  })
}

function supervisionOf(
  { targets, cuSeqlens }: MicroBatch,
  i: number,
  reader: BatchReader,
): Omit<SequenceView, 'tokens'> {
  const { task, problem, classWeights } = reader
  if (targets === undefined) return { weight: 0 }
  const { values: labels, rows } = targets
  const weightOf = (id: number): number => classWeights?.[id] ?? 1
  if (task === 'sequence-classification') {
    if (problem === 'single')
      return { label: reader.labels[labels[i]!] ?? `#${labels[i]}`, weight: weightOf(labels[i]!) }
    const width = reader.labels.length
    const row = Array.from(labels.subarray(i * width, (i + 1) * width))
    const label = problem === 'regression' ? row : reader.labels.filter((_, c) => row[c]! > 0)
    return { label, weight: width }
  }
  const tokens = Array.from({ length: cuSeqlens[i + 1]! - cuSeqlens[i]! }, (_, t) => cuSeqlens[i]! + t)
  const hidden = rows && new Map(Array.from(rows, (token, row) => [token, labels[row]!]))
  const ids = tokens.map(token => (hidden ? (hidden.get(token) ?? IGNORED) : labels[token]!))
  const name = (id: number): string => {
    return (task === 'masked-lm' ? reader.tokenizer.token(id) : reader.labels[id]) ?? `#${id}`
  }
  return {
    tokenLabels: ids.map(id => (id === IGNORED ? null : name(id))),
    weight: ids.reduce((sum, id) => sum + (id === IGNORED ? 0 : weightOf(id)), 0),
  }
}

const shown = 8

/**
 * Lines for people: each sequence with its label; tokens the loss looks at stand out (colour, or token/label in plain
 * text), the others are dim.
 */
export function renderBatch(sequences: readonly SequenceView[], color: boolean): string[] {
  const lines = sequences.slice(0, shown).map((sequence, i) => {
    const number = paint(color, 'dim', `${String(i + 1).padStart(2)}  `)
    return `${number}${labelText(sequence, color)}${tokensText(sequence, color)}`
  })
  const more = sequences.length - shown
  return more > 0 ? [...lines, `    and ${more} more`] : lines
}

function labelText({ label, weight }: SequenceView, color: boolean): string {
  if (label === undefined) return ''
  const text = typeof label === 'string' ? label : label.join(', ')
  const weighed = weight === 1 || Array.isArray(label) ? '' : ` ×${Number(weight.toPrecision(3))}`
  return `${paint(color, weight > 0 ? ['bold', 'green'] : 'dim', `${text || '(none)'}${weighed}`)}  `
}

function tokensText({ tokens, tokenLabels }: SequenceView, color: boolean): string {
  if (!tokenLabels) return tokens.join(' ')
  return tokens
    .map((token, t) => {
      const label = tokenLabels[t]
      if (label === null || label === undefined) return paint(color, 'dim', token)
      return `${paint(color, label === 'O' ? 'green' : ['bold', 'green'], token)}${paint(color, 'cyan', `/${label}`)}`
    })
    .join(' ')
}
