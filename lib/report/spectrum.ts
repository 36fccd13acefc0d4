// Where an adapter of factors has put its ranks: the singular values of its change, layer by layer.

import type { ReportData, Spectrum } from './data.ts'
import { integer, number } from './format.ts'
import { type Html, html } from './html.ts'

const MOST_LAYERS = 500
const BAR = { width: 7, height: 22 }
/** Of the largest singular value of all layers: what lies below is no rank in use. */
const NOTHING = 1e-6

/** Bars of one layer, on the scale of all. */
function bars({ layer, values }: Spectrum, largest: number): Html {
  const rects = values.map((value, i) => {
    const height = largest > 0 ? Math.max(value > NOTHING * largest ? 1 : 0, (value / largest) * BAR.height) : 0
    const [x, y] = [i * BAR.width, (BAR.height - height).toFixed(1)]
    return html`<rect x="${x}" y="${y}" width="${BAR.width - 2}" height="${height.toFixed(1)}" fill="currentColor"/>`
  })
  const width = Math.max(1, values.length * BAR.width)
  return html`<svg role="img" aria-label="Singular values of ${layer}" width="${width}" height="${BAR.height}">${rects}</svg>`
}

/** A row a layer: its ranks in use, the norm of its change, its singular values. */
export function spectrumSection({ spectra = [] }: ReportData): Html | undefined {
  if (spectra.length === 0) return undefined
  const largest = spectra.reduce((most, { values }) => Math.max(most, ...values), 0)
  const used = (values: readonly number[]) => values.filter(value => value > NOTHING * largest).length
  const rows = spectra.slice(0, MOST_LAYERS).map(spectrum => {
    const { layer, values } = spectrum
    return html`<tr><th scope="row">${layer}</th><td class="num">${integer(used(values))} of ${integer(values.length)}</td>
<td class="num">${number(Math.hypot(...values))}</td><td>${bars(spectrum, largest)}</td></tr>`
  })
  const total = spectra.reduce((sum, { values }) => sum + used(values), 0)
  return html`<section><h2>Ranks</h2><p class="lead">Singular values of what the adapter changes in each layer's weight,
all on one scale; ${integer(total)} ranks in use.</p><table><thead><tr><th scope="col">Layer</th>
<th scope="col" class="num">Ranks</th><th scope="col" class="num">Norm</th><th scope="col">Singular values</th></tr></thead>
<tbody>${rows}</tbody></table></section>`
}
