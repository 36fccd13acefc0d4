// A prediction, and a comparison of two evaluations, as lines for people.

import type { Comparison } from '../../report/compare.ts'
import { pValue } from '../../report/format.ts'
import type { PredictionRecord, Task, TextRun } from '../../tasks/task.ts'
import { type TextBaseline, textBaselineText } from '../../tasks/textBaseline.ts'
import { paint } from './console.ts'
import { countText, metricText, signedText } from './format.ts'
import { type Column, pad, table } from './table.ts'
import { oneLine, visible } from './visible.ts'

/** A record as one line: what was found, then the text; entities stand in the text itself. */
export function predictionLine(task: Task, record: PredictionRecord, color: boolean): string {
  return task
    .line({ ...record, text: oneLine(record.text) })
    .map(run => runText(run, color))
    .join('')
}

function runText({ text, style, width }: TextRun, color: boolean): string {
  const shown = visible(text)
  const painted = style ? paint(color, style, shown) : shown
  return width === undefined ? painted : pad(painted, width)
}

/** What words alone tell of the same examples. */
export function textBaselineLine(baseline: TextBaseline): string {
  return textBaselineText(baseline, metricText)
}

/** The before/after table, and the test under it. */
export function comparisonLines({ metrics, mcnemar: test, examples }: Comparison, itemName: string): string[] {
  const compared = metrics.some(({ before }) => before !== undefined)
  const columns: Column[] = [{ header: 'metric' }]
  if (compared) columns.push({ header: 'before', align: 'right' })
  columns.push({ header: compared ? 'after' : 'value', align: 'right' })
  if (compared) columns.push({ header: 'difference', align: 'right' }, { header: '95 % interval' })
  const rows = metrics.map(({ name, before, after, interval }) => {
    if (!compared) return [name, metricText(after)]
    const difference = before === undefined ? '–' : signedText(after - before)
    const range = interval ? `${signedText(interval.low)} to ${signedText(interval.high)}` : ''
    return [name, metricText(before), metricText(after), difference, range]
  })
  const lines = table(columns, rows).split('\n')
  lines.push(`on ${countText(examples)} ${itemName}`)
  if (test) {
    const { onlyBefore, onlyAfter, pExact } = test
    const counts = `${onlyAfter} newly right, ${onlyBefore} newly wrong`
    lines.push(`McNemar's test: ${counts}, ${pValue(pExact)}`)
  }
  return lines
}
