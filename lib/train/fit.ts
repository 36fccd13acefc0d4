// Whether a run was too short or too long, read from its validations.

import { higherIsBetter } from '../metrics/table.ts'
import type { HistoryEntry, WarningEvent } from './events.ts'

/** Of a share, or of the value before: what still counts as rising. */
const RISE = 0.01
/** Validation loss over its least, from which a run is told to have over-fitted. */
const WORSE = 1.25

type Validation = Extract<HistoryEntry, { kind: 'evaluation' }>

/** Warnings of a finished run: its best step was the last and still rising, or lies far back. */
export function fitWarnings(
  history: readonly HistoryEntry[],
  metric: string,
  best: { readonly step: number } | undefined,
  reason: 'finished' | 'early-stopping',
): WarningEvent[] {
  const validations = history.filter(
    (entry): entry is Validation =>
      entry.kind === 'evaluation' && entry.split === 'validation' && entry.when === 'epoch',
  )
  const [before, last] = validations.slice(-2)
  if (!before || !last || !best) return []
  const [earlier, latest] = [before.metrics[metric] ?? Number.NaN, last.metrics[metric] ?? Number.NaN]
  const rise = (higherIsBetter(metric) ? 1 : -1) * (latest - earlier)
  const scale = Math.max(1, Math.abs(earlier))
  if (reason === 'finished' && best.step === last.step && rise > RISE * scale)
    return [
      {
        type: 'warning',
        code: 'undertrained',
        message: `${metric} was still improving at the end, from ${shown(earlier)} to ${shown(latest)}`,
        cure: `raise epochs to ${Math.ceil(last.epoch * 2)}`,
      },
    ]
  const least = validations.reduce((a, b) => (b.loss < a.loss ? b : a))
  if (last.loss > WORSE * least.loss && best.step < last.step)
    return [
      {
        type: 'warning',
        code: 'over-fitted',
        message: `validation loss rose from ${shown(least.loss)} at step ${least.step} to ${shown(last.loss)}; step ${best.step} is kept`,
        cure: `lower epochs to ${Math.max(1, Math.ceil(least.epoch))}, give patience, raise dropout, or find more rows`,
      },
    ]
  return []
}

const shown = (value: number) => Number(value.toPrecision(3))
