// The sections of the page below the before/after table.

import { type Metric, metricOf } from '../metrics/table.ts'
import { lastOf, nth } from '../tuple.ts'
import { histogramChart, lineChart, lineColor, type Point, type Series, scatterChart, smooth } from './chart.ts'
import { confusionChart, topConfusions } from './confusion.ts'
import type { ClassRow, DataSummary, EvaluationPoint, ReportData, Setting, StepPoint } from './data.ts'
import { integer, number, percent, valueText } from './format.ts'
import { type Html, html } from './html.ts'

type Section = Html | undefined

/** Classes of the largest confusion matrix that is drawn, and rows of the longest table. */
const MOST_CLASSES = 300
const MOST_ROWS = 1000

function lossFigure(steps: readonly StepPoint[], evaluations: readonly EvaluationPoint[]): Html {
  const points = steps.map(({ step, loss }): Point => [step, loss])
  const window = 2 * Math.round(steps.length / 80) + 1
  const smoothed = { points: window > 1 ? smooth(points, window) : points }
  const validation = evaluations.flatMap(({ step, metrics: { loss } }): Point[] => {
    return step === undefined || loss === undefined ? [] : [[step, loss]]
  })
  const training = validation.length > 0 ? { ...smoothed, name: 'training' } : smoothed
  const series: Series[] = window > 1 ? [{ points, faint: true }, training] : [training]
  if (validation.length > 0) series.push({ name: 'validation', points: validation, color: 2, dots: true })
  const best = evaluations.find(point => point.best)?.step
  const note = window > 1 && html` <span>and its moving average over ${window} steps</span>`
  const marks = best === undefined ? {} : { mark: { x: best, name: 'best step' } }
  const chart = lineChart({ series, xName: 'step', title: 'Loss by step', ...marks })
  return html`<figure><figcaption>Loss${note}</figcaption>${chart}</figure>`
}

function rateChart(points: readonly Point[]): Html {
  const title = 'Learning rate by step'
  return lineChart({ series: [{ points, color: 2 }], xName: 'step', height: 140, title })
}

/** Loss and learning rate over the optimizer steps. */
export function curvesSection({ steps = [], evaluations = [] }: ReportData): Section {
  if (steps.length < 2) return undefined
  const rates = steps.flatMap(({ step, learningRate }): Point[] =>
    learningRate === undefined ? [] : [[step, learningRate]],
  )
  const rate = rates.length > 1 && html`<figure><figcaption>Learning rate</figcaption>${rateChart(rates)}</figure>`
  return html`<section><h2>Training</h2><p
class="lead">${integer(lastOf(steps).step)} optimizer steps; the last loss is ${number(lastOf(steps).loss)}.</p>
${lossFigure(steps, evaluations)}${rate}</section>`
}

/** One chart for each group of metrics that share an axis. */
function metricCharts(evaluations: readonly EvaluationPoint[], metrics: readonly Metric[]): Html[] {
  const charts = [...new Set(metrics.flatMap(({ chart }) => chart ?? []))]
  return charts.map(chart => {
    const lines = metrics.filter(metric => metric.chart === chart)
    const series = lines.slice(0, 5).map(({ name, title }, i): Series => {
      const points = evaluations.map(({ epoch, metrics }): Point => [epoch, metrics[name] ?? Number.NaN])
      return { name: title, points, color: lineColor(i), dots: true }
    })
    const format = nth(lines, 0).unit === 'share' ? { format: (y: number) => percent(y, 0) } : {}
    const title = `Validation ${lines.map(line => line.title).join(', ')} by epoch`
    return html`<figure>${lineChart({ series, xName: 'epoch', xWhole: true, ...format, height: 230, title })}</figure>`
  })
}

/** Validation metrics after each epoch, as curves and a table. */
export function evaluationsSection({ evaluations = [] }: ReportData): Section {
  if (evaluations.length === 0) return undefined
  const names = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics)))]
  const metrics = names.map(metricOf)
  const charts = evaluations.length > 1 && metricCharts(evaluations, metrics)
  const best = evaluations.some(point => point.best)
  const lead = best && 'The best checkpoint is the one that was kept and tested.'
  const rows = evaluations.map(({ epoch, metrics: values, best: chosen }) => {
    const mark = chosen && html` <span class="quiet">best</span>`
    const cells = metrics.map(metric => html`<td class="num">${valueText(values[metric.name], metric.unit)}</td>`)
    return html`<tr><td>${number(epoch)}${mark}</td>${cells}</tr>`
  })
  const heads = metrics.map(({ title }) => html`<th class="num">${title}</th>`)
  return html`<section><h2>Validation by epoch</h2><p class="lead">${lead}</p>${charts}
<div class="sideways"><table><thead><tr><th>Epoch</th>${heads}</tr>
</thead><tbody>${rows}</tbody></table></div></section>`
}

/** Heat map and the most frequent confusions. */
export function confusionSection({ confusion }: ReportData): Section {
  if (!confusion || confusion.labels.length === 0) return undefined
  const classes = confusion.labels.length
  const top = topConfusions(confusion)
  const chart =
    classes > MOST_CLASSES
      ? html`<p class="note">${integer(classes)} classes are too many for a picture; the pairs below are the worst.</p>`
      : confusionChart(confusion)
  return html`<section><h2>Confusion matrix</h2>
<p class="lead">Rows are the gold labels, columns the predictions; shade is the share of the row,
and the diagonal is right.</p>
${chart}${classes > 2 && top}</section>`
}

function classRow(row: ClassRow): Html {
  const cell = (value: number) => html`<td class="num" data-value="${value}">${percent(value)}</td>`
  return html`<tr><th>${row.label}</th>${cell(row.precision)}${cell(row.recall)}${cell(row.f1)}
<td class="num" data-value="${row.support}">${integer(row.support)}</td><td class="num quiet"
data-value="${row.predicted}">${integer(row.predicted)}</td>
<td class="meter wide-only" data-value="${row.f1}"><i style="width:${(100 * (row.f1 || 0)).toFixed(1)}%"></i></td></tr>`
}

/** What a table leaves out. */
function more(rows: number): Html | false {
  return rows > MOST_ROWS && html`<p class="note">The first ${integer(MOST_ROWS)} of ${integer(rows)} are shown.</p>`
}

/** Precision, recall and F1 of each class or entity type. */
export function classesSection({ classes = [], className: what = 'class' }: ReportData): Section {
  if (classes.length === 0) return undefined
  const weakest = classes.filter(row => row.support > 0).sort((a, b) => a.f1 - b.f1)[0]
  const lead =
    weakest && classes.length > 2 && html`Weakest is <b>${weakest.label}</b> with an F1 of ${percent(weakest.f1)}.`
  return html`<section><h2>Every ${what}</h2><p class="lead">${lead}</p>
<div class="sideways${classes.length > 60 ? ' tall' : ''}" tabindex="0" role="region" aria-label="Every ${what}"><table class="sortable"><thead><tr>
<th>${what.charAt(0).toUpperCase() + what.slice(1)}</th><th class="num">Precision</th><th class="num">Recall</th><th
class="num">F1</th><th class="num">Gold</th><th class="num">Predicted</th><td class="meter wide-only"></td></tr></thead>
<tbody data-search="Search the ${what} names">${classes.slice(0, MOST_ROWS).map(classRow)}</tbody></table></div>${more(classes.length)}</section>`
}

/** Predicted over gold values of a regression. */
export function scatterSection({ scatter }: ReportData): Section {
  if (!scatter || scatter.gold.length === 0) return undefined
  return html`<section><h2>Predicted against gold</h2><p class="lead">On the dashed line a prediction is exact.</p>
<figure>${scatterChart(scatter.gold, scatter.predicted)}</figure></section>`
}

function splitRows(data: DataSummary): Html {
  return html`<table><thead><tr><th>Split</th><th class="num">Examples</th><th class="num">Labels</th>
<th>Most frequent</th></tr></thead><tbody>${data.splits.map(({ name, examples, labels = {} }) => {
    const counts = Object.entries(labels).sort((a, b) => b[1] - a[1])
    const top = counts.slice(0, 3).map(([label, count]) => `${label} ${integer(count)}`)
    return html`<tr><th>${name}</th><td class="num">${integer(examples)}</td><td
class="num">${counts.length || '–'}</td><td class="quiet">${top.join(', ')}</td></tr>`
  })}</tbody></table>`
}

function labelBars(data: DataSummary): Html | false {
  const labels = Object.entries(data.splits[0]?.labels ?? {}).sort((a, b) => b[1] - a[1])
  if (labels.length < 2) return false
  const top = nth(labels, 0)[1]
  const rows = labels.slice(0, MOST_ROWS).map(
    ([label, count]) =>
      html`<tr><th>${label}</th><td class="num">${integer(count)}</td><td class="meter"><i
style="width:${((100 * count) / top).toFixed(1)}%"></i></td></tr>`,
  )
  return html`<h3>Labels of the ${nth(data.splits, 0).name} split</h3><div class="${labels.length > 40 ? 'tall' : ''}" tabindex="0" role="region" aria-label="Label counts">
<table class="pairs"><tbody>${rows}</tbody></table></div>${more(labels.length)}`
}

/** Splits, label counts, lengths and truncation. */
export function dataSection({ data }: ReportData): Section {
  if (!data) return undefined
  const { lengths, maxLength, truncated = 0 } = data
  const to = maxLength === undefined ? '' : ` to ${integer(maxLength)} tokens`
  const options = {
    xName: 'tokens',
    title: 'Examples by length',
    ...(maxLength === undefined ? {} : { limit: maxLength }),
  }
  const cut =
    lengths && lengths.length > 0 && `${integer(truncated)} of ${integer(lengths.length)} examples were cut${to}.`
  return html`<section><h2>Data</h2><p class="lead">${cut}</p><div class="sideways">${splitRows(data)}</div>
${
  lengths &&
  lengths.length > 0 &&
  html`<h3>Length in tokens</h3>
<figure>${histogramChart(lengths, options)}</figure>`
}${labelBars(data)}</section>`
}

function settingText(value: Setting): string {
  if (value === null) return 'none'
  if (typeof value === 'number') return number(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' ? value : value.map(item => settingText(item)).join(', ')
}

/** The command line that makes the run again. */
export function reproduceSection({ command }: ReportData): Section {
  if (command === undefined) return undefined
  const lead = 'The same data, settings and instruction set give the same bytes.'
  return html`<section><h2>Again</h2><p class="lead">${lead}</p><pre tabindex="0" role="region"
aria-label="Command line">${command}</pre></section>`
}

/** Two columns of names and values. */
export function settingsSection(title: string, settings: Readonly<Record<string, Setting>> = {}): Section {
  const entries = Object.entries(settings)
  if (entries.length === 0) return undefined
  return html`<section><h2>${title}</h2><p class="lead"></p><dl
class="columns">${entries.map(
    ([name, value]) => html`<div class="pair"><dt>${name}</dt><dd>${settingText(value)}</dd>
</div>`,
  )}</dl></section>`
}
