// Numbers and paths for the terminal.

import { relative } from 'node:path'
import { bytes } from '../../report/format.ts'

/** 1.42 GiB; whole numbers below 1 KiB and from 100 on. */
export function bytesText(count: number): string {
  return bytes(count, ' ')
}

/** 1234567 as 1,234,567. */
export function countText(value: number): string {
  return value.toLocaleString('en-US')
}

/** A share as 12.34 %, with more digits where it is small. */
export function shareText(share: number): string {
  if (!Number.isFinite(share)) return '–'
  const digits = share >= 0.1 || share === 0 ? 1 : share >= 0.001 ? 2 : 4
  return `${(100 * share).toFixed(digits)} %`
}

/** A metric: shares with four decimals, others with as many digits as say something. */
export function metricText(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  return Math.abs(value) < 100 ? value.toFixed(4) : value.toPrecision(6)
}

/** A difference with its sign. */
export function signedText(value: number): string {
  return Number.isFinite(value) ? `${value >= 0 ? '+' : ''}${metricText(value)}` : '–'
}

/** p < 0.001 or three decimals. */
export function probabilityText(p: number): string {
  return p < 0.001 ? '< 0.001' : p.toFixed(3)
}

/** 1 row, 2 rows. */
export function plural(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** A line marked where it is the best so far. */
export function titleWithBest(line: string, best: boolean): string {
  return best ? `${line} (best)` : line
}

/** Where a run computes, as its start event says. */
export function deviceText({ device, isa, threads }: { device: string; isa: string; threads: number }): string {
  return device === 'cpu' ? `cpu (${isa}, ${plural(threads, 'thread')})` : `${device} (${isa})`
}

/** A path as the user would type it. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' || short.startsWith('..') ? path : short
}
