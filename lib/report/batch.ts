// Training sequences as the model sees them, with the tokens that the loss looks at.

import { must } from '../tuple.ts'
import type { ReportData } from './data.ts'
import { integer } from './format.ts'
import { type Content, type Html, html } from './html.ts'

const MOST_TOKENS = 400

/** Runs of tokens that are learned, or are not; a label that is not the token itself stands behind it. */
function tokensOf(tokens: readonly string[], labels: readonly (string | null)[]): Content[] {
  const parts: Content[] = []
  let run: string[] = []
  const flush = (isLearned: boolean) => {
    if (run.length > 0) parts.push(isLearned ? html`<mark class="right">${run.join(' ')}</mark> ` : `${run.join(' ')} `)
    run = []
  }
  tokens.slice(0, MOST_TOKENS).forEach((token, t) => {
    const label = labels[t] ?? null
    const isOwn = label === token
    if (t > 0 && isOwn !== (labels[t - 1] === tokens[t - 1])) flush(!isOwn)
    if (label !== null && !isOwn) {
      flush(false)
      parts.push(html`<mark class="right">${token}<sub>${label}</sub></mark> `)
    } else run.push(token)
  })
  const last = Math.min(tokens.length, MOST_TOKENS) - 1
  flush(last >= 0 && labels[last] === tokens[last])
  if (tokens.length > MOST_TOKENS) parts.push(html`<span class="quiet">… ${integer(tokens.length)} tokens</span>`)
  return parts
}

/** The first training sequences, token by token. */
export function batchSection({ batch = [] }: ReportData): Html | undefined {
  const shown = batch.filter(({ tokenLabels }) => tokenLabels !== undefined)
  if (shown.length === 0) return undefined
  const items = shown.map(({ tokens, tokenLabels, weight }) => {
    return html`<li class="wide"><p class="text" dir="auto">${tokensOf(tokens, must(tokenLabels, 'tokenLabels'))}</p><p class="note">${integer(weight)}
of ${integer(tokens.length)} tokens are learned</p></li>`
  })
  return html`<section><h2>What is learned</h2><p class="lead">Training sequences as the model sees them;
the loss looks at the marked tokens alone.</p><ol class="mistakes">${items}</ol></section>`
}
