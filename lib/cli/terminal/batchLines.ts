// A training batch as lines for people.

import type { SequenceView } from '../../tasks/batchView.ts'
import { paint } from './console.ts'

const shown = 8

/**
 * Each sequence with its label; tokens the loss looks at stand out (colour, or token/label in plain text), the others
 * are dim. Where tokens are their own labels, plain text has those that are learned in ⟦ ⟧.
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
  const learns = (t: number) => t in tokens && tokenLabels[t] === tokens[t]
  return tokens
    .map((token, t) => {
      const label = tokenLabels[t]
      if (label === null || label === undefined) return paint(color, 'dim', token)
      if (!learns(t)) {
        return `${paint(color, label === 'O' ? 'green' : ['bold', 'green'], token)}${paint(color, 'cyan', `/${label}`)}`
      }
      if (color) return paint(color, ['bold', 'green'], token)
      return `${learns(t - 1) ? '' : '⟦'}${token}${learns(t + 1) ? '' : '⟧'}`
    })
    .join(' ')
}
