// Top of the page: title, verdict, key figures, the before/after table.

import { must, nth } from '../tuple.ts'
import type { ComparisonData, CostData, MetricRow, ReferenceRow, ReportData } from './data.ts'
import { bytes, difference, duration, integer, percent, pValue, short, valueText } from './format.ts'
import { type Html, html } from './html.ts'

function improves(row: MetricRow): number {
  const gain = row.after - (row.before ?? row.after)
  return row.better === 'lower' ? -gain : gain
}

function gained(row: MetricRow): string {
  const unit = row.unit ?? 'number'
  return `${difference(row.after - must(row.before, 'before'), unit)}${unit === 'share' ? ' points' : ''}`
}

/** The sentence under the title: what the first metric did, and whether chance explains it. */
function composeVerdict(comparison: ComparisonData): Html {
  const row = nth(comparison.metrics, 0)
  const unit = row.unit ?? 'number'
  const on = `on ${integer(comparison.items)} ${comparison.itemName}`
  if (row.before === undefined) return html`${row.name} is <b>${valueText(row.after, unit)}</b> ${on}.`
  const { interval } = row
  const unsure = interval && interval.low <= 0 && interval.high >= 0
  const verb = row.after > row.before ? 'rose' : row.after < row.before ? 'fell' : 'stayed'
  const range =
    interval &&
    html`; the ${percent(interval.confidence, 0)} interval of the difference runs from
${difference(interval.low, unit)} to ${difference(interval.high, unit)}`
  const chance = unsure && html`. <b>That is within what chance explains</b>`
  return html`${row.name} ${verb} from ${valueText(row.before, unit)} to <b>${valueText(row.after, unit)}</b> ${on}
(<b>${gained(row)}</b>)${range}${chance}.`
}

function figure(name: string, value: string, small?: string | false): Html {
  return html`<div><dt>${name}</dt><dd>${value}${small && html`<small>${small}</small>`}</dd></div>`
}

function trainableShare(cost: CostData): string {
  const share = cost.trainable / cost.total
  return percent(share, share >= 0.1 ? 1 : share >= 0.001 ? 2 : 4)
}

function keyFigures({ cost, comparison }: ReportData): Html | undefined {
  if (!cost && !comparison) return undefined
  const first = comparison?.metrics[0]
  const against = first?.before !== undefined && `${gained(first)} against before`
  return html`<dl class="figures">
${first && figure(first.name, valueText(first.after, first.unit ?? 'number'), against)}
${
  cost && [
    figure('Trainable', trainableShare(cost), `${short(cost.trainable)} of ${short(cost.total)} parameters`),
    figure(
      'Training time',
      duration(cost.seconds),
      [cost.tokensPerSecond && `${short(cost.tokensPerSecond)} tokens/s`, cost.device].filter(Boolean).join(', '),
    ),
    cost.peakBytes !== undefined && figure('Peak memory', bytes(cost.peakBytes)),
    cost.adapterBytes !== undefined && figure('Adapter', bytes(cost.adapterBytes)),
  ]
}</dl>`
}

/** Title, verdict, key figures and warnings. */
export function masthead(data: ReportData): Html {
  const { comparison, warnings = [] } = data
  const items = warnings.map(warning => html`<li>${warning}</li>`)
  const warned = items.length > 0 && html`<ul class="warnings">${items}</ul>`
  const verdict = data.verdict ?? (comparison && comparison.metrics.length > 0 && composeVerdict(comparison))
  const day = data.date && ` · ${data.date.replace('T', ' ').replace(/(:\d\d):\d\d(\.\d+)?(Z?)$/, '$1$3')}`
  return html`<header><p class="kicker">lowrank · ${data.task}${day}</p>
<h1>${data.title}</h1>${verdict && html`<p class="verdict">${verdict}</p>`}
${keyFigures(data)}
${warned}</header>`
}

/** Before (ring) and after (dot) on a track from 0 to 100 %. */
function dumbbell(row: MetricRow): Html | false {
  if (row.unit !== 'share' || row.before === undefined) return false
  const x = (share: number) => (6 + 288 * Math.min(1, Math.max(0, share))).toFixed(1)
  const worse = improves(row) < 0 ? ' worse' : ''
  return html`<svg viewBox="0 0 300 18" aria-hidden="true"><line class="track" x1="6" x2="294" y1="9" y2="9"/><line
class="span${worse}" x1="${x(row.before)}" x2="${x(row.after)}" y1="9" y2="9"/>
<circle class="from" cx="${x(row.before)}" cy="9" r="4"/>
<circle class="to${worse}" cx="${x(row.after)}" cy="9" r="5.5"/></svg>`
}

function comparisonRow(row: MetricRow, intervals: boolean): Html {
  const unit = row.unit ?? 'number'
  const gain = improves(row)
  const tone = gain > 0 ? ' up' : gain < 0 ? ' down' : ' quiet'
  const range = row.interval && `${difference(row.interval.low, unit)} to ${difference(row.interval.high, unit)}`
  return html`<tr><th>${row.name}</th>
<td class="num quiet">${valueText(row.before, unit)}</td><td
class="num after">${valueText(row.after, unit)}</td>
<td class="num${tone}">${row.before === undefined ? '–' : difference(row.after - row.before, unit)}</td>
${intervals && html`<td class="num quiet wide-only">${range ?? '–'}</td>`}
<td class="spark">${dumbbell(row)}</td></tr>`
}

/** What the model has to be better than, on the same items. */
function referenceTable(references: readonly ReferenceRow[]): Html {
  const columns = [
    ['Accuracy', ({ accuracy }: ReferenceRow) => accuracy],
    ['F1 (micro)', ({ microF1 }: ReferenceRow) => microF1],
    ['F1 (macro)', ({ macroF1 }: ReferenceRow) => macroF1],
  ] as const
  const shown = columns.filter(([, read], i) => i === 0 || references.some(one => read(one) !== undefined))
  const rows = references.map(one => {
    const cells = shown.map(([, read]) => html`<td class="num">${valueText(read(one), 'share')}</td>`)
    return html`<tr><th>${one.name}</th>${cells}</tr>`
  })
  const heads = shown.map(([name]) => html`<th class="num">${name}</th>`)
  return html`<h3>Without a model that reads</h3><div class="sideways"><table class="references"><thead><tr>
<th>On the same items</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div>`
}

/** The before/after table. */
export function comparisonSection({ comparison }: ReportData): Html | undefined {
  if (!comparison) return undefined
  const { metrics, mcnemar, items, itemName, beforeName, afterName, references = [] } = comparison
  const interval = metrics.find(row => row.interval)?.interval
  const test =
    mcnemar &&
    html`<p class="note">McNemar’s test: ${integer(mcnemar.onlyAfter)} ${itemName} are right only after training,
${integer(mcnemar.onlyBefore)} only before; ${pValue(mcnemar.pExact)} (exact, two-sided).
${interval && 'The interval is a paired bootstrap.'} Differences of shares are in percentage points.</p>`
  return html`<section><h2>Before and after</h2>
<p class="lead">${beforeName !== undefined && `Before: ${beforeName}. `}
${afterName !== undefined && `After: ${afterName}. `}Scored on ${integer(items)} ${itemName}.</p>
<div class="sideways"><table class="big"><thead><tr><th>Metric</th><th class="num">Before</th><th
class="num">After</th><th class="num">Difference</th>
${interval && html`<th class="num wide-only">${percent(interval.confidence, 0)} interval</th>`}<td class="spark"></td>
</tr></thead>
<tbody>${metrics.map(row => comparisonRow(row, interval !== undefined))}</tbody></table></div>${references.length > 0 && referenceTable(references)}${test}</section>`
}
