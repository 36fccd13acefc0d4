// A search over options as a page: its best trial, parallel coordinates, what made the difference.

import { must, nth, under } from '../tuple.ts'
import { lineChart, MARGIN, px } from './chart.ts'
import type { Setting } from './data.ts'
import { duration, number, percent, valueText } from './format.ts'
import { type Content, type Html, html } from './html.ts'
import { page } from './page.ts'
import { settingsSection } from './sections.ts'

/** One trial, as it is told. */
export interface TrialRow {
  readonly number: number
  readonly state: 'complete' | 'pruned' | 'diverged'
  readonly params: Readonly<Record<string, string | number | boolean | null>>
  /** The last score it was seen with. */
  readonly value: number | undefined
  readonly seconds: number | undefined
}

/** One axis of the picture: where a value lies between 0 and 1, and what its ends are called. */
export interface Axis {
  readonly name: string
  /** Share of the variance of scores; see `importanceOf`. */
  readonly importance: number
  readonly ticks: readonly { readonly at: number; readonly text: string }[]
  /** By trial, in the order of rows. */
  readonly places: readonly number[]
}

export interface SweepData {
  readonly title: string
  readonly task: string
  /** ISO 8601. */
  readonly date: string
  readonly metric: { readonly title: string; readonly unit: 'share' | 'number'; readonly better: 'higher' | 'lower' }
  /** In the order they were drawn in. */
  readonly rows: readonly TrialRow[]
  readonly best: number
  /** Of the best trial, trained again: the test split, seen once. */
  readonly test: number | undefined
  readonly axes: readonly Axis[]
  readonly settings: Readonly<Record<string, Setting>>
}

const paramText = (value: string | number | boolean | null) =>
  typeof value === 'number' ? number(value) : String(value)

function masthead(data: SweepData): Html {
  const { rows, metric, best, test } = data
  const row = must(
    rows.find(each => each.number === best),
    'match',
  )
  const pruned = rows.filter(({ state }) => state === 'pruned').length
  const params = Object.entries(row.params).map(([name, value]) => `${name} ${paramText(value)}`)
  const day = data.date.replace('T', ' ').replace(/:\d\d(\.\d+)?Z$/, ' UTC')
  return html`<header><p class="kicker">lowrank · ${data.task} · ${day}</p><h1>${data.title}</h1>
<p class="verdict">The best of ${rows.length} trials has ${metric.title} <b>${valueText(row.value, metric.unit)}</b> on the validation
split${test !== undefined && html`, and <b>${valueText(test, metric.unit)}</b> on the test split, which was read once, at the end`}:
${params.join(', ')}. ${pruned > 0 && `${pruned} trials were ended early.`}</p></header>`
}

const WIDTH = 920
const HEIGHT = 340

/** One line a trial through its values; the best third stands out, and the best of all. */
function parallelCoordinates({ rows, axes, metric, best }: SweepData): Html {
  const told = rows.flatMap(({ value }, i) => (value === undefined ? [] : [{ value, i }]))
  const [low, high] = [Math.min(...told.map(each => each.value)), Math.max(...told.map(each => each.value))]
  const share = (value: number) => (high > low ? (value - low) / (high - low) : 0.5)
  const score: Axis = {
    name: metric.title,
    importance: 0,
    ticks: [low, high].map(value => ({ at: share(value), text: valueText(value, metric.unit) })),
    places: rows.map(({ value }) => share(value ?? low)),
  }
  const all = [...axes, score]
  const x = (k: number) => 70 + (k * (WIDTH - 140)) / Math.max(1, all.length - 1)
  const y = (at: number) => HEIGHT - 34 - at * (HEIGHT - 74)
  const worth = ({ value }: { value: number }) => (metric.better === 'higher' ? value : -value)
  const order = told.toSorted((a, b) => worth(a) - worth(b))
  const lines = order.map(({ i }, rank) => {
    const points = all.map((axis, k) => `${px(x(k))} ${px(y(nth(axis.places, i)))}`)
    const look = nth(rows, i).number === best ? 'c2' : rank >= (2 * order.length) / 3 ? 'c1' : 'c1 faint'
    return html`<path class="line ${look}" d="M${points.join('L')}"><title>trial ${nth(rows, i).number}: ${valueText(nth(rows, i).value, metric.unit)}</title></path>`
  })
  const drawn = all.map((axis, k) => {
    const ticks = axis.ticks.map(
      ({ at, text }) => html`<text class="tick" x="${px(x(k) + 6)}" y="${px(y(at) + 4)}">${text}</text>`,
    )
    return html`<line class="axis" x1="${px(x(k))}" x2="${px(x(k))}" y1="${px(y(0))}" y2="${px(y(1))}"/>${ticks}
<text class="axis-name" x="${px(x(k))}" y="${MARGIN.top + 6}" text-anchor="middle">${axis.name}</text>`
  })
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"
aria-label="One line a trial through its parameters to its score">${lines}${drawn}</svg>`
}

function importanceSection({ axes }: SweepData): Content {
  const rows = axes
    .toSorted((a, b) => b.importance - a.importance)
    .map(
      ({
        name,
        importance,
      }) => html`<tr><th>${name}</th><td class="num">${percent(importance, 0)}</td><td class="meter"><i
style="width:${(100 * Math.min(1, importance)).toFixed(1)}%"></i></td></tr>`,
    )
  return html`<section><h2>What made the difference</h2><p class="lead">Share of the variance of scores that lies between
groups of a parameter’s values, less what chance would make (ω²). Few trials say little.</p><table class="pairs"><tbody>${rows}</tbody>
</table></section>`
}

function courseChart({ rows, metric }: SweepData): Content {
  const sign = metric.better === 'higher' ? 1 : -1
  let best = Number.NaN
  const points = rows.map(({ value }, i): [number, number] => {
    if (value !== undefined && !(sign * value <= sign * best)) best = value
    return [i + 1, best]
  })
  if (points.length < 2) return undefined
  const seen = rows.map(({ value }, i): [number, number] => [i + 1, value ?? Number.NaN])
  const format = metric.unit === 'share' ? { format: (y: number) => percent(y, 1) } : {}
  const series = [
    { name: 'best so far', points },
    { name: 'each trial', points: seen, color: 3, dots: true, faint: true },
  ]
  const title = `Best ${metric.title} by trial`
  return html`<figure><figcaption>The course of the search</figcaption>${lineChart({ series, xName: 'trial', xWhole: true, title, ...format })}</figure>`
}

function trialsSection({ rows, metric, best, axes }: SweepData): Html {
  const worth = ({ value, state }: TrialRow) =>
    value === undefined ? -1e300 : (metric.better === 'higher' ? value : -value) - (state === 'pruned' ? 1e9 : 0)
  const names = axes.map(({ name }) => name)
  const body = rows
    .toSorted((a, b) => worth(b) - worth(a))
    .slice(0, 100)
    .map(row => {
      const params = names.map(
        name => html`<td class="num">${name in row.params ? paramText(under(row.params, name)) : '–'}</td>`,
      )
      const mark = row.number === best && html` <span class="quiet">best</span>`
      return html`<tr><th>${row.number}${mark}</th><td class="num">${valueText(row.value, metric.unit)}</td>${params}<td
class="num">${row.seconds === undefined ? '–' : duration(row.seconds)}</td><td>${row.state}</td></tr>`
    })
  const heads = names.map(name => html`<th class="num">${name}</th>`)
  return html`<section><h2>Trials</h2><p class="lead"></p><div class="sideways"><table><thead><tr><th>Trial</th><th
class="num">${metric.title}</th>${heads}<th class="num">Time</th><td></td></tr></thead><tbody>${body}</tbody></table></div></section>`
}

/** The page as a string of HTML. */
export function renderSweep(data: SweepData): string {
  return page(data.title, [
    masthead(data),
    html`<section><h2>Where the good ones lie</h2><p class="lead">One line a trial; the best third is dark, the best of all stands
out.</p><figure>${parallelCoordinates(data)}</figure>${courseChart(data)}</section>`,
    importanceSection(data),
    trialsSection(data),
    settingsSection('Settings', data.settings),
  ])
}
