// Confusion matrix as an SVG heat map that stays readable from 2 to some 150 classes, and its most frequent errors.

import type { ConfusionCell } from '../metrics/classification.ts'
import { nth, under } from '../tuple.ts'
import type { ConfusionData } from './data.ts'
import { clip, integer, percent } from './format.ts'
import { type Html, html } from './html.ts'

/** Cell and type sizes for `classes` classes, in CSS pixels. */
function layout(data: ConfusionData): { cell: number; font: number; label: number; counts: boolean } {
  const classes = data.labels.length
  const cell = classes <= 4 ? 76 : Math.max(9, Math.min(52, Math.floor(700 / classes)))
  const font = Math.max(7, Math.min(12, cell * 0.82))
  const longest = Math.max(...data.labels.map(label => [...clip(label, 24)].length))
  return { cell, font, label: Math.ceil(longest * font * 0.6) + 12, counts: cell >= 22 }
}

function cellMarkup(
  data: ConfusionData,
  [gold, predicted, count]: ConfusionCell,
  total: number,
  cell: number,
  counts: boolean,
): Html {
  const share = total === 0 ? 0 : count / total
  const kind = gold === predicted ? 'right' : 'wrong'
  const x = predicted * cell
  const y = gold * cell
  const says = `${data.labels[gold]} → ${data.labels[predicted]}: ${count} of ${total} (${percent(share)})`
  const gap = cell > 14 ? 1 : 0.5
  const size = Math.min(13, cell * (count >= 1000 ? 0.3 : 0.4))
  const text =
    counts &&
    html`<text class="count${share > 0.4 ? ' on' : ''}" x="${x + cell / 2}"
y="${(y + cell / 2 + size * 0.36).toFixed(1)}"
font-size="${size.toFixed(1)}" text-anchor="middle">${count}</text>`
  const shade = (0.08 + 0.92 * share ** 0.7).toFixed(3)
  return html`<g><title>${says}</title><rect class="heat ${kind}" x="${x + gap}" y="${y + gap}"
width="${cell - 2 * gap}"
height="${cell - 2 * gap}" rx="${cell > 20 ? 2 : 0}" fill-opacity="${shade}"/>${text}</g>`
}

/** The heat map: rows are gold, columns predicted, shade is the share of the row. Empty cells are not drawn. */
export function confusionChart(data: ConfusionData): Html {
  const { cell, font, label, counts } = layout(data)
  const classes = data.labels.length
  const side = classes * cell
  const totals = rowTotals(data)
  const drawn = data.cells.filter(([, , count]) => count > 0)
  const cells = drawn.map(one => cellMarkup(data, one, under(totals, one[0]), cell, counts))
  const middle = (i: number) => (i + 0.5) * cell
  const rows = data.labels.map(
    (name, i) =>
      html`<text x="-7" y="${(middle(i) + font * 0.35).toFixed(1)}" text-anchor="end">${clip(name, 24)}</text>`,
  )
  const columns = data.labels.map(
    (name, i) =>
      html`<text transform="translate(${(middle(i) + font * 0.3).toFixed(1)} -7) rotate(-55)">${clip(name, 24)}</text>`,
  )
  const head = Math.ceil(label * 0.82) + 10
  const tail = Math.ceil(label * 0.58)
  const width = label + side + tail
  const height = head + side + 4
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix, scrollable"><svg class="confusion" style="width:${width}px" viewBox="0 0 ${width} ${height}"
role="img" aria-label="Confusion matrix">
<g transform="translate(${label} ${head})"><rect class="field" width="${side}" height="${side}"/>
<g class="labels" font-size="${font.toFixed(1)}">${rows}${columns}</g>${cells}</g></svg></div>`
}

function rowTotals({ cells }: ConfusionData): Map<number, number> {
  const totals = new Map<number, number>()
  for (const [gold, , count] of cells) totals.set(gold, (totals.get(gold) ?? 0) + count)
  return totals
}

/** The off-diagonal cells with the highest counts. */
export function topConfusions(data: ConfusionData, limit = 200): Html | undefined {
  const totals = rowTotals(data)
  const pairs = data.cells.flatMap(([gold, predicted, count]) => {
    return gold === predicted || count === 0 ? [] : [{ gold, predicted, count, total: under(totals, gold) }]
  })
  pairs.sort((a, b) => b.count - a.count || b.count / b.total - a.count / a.total)
  if (pairs.length === 0) return undefined
  const top = nth(pairs, 0).count
  const rows = pairs.slice(0, limit).map(({ gold, predicted, count, total }) => {
    const share = count / total
    return html`<tr><td>${clip(nth(data.labels, gold), 40)}</td><td>${clip(nth(data.labels, predicted), 40)}</td>
<td class="num" data-value="${count}">${integer(count)}</td><td class="num quiet"
data-value="${share}">${percent(share, 0)}</td>
<td class="meter"><i class="wrong" style="width:${((100 * count) / top).toFixed(1)}%"></i></td></tr>`
  })
  const left = pairs.length - rows.length
  const note = left > 0 && html`<p class="note">${integer(left)} rarer pairs are left out.</p>`
  return html`<h3>Most frequent confusions</h3><div class="${rows.length > 25 ? 'tall' : ''}" tabindex="0" role="region"
aria-label="Most frequent confusions"><table class="pairs sortable"><thead><tr><th>Gold</th><th>Predicted</th><th
class="num">Times</th><th class="num">Of gold</th><td class="meter"></td></tr></thead>
<tbody data-search="Search the confusions">${rows}</tbody></table></div>${note}`
}
