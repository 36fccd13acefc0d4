// Methods side by side: a page, and the same as Markdown.

import type { Setting } from './data.ts'
import { bytes, difference, duration, integer, percent, short, valueText } from './format.ts'
import { type Content, type Html, html } from './html.ts'
import { page } from './page.ts'
import { type NamedPoint, pointChart } from './pointChart.ts'
import { settingsSection } from './sections.ts'

/** A mean with the standard deviation over seeds; of one seed there is none. */
export interface Spread {
  readonly mean: number
  readonly sd: number | undefined
  readonly count: number
}

/** One method, as it is told. */
export interface MethodRow {
  readonly method: string
  readonly title: string
  /** Chosen on validation; undefined where every run diverged, and with it all that follows. */
  readonly lr: number | undefined
  /** By rate: the validation score of the first seed, undefined where the run diverged. */
  readonly grid: readonly { readonly lr: number; readonly value: number | undefined }[]
  readonly score: Spread | undefined
  /** To full fine-tuning, over pairs of runs of one seed. */
  readonly difference?: Interval | undefined
  readonly trainable: number
  readonly total: number
  readonly seconds: Spread | undefined
  readonly cpuSeconds: Spread | undefined
  readonly peakBytes: number
  readonly adapterBytes: number | undefined
  /** Median milliseconds of one text. */
  readonly latency: { readonly unmerged: number; readonly merged: number | undefined } | undefined
  /** Perplexity of the base's own head after the run over before. */
  readonly forgetting: Spread | undefined
  /** Validation loss after the last step less the training loss at the end. */
  readonly gap: Spread | undefined
}

interface Interval {
  readonly mean: number
  readonly low: number | undefined
  readonly high: number | undefined
  readonly confidence: number
}

/** A comparison as it is told. */
export interface MethodsData {
  readonly title: string
  readonly task: string
  /** ISO 8601. */
  readonly date: string
  readonly metric: { readonly title: string; readonly unit: 'share' | 'number'; readonly better: 'higher' | 'lower' }
  readonly split: string
  readonly examples: number
  readonly seeds: readonly number[]
  /** Best first; those that diverged last. */
  readonly rows: readonly MethodRow[]
  /** What forgetting was measured on, or why it was not. */
  readonly memory: string
  readonly settings: Readonly<Record<string, Setting>>
  readonly environment: Readonly<Record<string, Setting>>
}

type Metric = MethodsData['metric']

function spreadText(spread: Spread | undefined, text: (value: number) => string, unit = ''): string {
  if (!spread) return '–'
  return unit + (spread.sd === undefined ? text(spread.mean) : `${text(spread.mean)} ± ${text(spread.sd)}`)
}

/** One column of the table of methods. */
interface Column {
  readonly name: string
  /** Stands in the second table of the page, which would be too wide as one. */
  readonly isAside?: boolean
  readonly text: (row: MethodRow, metric: Metric) => string
}

const factor = (value: number) => value.toFixed(value < 10 ? 3 : 1)
const milliseconds = (value: number | undefined) => (value === undefined ? '–' : value.toPrecision(3))

/** What the table says of each method; columns in which nobody says anything are left out. */
const COLUMNS: readonly Column[] = [
  { name: 'score', text: (row, metric) => spreadText(row.score, value => valueText(value, metric.unit)) },
  { name: 'difference to full', text: (row, metric) => intervalText(row.difference, metric) },
  { name: 'lr', isAside: true, text: ({ lr }) => (lr === undefined ? 'diverged' : String(lr)) },
  { name: 'trainable', text: ({ trainable, total }) => `${short(trainable)} (${percent(trainable / total, 2)})` },
  { name: 'CPU s', text: ({ cpuSeconds }) => spreadText(cpuSeconds && { ...cpuSeconds, sd: undefined }, seconds) },
  {
    name: 'wall time',
    isAside: true,
    text: row => spreadText(row.seconds && { ...row.seconds, sd: undefined }, duration),
  },
  { name: 'peak memory', text: ({ peakBytes }) => (peakBytes > 0 ? bytes(peakBytes) : '–') },
  { name: 'file', text: ({ adapterBytes }) => (adapterBytes === undefined ? '–' : bytes(adapterBytes)) },
  { name: 'ms a text', isAside: true, text: ({ latency }) => milliseconds(latency?.unmerged) },
  { name: 'merged', isAside: true, text: ({ latency }) => milliseconds(latency?.merged) },
  { name: 'perplexity of the base', isAside: true, text: ({ forgetting }) => spreadText(forgetting, factor, '×') },
  { name: 'loss gap', isAside: true, text: ({ gap }) => spreadText(gap, value => value.toFixed(2)) },
]

const seconds = (value: number) => (value < 100 ? value.toPrecision(3) : integer(value))

function intervalText(interval: Interval | undefined, { unit }: Metric): string {
  if (!interval) return '–'
  const { mean, low, high } = interval
  const text = (value: number) => difference(value, unit)
  return low === undefined || high === undefined ? text(mean) : `${text(mean)} (${text(low)} to ${text(high)})`
}

/** Cells of a table: one row a method. */
export function methodsTable({ rows, metric }: MethodsData, columns = COLUMNS): { heads: string[]; rows: string[][] } {
  const told = columns.filter(({ text }) => rows.some(row => text(row, metric) !== '–'))
  return {
    heads: ['method', ...told.map(({ name }) => (name === 'score' ? metric.title : name))],
    rows: rows.map(row => [row.method, ...told.map(({ text }) => text(row, metric))]),
  }
}

/** Whether nothing was tried beyond the rate that was taken. */
function isAtEnd({ grid, lr }: MethodRow): boolean {
  const rates = grid.map(each => each.lr)
  return rates.length > 1 && (lr === Math.min(...rates) || lr === Math.max(...rates))
}

/** How the numbers of the table are to be read. */
export function methodsNotes(data: MethodsData): string[] {
  const { seeds, metric, split, examples, rows, memory } = data
  const compared = rows.find(({ difference }) => difference)?.difference
  const atEnd = rows.filter(isAtEnd).map(({ method }) => method)
  return [
    `Score: ${metric.title} on ${integer(examples)} ${split} examples, mean ± standard deviation over ` +
      `${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'} (${seeds.join(', ')}). The learning rate of each method was ` +
      'chosen on the validation split from its grid, with the first seed.',
    ...(atEnd.length > 0
      ? [`The best rate is the last of the grid on its side for ${atEnd.join(', ')}: a better one may lie beyond.`]
      : []),
    ...(compared
      ? [
          `Difference: to full fine-tuning, paired by seed${compared.low === undefined ? '' : `, with the ${percent(compared.confidence, 0)} interval of Student's t`}` +
            `${metric.unit === 'share' ? ', in percentage points' : ''}.`,
        ]
      : []),
    'Trainable: with the head. CPU seconds and wall time: of one run with its evaluations; of runs of one method that shared passes, ' +
      'their part. Peak memory: of the tensor pool of a run alone. File: what is saved beside the base, for full fine-tuning the model. Milliseconds: median of single texts, with the adapter beside the weights and merged into them.',
    memory,
    'Loss gap: validation loss after the last step less the training loss of the last tenth of the steps.',
  ]
}

/** The comparison as Markdown. */
export function methodsMarkdown(data: MethodsData): string {
  const { heads, rows } = methodsTable(data)
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\u2009', ' ')
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  const rule = `|${heads.map((_, i) => (i === 0 ? '---' : '--:')).join('|')}|`
  return [
    `# ${data.title}`,
    '',
    line(heads),
    rule,
    ...rows.map(line),
    '',
    ...methodsNotes(data).map(note => `${note}\n`),
  ].join('\n')
}

/** Whether the interval of its difference to full fine-tuning holds 0, or there is none. */
function isUnsure({ difference: found }: MethodRow): boolean {
  if (!found) return false
  const { low, high } = found
  return low === undefined || high === undefined || !(low > 0 || high < 0)
}

function verdict({ rows, metric, seeds }: MethodsData): Html | undefined {
  const told = rows.filter(({ score }) => score)
  const full = told.find(({ difference, method }) => method === 'full' && !difference)
  const [best] = told.filter(row => row !== full)
  if (!best) return undefined
  const score = html`<b>${best.title}</b> reaches <b>${spreadText(best.score, value => valueText(value, metric.unit))}</b>`
  if (!full) return html`Of ${told.length} methods, ${score} over ${seeds.length} seeds.`
  return html`${score}, full fine-tuning ${spreadText(full.score, value => valueText(value, metric.unit))}: with
<b>${percent(best.trainable / full.trainable, 2)}</b> of the trained parameters and
${percent(best.peakBytes / full.peakBytes, 0)} of the memory.${isUnsure(best) && html` <b>The difference is within what chance explains.</b>`}`
}

function chartOf(
  data: MethodsData,
  x: (row: MethodRow) => number | undefined,
  xName: string,
  format: (x: number) => string,
) {
  const points = data.rows.flatMap((row): NamedPoint[] => {
    const value = x(row)
    if (!row.score || value === undefined || value <= 0) return []
    return [{ name: row.method, x: value, y: row.score.mean, spread: row.score.sd, marked: row.method === 'full' }]
  })
  if (points.length < 2) return undefined
  const { title, unit } = data.metric
  const most = Math.max(...points.map(point => point.x))
  const log = most > 20 * Math.min(...points.map(point => point.x))
  const y = unit === 'share' ? { yFormat: (value: number) => percent(value, 1) } : {}
  const chart = pointChart(points, { xName, title: `${title} over ${xName}`, xFormat: format, log, ...y })
  return html`<figure><figcaption>${title} <span>over ${xName}; bars are one standard deviation</span></figcaption>${chart}</figure>`
}

function tableOf(data: MethodsData, isAside: boolean): Html {
  const columns = COLUMNS.filter(column => (column.isAside ?? false) === isAside)
  const { heads, rows } = methodsTable(data, columns)
  const head = heads.map((name, i) => (i === 0 ? html`<th>${name}</th>` : html`<th class="num">${name}</th>`))
  const body = rows.map(([name, ...cells]) => {
    return html`<tr><th>${name}</th>${cells.map(cell => html`<td class="num">${cell}</td>`)}</tr>`
  })
  return html`<div class="sideways"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`
}

function tableSection(data: MethodsData): Html {
  return html`<section><h2>Side by side</h2><p class="lead"></p>${tableOf(data, false)}
<h3>More of each</h3>${tableOf(data, true)}${methodsNotes(data).map(note => html`<p class="note">${note}</p>`)}</section>`
}

function chartsSection(data: MethodsData): Content {
  const charts = [
    chartOf(data, row => row.trainable, 'trained parameters', short),
    chartOf(data, row => row.cpuSeconds?.mean, 'CPU seconds of a run', seconds),
    chartOf(data, row => row.peakBytes, 'bytes of peak memory', bytes),
  ]
  return charts.some(Boolean) && html`<section><h2>What a point costs</h2><p class="lead"></p>${charts}</section>`
}

function gridSection({ rows, metric }: MethodsData): Html {
  const body = rows.map(({ title, grid, lr }) => {
    const cells = grid
      .toSorted((a, b) => a.lr - b.lr)
      .map(point => {
        const text = `${point.lr}: ${point.value === undefined ? 'diverged' : valueText(point.value, metric.unit)}`
        return point.lr === lr ? html`<b>${text}</b>` : html`${text}`
      })
    return html`<tr><th>${title}</th><td>${cells.map((cell, i) => [i > 0 && ', ', cell])}</td></tr>`
  })
  return html`<section><h2>Learning rates</h2><p class="lead">${metric.title} on the validation split, one run a rate; the one
in bold was taken.</p><table><tbody>${body}</tbody></table></section>`
}

/** The page as a string of HTML. */
export function renderMethods(data: MethodsData): string {
  const day = data.date.replace('T', ' ').replace(/:\d\d(\.\d+)?Z$/, ' UTC')
  const said = verdict(data)
  const masthead = html`<header><p class="kicker">lowrank · ${data.task} · ${day}</p><h1>${data.title}</h1>
${said && html`<p class="verdict">${said}</p>`}</header>`
  return page(data.title, [
    masthead,
    tableSection(data),
    chartsSection(data),
    gridSection(data),
    settingsSection('Settings', data.settings),
    settingsSection('Environment', data.environment),
  ])
}
