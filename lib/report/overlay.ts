// Runs laid over each other: their scores, curves, costs, and the settings in which they differ.

import { basename, isAbsolute } from 'node:path'
import { mcnemar } from '../metrics/compare.ts'
import { METRICS, metricOf } from '../metrics/table.ts'
import { nth } from '../tuple.ts'
import { lineChart, lineColor, type Series, smooth } from './chart.ts'
import type { FinishedRun } from './finished.ts'
import { bytes, difference, duration, integer, percent, pValue, valueText } from './format.ts'
import { type Content, type Html, html } from './html.ts'
import { page } from './page.ts'

/** Runs that have a colour of their own. */
export const MOST_RUNS = 5

type Runs = readonly FinishedRun[]

/** Why scores of the runs say nothing of each other; undefined where they do. */
export function unlike(runs: Runs): string | undefined {
  const first = nth(runs, 0)
  const other = runs.find(run => run.splitHash !== first.splitHash || run.split !== first.split)
  return other && `${first.name} and ${other.name} were scored on other examples: their scores do not compare`
}

/** Names of the metrics that all runs have, most telling first. */
export function sharedMetrics(runs: Runs): string[] {
  return METRICS.filter(({ name, shown }) => shown && runs.every(run => name in run.after)).map(({ name }) => name)
}

function scoresSection(runs: Runs): Html {
  const first = nth(runs, 0)
  const rows = sharedMetrics(runs).map(name => {
    const { title, unit, better } = metricOf(name)
    const cells = runs.map((run, i) => {
      const value = run.after[name]
      const gain = (value ?? Number.NaN) - (first.after[name] ?? Number.NaN)
      const tone = gain === 0 ? 'quiet' : gain > 0 === (better === 'higher') ? 'up' : 'down'
      const apart = i > 0 && html` <span class="${tone}">${difference(gain, unit)}</span>`
      return html`<td class="num">${valueText(value, unit)}${apart}</td>`
    })
    return html`<tr><th>${title}</th><td class="num quiet">${valueText(first.before[name], unit)}</td>${cells}</tr>`
  })
  const heads = runs.map(run => html`<th class="num">${run.name}</th>`)
  return html`<section><h2>Scores</h2><p class="lead">After training, on ${integer(first.examples)} ${first.split}
examples; differences are to ${first.name}.</p><div class="sideways"><table class="big"><thead><tr><th>Metric</th><th
class="num">Before</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div>${pairs(runs)}</section>`
}

/** Exact tests of each run against the first, over answers to the same examples. */
function pairs([first, ...others]: Runs): Content {
  if (!first?.right || unlike([first, ...others]) !== undefined) return undefined
  const { right } = first
  return others.map(run => {
    if (run.right?.length !== right.length) return undefined
    const only = (a: readonly boolean[], b: readonly boolean[]) => a.filter((is, i) => is && !b[i]).length
    const [onlyFirst, onlyOther] = [only(right, run.right), only(run.right, right)]
    const { pExact } = mcnemar(onlyFirst, onlyOther)
    return html`<p class="note">McNemar’s test: ${integer(onlyOther)} are right only in ${run.name},
${integer(onlyFirst)} only in ${first.name}; ${pValue(pExact)} (exact, two-sided).</p>`
  })
}

function curveSection(runs: Runs): Html | undefined {
  const names = [...new Set(runs.flatMap(run => [...run.curves.keys()]))]
  const shown = [
    'train/loss',
    'validation/loss',
    ...METRICS.filter(({ chart }) => chart).map(m => `validation/${m.name}`),
  ]
  const charts = [...new Set(shown)].filter(name => names.includes(name)).map(name => curveChart(name, runs))
  return charts.length === 0
    ? undefined
    : html`<section><h2>Curves</h2><p class="lead">Over optimizer steps.</p>${charts}</section>`
}

function curveChart(name: string, runs: Runs): Html {
  const [split = '', metric = ''] = name.split('/')
  const { title, unit } = metricOf(metric)
  const series = runs.flatMap(({ name: run, curves }, i): Series[] => {
    const points = curves.get(name)
    if (!points) return []
    const color = lineColor(i)
    if (split !== 'train') return [{ name: run, points, color, dots: points.length <= 60 }]
    return [{ name: run, points: smooth(points, Math.ceil(points.length / 25)), color }]
  })
  const what = `${split === 'train' ? 'Training' : 'Validation'} ${title}`
  const format = unit === 'share' ? { format: (value: number) => percent(value, 0) } : {}
  const chart = lineChart({ series, xName: 'step', xWhole: true, ...format, title: `${what} of the runs by step` })
  return html`<figure><figcaption>${what}</figcaption>${chart}</figure>`
}

function costSection(runs: Runs): Html {
  const rows: [string, (run: FinishedRun) => string][] = [
    ['Method', run => run.method],
    ['Base', run => run.base],
    ['Trainable', ({ cost }) => `${integer(cost.trainable)} (${percent(cost.trainable / cost.total, 2)})`],
    ['Steps', ({ cost }) => integer(cost.steps)],
    ['Time', ({ cost }) => duration(cost.seconds)],
    ['Peak memory', ({ cost }) => bytes(cost.peakBytes)],
    ['Adapter', ({ cost }) => bytes(cost.adapterBytes)],
  ]
  return compareTable(
    'What they took',
    runs,
    rows.map(([name, tell]) => [name, runs.map(tell)]),
  )
}

/** Settings in which the runs differ. */
export function differing(runs: Runs): [string, string[]][] {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))].filter(name => name !== 'out')
  return names.flatMap((name): [string, string[]][] => {
    const values = runs.map(({ settings }) => settingText(settings[name]))
    return values.every(value => value === values[0]) ? [] : [[name, values]]
  })
}

function settingText(value: unknown): string {
  if (value === undefined) return '–'
  const plain = typeof value === 'string' ? value : JSON.stringify(value)
  return isAbsolute(plain) ? basename(plain) : plain
}

function compareTable(title: string, runs: Runs, rows: readonly (readonly [string, readonly string[]])[]): Html {
  const heads = runs.map(run => html`<th class="num">${run.name}</th>`)
  const body = rows.map(([name, cells]) => {
    return html`<tr><th>${name}</th>${cells.map(cell => html`<td class="num">${cell}</td>`)}</tr>`
  })
  return html`<section><h2>${title}</h2><div class="sideways"><table><thead><tr><td></td>${heads}</tr></thead>
<tbody>${body}</tbody></table></div></section>`
}

/** The page as a string of HTML: two to {@link MOST_RUNS} runs of one task, the first is compared with. */
export function renderOverlay(runs: Runs, date: string): string {
  const warning = unlike(runs)
  const title = runs.map(run => run.name).join(' and ')
  const settings = differing(runs)
  return page(title, [
    html`<header><p class="kicker">lowrank · ${nth(runs, 0).task} · ${date.slice(0, 16).replace('T', ' ')}</p>
<h1>${title}</h1>${warning !== undefined && html`<ul class="warnings"><li>${warning}</li></ul>`}</header>`,
    scoresSection(runs),
    curveSection(runs),
    costSection(runs),
    settings.length > 0 && compareTable('Settings that differ', runs, settings),
  ])
}
