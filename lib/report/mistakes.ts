// The most confident mistakes: text, gold, predicted, probability; for entities the marked sentence.

import { must, nth } from '../tuple.ts'
import type { Mistake, ReportData, TextPiece } from './data.ts'
import { clip, number, percent } from './format.ts'
import { type Content, type Html, html } from './html.ts'

const SHOWN = 100
const TEXT_LENGTH = 700
/** Beside a mark, where there is more to show. */
const AROUND = 240

function answer(gold: Content, predicted: Content, last: readonly [string, string] | undefined): Html {
  const more = last && html`<dt>${last[0]}</dt><dd>${last[1]}</dd>`
  return html`<dl class="answer"><dt>gold</dt><dd class="gold">${gold}</dd><dt>predicted</dt><dd
class="said">${predicted}</dd>${more}</dl>`
}

/** Pieces of a text, parted by blanks; long ends of what has no mark are cut. */
function pieces(list: readonly TextPiece[], most: number): Content[] {
  const parts: Content[] = []
  list.forEach(({ text, mark, name }, i) => {
    if (text === '') return
    if (parts.length > 0) parts.push(' ')
    if (mark === 'blank') parts.push(html`<span class="blank">${text}</span>`)
    else if (mark) parts.push(html`<mark class="${mark}">${text}${name && html`<sub>${name}</sub>`}</mark>`)
    // Before a mark the end of a text says more, after it the beginning.
    else if (list[i + 1]?.mark) parts.push([...text].slice(-most).join(''))
    else parts.push(clip(text, most))
  })
  return parts
}

function isText(answer: Mistake['gold']): answer is readonly TextPiece[] {
  return typeof answer === 'object'
}

const plain = (value: number | string) => (typeof value === 'number' ? number(value) : value)

function item({ text, gold, predicted, probability }: Mistake): Html {
  if (isText(gold) && isText(predicted)) {
    const sure =
      probability !== undefined && html`<p class="note">probability of the wrong answer ${percent(probability)}</p>`
    const line = (
      name: string,
      list: readonly TextPiece[],
    ) => html`<div class="tagged"><span>${name}</span><p class="text"
dir="auto">${pieces(list, text ? AROUND : TEXT_LENGTH)}</p></div>`
    const about = text && html`<p class="text" dir="auto">${pieces(text, TEXT_LENGTH)}</p>`
    return html`<li class="wide">${about}${line('gold', gold)}
${line('predicted', predicted)}${sure}</li>`
  }
  const [right, said] = [gold, predicted].filter(value => typeof value === 'number' || typeof value === 'string')
  const far = typeof right === 'number' && typeof said === 'number' ? number(said - right) : undefined
  const last = far !== undefined ? (['error', far] as const) : undefined
  const sure = probability === undefined ? last : (['probability', percent(probability)] as const)
  const most = text && text.length > 1 ? AROUND : TEXT_LENGTH
  return html`<li><p class="text" dir="auto">${pieces(text ?? [], most)}</p>${answer(plain(must(right, 'right')), plain(must(said, 'said')), sure)}</li>`
}

const spanLegend = html`<p class="key"><span><mark class="right">found</mark></span><span><mark
class="missed">gold, not predicted so</mark></span><span><mark class="wrong">predicted, not gold</mark></span></p>`

/** At most a hundred mistakes, in the order given. */
export function mistakesSection({ mistakes = [] }: ReportData): Html | undefined {
  if (mistakes.length === 0) return undefined
  const shown = mistakes.slice(0, SHOWN)
  const values = typeof nth(shown, 0).gold === 'number'
  const title = values ? 'Largest errors' : 'Most confident mistakes'
  const lead = values
    ? 'Where predictions are farthest off.'
    : 'Wrong answers the model was surest of: mislabelled data and blind spots show here first.'
  return html`<section><h2>${title}</h2><p class="lead">${lead}</p>${isText(nth(shown, 0).gold) && spanLegend}
<ol class="mistakes" data-search="Search the mistakes">${shown.map(item)}</ol></section>`
}
