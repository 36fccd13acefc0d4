// A training batch decoded: what the model sees, and which of it the loss looks at.

import type { MicroBatch } from '../../data/batches.ts'
import type { Reader, Supervision, Task } from '../../tasks/task.ts'
import { paint } from './console.ts'

/** One sequence of a batch. */
export interface SequenceView extends Supervision {
  readonly tokens: readonly string[]
}

/** What is needed to read a batch. */
export interface BatchReader extends Omit<Reader, 'columns'> {
  readonly task: Task
  readonly classWeights?: readonly number[] | undefined
}

/** The sequences of a micro-batch, decoded. */
export function viewBatch(batch: MicroBatch, reader: BatchReader): SequenceView[] {
  const { tokenizer, task, classWeights } = reader
  return Array.from({ length: batch.cuSeqlens.length - 1 }, (_, i) => {
    const [start, end] = [batch.cuSeqlens[i]!, batch.cuSeqlens[i + 1]!]
    const tokens = Array.from(batch.ids.subarray(start, end), id => tokenizer.token(id) ?? `#${id}`)
    return { tokens, ...(batch.targets ? task.view(batch, i, reader, classWeights) : { weight: 0 }) }
  })
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
