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

/** 987, 12.3k, 4.56M: three significant digits. */
export function shortCountText(value: number): string {
  for (const [limit, unit] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const)
    if (value >= limit) return `${Number((value / limit).toPrecision(3))}${unit}`
  return String(Number(value.toPrecision(3)))
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
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' || short.startsWith('..') ? path : short
}

/** A word of a command line as a shell reads it back. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : singleQuoted(text)
}

/** A command of this program as it is typed in a shell. */
export function commandLine(words: readonly string[]): string {
  return ['npx', 'lowrank', ...words].map(shellWord).join(' ')
}

/** A text between single quotes of a shell. */
export function singleQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
