// Named points with error bars as inline SVG: what a few things cost, and what they are worth.

import { nth } from '../tuple.ts'
import { axes, axisScale, bounds, MARGIN, px, type Scale } from './chart.ts'
import { short } from './format.ts'
import { type Html, html } from './html.ts'

/** One thing. */
export interface NamedPoint {
  readonly name: string
  readonly x: number
  readonly y: number
  /** Half the length of its error bar. */
  readonly spread?: number | undefined
  readonly marked?: boolean
}

interface PointChartOptions {
  readonly xName: string
  /** What a screen reader says. */
  readonly title: string
  readonly xFormat?: (x: number) => string
  readonly yFormat?: (y: number) => string
  /** Powers of ten on the x axis; every x is above 0. */
  readonly log?: boolean
}

const WIDTH = 920
const HEIGHT = 320

/** Points with their names beside them. */
export function pointChart(points: readonly NamedPoint[], options: PointChartOptions): Html {
  const { log = false, xFormat = short, yFormat, xName, title } = options
  const place = (x: number) => (log ? Math.log10(x) : x)
  const [xLow, xHigh] = bounds(points.map(({ x }) => place(x)))
  const [low, high] = bounds(points.flatMap(({ y, spread = 0 }) => [y - spread, y + spread]))
  const room = high > low ? (high - low) * 0.08 : 0.05
  const aside = xHigh > xLow ? (xHigh - xLow) * 0.08 : 0.5
  const x = axisScale(xLow - aside, xHigh + aside, MARGIN.left, WIDTH - MARGIN.right, log ? 6 : 8, log)
  const y = axisScale(low - room, high + room, HEIGHT - MARGIN.bottom, MARGIN.top, HEIGHT / 44)
  const shown = (value: number) => xFormat(log ? 10 ** value : value)
  const placed = points.map(point => ({ point, cx: x.at(place(point.x)), cy: y.at(point.y) }))
  const labels = labelPlaces(placed.map(({ point, cx, cy }) => ({ name: point.name, cx, cy })))
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
${axes(x, y, { width: WIDTH, height: HEIGHT }, xName, yFormat, shown)}
${placed.map(({ point, cx, cy }, i) => drawPoint(point, cx, cy, y, nth(labels, i)))}</svg>`
}

interface Label {
  readonly x: number
  readonly y: number
  readonly anchor: 'start' | 'end' | 'middle'
}

function drawPoint({ name, y, spread, marked }: NamedPoint, cx: number, cy: number, scaleY: Scale, label: Label): Html {
  const color = marked ? 'c2' : 'c1'
  const bar =
    spread !== undefined &&
    html`<line class="line ${color}" x1="${px(cx)}" x2="${px(cx)}" y1="${px(scaleY.at(y - spread))}"
y2="${px(scaleY.at(y + spread))}"/>`
  return html`${bar}<circle class="dot ${color}" cx="${px(cx)}" cy="${px(cy)}" r="5"/>
<text class="tick" x="${px(label.x)}" y="${px(label.y)}" text-anchor="${label.anchor}">${name}</text>`
}

interface Box {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

const overlaps = (a: Box, b: Box) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom

/** A place beside each point where its name meets no other name and no point, if there is one. */
function labelPlaces(points: readonly { name: string; cx: number; cy: number }[]): Label[] {
  const taken: Box[] = points.map(({ cx, cy }) => ({ left: cx - 6, right: cx + 6, top: cy - 6, bottom: cy + 6 }))
  return points.map(({ name, cx, cy }) => {
    const width = 6.4 * name.length
    const places: Label[] = [
      { x: cx + 9, y: cy + 4, anchor: 'start' },
      { x: cx - 9, y: cy + 4, anchor: 'end' },
      ...[-10, 19, -22, 31].map(dy => ({ x: cx, y: cy + dy, anchor: 'middle' as const })),
    ]
    const boxes = places.map(label => boxOf(label, width))
    const free = boxes.findIndex(box => isInside(box) && !taken.some(other => overlaps(box, other)))
    const chosen = Math.max(0, free)
    taken.push(nth(boxes, chosen))
    return nth(places, chosen)
  })
}

function boxOf({ x, y, anchor }: Label, width: number): Box {
  const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2
  return { left, right: left + width, top: y - 10, bottom: y + 3 }
}

function isInside({ left, right, top, bottom }: Box): boolean {
  return left >= MARGIN.left && right <= WIDTH && top >= 0 && bottom <= HEIGHT - MARGIN.bottom
}
