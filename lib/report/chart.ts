// Line charts, histograms and scatter plots as inline SVG, coloured by the page's CSS for both themes and paper.

import { nth } from '../tuple.ts'
import { number } from './format.ts'
import { type Content, type Html, html } from './html.ts'

/** A point; NaN in y breaks the line. */
export type Point = readonly [x: number, y: number]

/** One line. `faint` draws it thin and pale, `dots` marks its points. */
export type Series = {
  name?: string
  points: readonly Point[]
  color?: number
  faint?: boolean
  dots?: boolean
}

/** The colour of line `i`: there are five. */
export const lineColor = (i: number): number => 1 + (i % 5)

/** Options of {@link lineChart}; sizes in CSS pixels. */
type LineChartOptions = {
  series: readonly Series[]
  xName: string
  format?: (y: number) => string
  width?: number
  height?: number
  /** Bounds of y that the data may only widen. */
  yRange?: readonly [number, number]
  /** Whole numbers on the x axis, e.g. epochs. */
  xWhole?: boolean
  /** A vertical line with its name. */
  mark?: { x: number; name: string }
  /** What a screen reader says. */
  title: string
}

/** Where values of a domain lie on an axis. */
export type Scale = { domain: readonly [number, number]; ticks: number[]; at(value: number): number }

export const MARGIN = { top: 12, right: 14, bottom: 34, left: 52 }

/** Round numbers in [low, high], about `count` of them: 1, 2 or 5 times a power of ten apart. */
export function ticks(low: number, high: number, count: number, whole = false): number[] {
  const raw = (high - low) / Math.max(1, count)
  // Below what 12 digits tell apart there are no round numbers between the two, and counting them would not end.
  const finest = 1e-12 * Math.max(Math.abs(low), Math.abs(high))
  if (!(raw > finest) || !Number.isFinite(raw)) return [low]
  const power = 10 ** Math.floor(Math.log10(raw))
  const part = raw / power
  const factor = part < 1.5 ? 1 : part < 3 ? 2 : part < 7 ? 5 : 10
  const step = whole ? Math.max(1, Math.round(factor * power)) : factor * power
  const out: number[] = []
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    out.push(Number((k * step).toPrecision(12)))
  return out
}

/** Values between `low` and `high` on the stretch from `from` to `to`. */
export function axisScale(low: number, high: number, from: number, to: number, count: number, whole = false): Scale {
  const domain = high > low ? ([low, high] as const) : ([low - 0.5, low + 0.5] as const)
  return {
    domain,
    ticks: ticks(domain[0], domain[1], count, whole),
    at: value => from + ((value - domain[0]) / (domain[1] - domain[0])) * (to - from),
  }
}

/** Least and greatest finite value; [0, 1] where there is none. */
export function bounds(values: Iterable<number>): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (!Number.isFinite(value)) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  return low <= high ? [low, high] : [0, 1]
}

/** At most `2 · buckets` points with the outline kept: the least and greatest y of each bucket, in order. */
export function thin(points: readonly Point[], buckets = 300): readonly Point[] {
  if (points.length <= 2 * buckets) return points
  const out: Point[] = []
  for (let b = 0; b < buckets; b++) {
    const part = points.slice(
      Math.floor((b * points.length) / buckets),
      Math.floor(((b + 1) * points.length) / buckets),
    )
    const low = part.reduce((best, point) => (point[1] < best[1] ? point : best))
    const high = part.reduce((best, point) => (point[1] >= best[1] ? point : best))
    out.push(...(low[0] < high[0] ? [low, high] : low === high ? [low] : [high, low]))
  }
  return out
}

/** Mean over `window` points around each, fewer at the ends; NaN is left out. Centred, so it does not lag. */
export function smooth(points: readonly Point[], window: number): Point[] {
  const half = Math.floor(window / 2)
  const sums = new Float64Array(points.length + 1)
  const counts = new Uint32Array(points.length + 1)
  for (const [i, [, y]] of points.entries()) {
    const finite = Number.isFinite(y)
    sums[i + 1] = nth(sums, i) + (finite ? y : 0)
    counts[i + 1] = nth(counts, i) + (finite ? 1 : 0)
  }
  return points.map(([x], i) => {
    const reach = Math.min(half, i, points.length - 1 - i)
    const [from, to] = [i - reach, i + reach + 1]
    return [x, (nth(sums, to) - nth(sums, from)) / (nth(counts, to) - nth(counts, from))]
  })
}

// Ticks of one axis share their decimals; powers of ten only where plain digits would be long.
function tickFormat(values: readonly number[]): (value: number) => string {
  const step = values.length > 1 ? nth(values, 1) - nth(values, 0) : 1
  const top = Math.max(...values.map(Math.abs))
  if (step < 1e-3 || top >= 1e7) return number
  const decimals = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))
  return value => (decimals === 0 ? number(value) : value.toFixed(decimals).replace(/^-/, '\u2212'))
}

export const px = (value: number) => value.toFixed(1)

function path(points: readonly Point[], x: Scale, y: Scale): string {
  let out = ''
  let pen = 'M'
  for (const [px_, py] of points) {
    if (!Number.isFinite(py)) {
      pen = 'M'
      continue
    }
    out += `${pen}${px(x.at(px_))} ${px(y.at(py))}`
    pen = 'L'
  }
  return out
}

/** Grid, ticks and the name of the x axis. */
export function axes(
  x: Scale,
  y: Scale,
  size: Size,
  xName: string,
  format = tickFormat(y.ticks),
  xFormat = tickFormat(x.ticks),
): Content[] {
  const { width, height } = size
  return [
    y.ticks.map(
      tick => html`<line class="grid" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${px(y.at(tick))}"
y2="${px(y.at(tick))}"/>
<text class="tick" x="${MARGIN.left - 8}" y="${px(y.at(tick) + 3.5)}" text-anchor="end">${format(tick)}</text>`,
    ),
    x.ticks.map(
      tick =>
        html`<text class="tick" x="${px(x.at(tick))}" y="${height - MARGIN.bottom + 17}"
text-anchor="middle">${xFormat(tick)}</text>`,
    ),
    html`<line class="axis" x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${height - MARGIN.bottom}"
y2="${height - MARGIN.bottom}"/>
<text class="axis-name" x="${width - MARGIN.right}" y="${height - 3}" text-anchor="end">${xName}</text>`,
  ]
}

type Size = { width: number; height: number }

function drawSeries({ points, color = 1, faint, dots }: Series, x: Scale, y: Scale): Html {
  const kept = dots ? points : thin(points)
  const marks = dots
    ? kept
        .filter(point => Number.isFinite(point[1]))
        .map(
          point => html`<circle class="dot c${color}" cx="${px(x.at(point[0]))}" cy="${px(y.at(point[1]))}" r="3.2"/>`,
        )
    : []
  return html`<path class="line c${color}${faint ? ' faint' : ''}" d="${path(kept, x, y)}"/>${marks}`
}

function markLine({ x: at, name }: { x: number; name: string }, x: Scale, height: number): Html {
  const left = px(x.at(at))
  return html`<line class="best-mark" x1="${left}" x2="${left}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}"/>
<text class="tick" x="${px(x.at(at) - 5)}" y="${MARGIN.top + 9}" text-anchor="end">${name}</text>`
}

/** A chart of lines over a shared x axis; named lines get a legend. */
export function lineChart(options: LineChartOptions): Html {
  const { series, xName, format = number, width = 920, height = 260, title } = options
  const all = series.flatMap(line => line.points)
  const [xLow, xHigh] = bounds(all.map(point => point[0]))
  const [low, high] = bounds(all.map(point => point[1]).concat(options.yRange ?? []))
  const room = options.yRange || high === low ? 0 : (high - low) * 0.06
  const x = axisScale(xLow, xHigh, MARGIN.left, width - MARGIN.right, width / 110, options.xWhole)
  const y = axisScale(low - room, high + room, height - MARGIN.bottom, MARGIN.top, height / 44)
  const named = series.filter(line => line.name !== undefined)
  const main = series.find(line => !line.faint)
  const hover = JSON.stringify(
    main
      ? thin(main.points).map(point => [px(x.at(point[0])), px(y.at(point[1])), number(point[0]), format(point[1])])
      : [],
  )
  return html`${
    named.length > 0 &&
    html`<div class="legend">${named.map(
      line => html`<span><i
class="swatch c${line.color ?? 1}"></i>${line.name}</span>`,
    )}</div>`
  }
<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" data-hover="${hover}"
data-x="${xName}">
${axes(x, y, { width, height }, xName, options.format)}
${series.map(line => drawSeries(line, x, y))}${options.mark && markLine(options.mark, x, height)}
</svg>`
}

/** Bars of counts over equal-width bins, with a marked limit. */
export function histogramChart(
  values: ArrayLike<number>,
  options: { xName: string; limit?: number; title: string },
): Html {
  const { xName, limit, title } = options
  const [width, height] = [920, 200]
  const [low, high] = bounds(Array.from(values))
  const step = Math.max(1, Math.ceil((high - low + 1) / 46))
  const counts = new Array<number>(Math.floor((high - low) / step) + 1).fill(0)
  for (let i = 0; i < values.length; i++) counts[Math.floor((nth(values, i) - low) / step)]!++
  const top = Math.max(...counts)
  const end = low + counts.length * step
  const x = axisScale(low, Math.max(end, limit ?? end), MARGIN.left, width - MARGIN.right, 9, true)
  const y = axisScale(0, top, height - MARGIN.bottom, MARGIN.top, 4, true)
  const bars = counts.map((count, b) => {
    const from = low + b * step
    const left = x.at(from) + 0.5
    const name = step === 1 ? `${from}` : `${from}–${from + step - 1}`
    return (
      count > 0 &&
      html`<rect class="bar${limit !== undefined && from > limit ? ' over' : ''}" x="${px(left)}"
y="${px(y.at(count))}" width="${px(Math.max(1, x.at(from + step) - left - 0.5))}"
height="${px(y.at(0) - y.at(count))}"><title>${name} ${xName}: ${count}</title></rect>`
    )
  })
  const mark =
    limit !== undefined &&
    limit >= low &&
    html`<line class="limit" x1="${px(x.at(limit))}" x2="${px(x.at(limit))}" y1="${MARGIN.top}"
y2="${height - MARGIN.bottom}"/>
<text class="tick limit-name" x="${px(x.at(limit) - 5)}" y="${MARGIN.top + 9}" text-anchor="end">limit ${limit}</text>`
  return html`<svg class="chart" viewBox="0 0 ${width} ${height}" role="img"
aria-label="${title}">${axes(x, y, { width, height }, xName)}${bars}${mark}</svg>`
}

/** Predicted over gold values with the line of equality; at most 2000 points, evenly chosen. */
export function scatterChart(gold: ArrayLike<number>, predicted: ArrayLike<number>): Html {
  const [width, height] = [520, 440]
  const [low, high] = bounds([...Array.from(gold), ...Array.from(predicted)])
  const room = (high - low) * 0.04
  const x = axisScale(low - room, high + room, MARGIN.left, width - MARGIN.right, 6)
  const y = axisScale(low - room, high + room, height - MARGIN.bottom, MARGIN.top, 6)
  const stride = Math.max(1, Math.ceil(gold.length / 2000))
  const dots: Html[] = []
  for (let i = 0; i < gold.length; i += stride)
    dots.push(html`<circle class="cloud" cx="${px(x.at(nth(gold, i)))}" cy="${px(y.at(nth(predicted, i)))}" r="2.6"/>`)
  const [a, b] = x.domain
  return html`<svg class="chart square" viewBox="0 0 ${width} ${height}" role="img"
aria-label="Predicted over gold values">
${axes(x, y, { width, height }, 'gold value; predicted upward')}
<line class="equal" x1="${px(x.at(a))}" y1="${px(y.at(a))}" x2="${px(x.at(b))}" y2="${px(y.at(b))}"/>${dots}</svg>`
}
