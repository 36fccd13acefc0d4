// The most confident mistakes: text, gold, predicted, probability; for entities the marked sentence.

import type { EntitySpan } from '../metrics/entities.ts'
import type { Mistake, ReportData } from './data.ts'
import { clip, number, percent } from './format.ts'
import { type Content, type Html, html } from './html.ts'

const SHOWN = 20
const TEXT_LENGTH = 700

type Of<Kind extends Mistake['kind']> = Extract<Mistake, { kind: Kind }>

function answer(gold: Content, predicted: Content, last: readonly [string, string]): Html {
  return html`<dl class="answer"><dt>gold</dt><dd class="gold">${gold}</dd><dt>predicted</dt><dd
class="said">${predicted}</dd><dt>${last[0]}</dt><dd>${last[1]}</dd></dl>`
}

function list(labels: readonly string[]): string {
  return labels.length === 0 ? '(none)' : labels.join(', ')
}

function spanKey({ type, start, end }: EntitySpan): string {
  return `${start} ${end} ${type}`
}

/** The words with `spans` marked: as right where `others` holds the same span, else as `otherwise`. */
function markedWords(
  words: readonly string[],
  spans: readonly EntitySpan[],
  others: readonly EntitySpan[],
  otherwise: 'missed' | 'wrong',
): Content[] {
  const known = new Set(others.map(spanKey))
  const out: Content[] = []
  let at = 0
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    if (span.start < at) continue
    out.push(words.slice(at, span.start).join(' '), ' ')
    const kind = known.has(spanKey(span)) ? 'right' : otherwise
    out.push(html`<mark class="${kind}">${words.slice(span.start, span.end).join(' ')}<sub>${span.type}</sub></mark> `)
    at = span.end
  }
  out.push(words.slice(at).join(' '))
  return out
}

function spansItem({ words, gold, predicted, probability }: Of<'spans'>): Html {
  const sure =
    probability !== undefined && html`<p class="note">probability of the wrong entity ${percent(probability)}</p>`
  return html`<li class="wide"><div class="tagged"><span>gold</span><p class="text"
dir="auto">${markedWords(words, gold, predicted, 'missed')}</p></div>
<div class="tagged"><span>predicted</span>
<p class="text" dir="auto">${markedWords(words, predicted, gold, 'wrong')}</p></div>${sure}</li>`
}

function item(mistake: Mistake): Html {
  if (mistake.kind === 'spans') return spansItem(mistake)
  if (mistake.kind === 'token') {
    const left = [...mistake.left].slice(-240).join('')
    const text = html`${left}<span class="blank">${mistake.predicted}</span>${clip(mistake.right, 240)}`
    const sure = ['probability', percent(mistake.probability)] as const
    return html`<li><p class="text" dir="auto">${text}</p>${answer(mistake.gold, mistake.predicted, sure)}</li>`
  }
  const text = html`<p class="text" dir="auto">${clip(mistake.text, TEXT_LENGTH)}</p>`
  if (mistake.kind === 'value') {
    const error = ['error', number(mistake.predicted - mistake.gold)] as const
    return html`<li>${text}${answer(number(mistake.gold), number(mistake.predicted), error)}</li>`
  }
  const sure = ['probability', percent(mistake.probability)] as const
  if (mistake.kind === 'labels')
    return html`<li>${text}${answer(list(mistake.gold), list(mistake.predicted), sure)}</li>`
  return html`<li>${text}${answer(mistake.gold, mistake.predicted, sure)}</li>`
}

const spanLegend = html`<p class="key"><span><mark class="right">found</mark></span><span><mark
class="missed">gold, not predicted so</mark></span><span><mark class="wrong">predicted, not gold</mark></span></p>`

/** At most twenty mistakes, in the order given. */
export function mistakesSection({ mistakes = [] }: ReportData): Html | undefined {
  if (mistakes.length === 0) return undefined
  const shown = mistakes.slice(0, SHOWN)
  const values = shown[0]!.kind === 'value'
  const title = values ? 'Largest errors' : 'Most confident mistakes'
  const lead = values
    ? 'Where predictions are farthest off.'
    : 'Wrong answers the model was surest of: mislabelled data and blind spots show here first.'
  return html`<section><h2>${title}</h2><p class="lead">${lead}</p>${shown[0]!.kind === 'spans' && spanLegend}
<ol class="mistakes">${shown.map(item)}</ol></section>`
}
