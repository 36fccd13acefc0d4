// Numbers as a reader wants them. A minus sign is U+2212, a thin space separates thousands and units.

import { must } from '../tuple.ts'

const MINUS = '\u2212'
const THIN = '\u2009'

function signed(text: string): string {
  return text.replace(/^-/, MINUS)
}

/** 0.8731 as 87.3 %. */
export function percent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${signed((100 * share).toFixed(digits))}${THIN}%` : '–'
}

/** Three decimals below 10, four significant digits above; integers whole. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '–' : value > 0 ? '∞' : `${MINUS}∞`
  if (Number.isInteger(value)) return integer(value)
  const size = Math.abs(value)
  if (size < 1e-3 || size >= 1e7) return scientific(value)
  if (size < 0.1) return signed(value.toPrecision(3))
  return signed(size < 10 ? value.toFixed(3) : size < 1000 ? value.toPrecision(4) : value.toFixed(0))
}

function scientific(value: number): string {
  const [mantissa, exponent] = value.toExponential(2).split('e')
  return `${signed(must(mantissa, 'mantissa').replace(/\.?0+$/, ''))}·10${superscript(Number(exponent))}`
}

function superscript(value: number): string {
  return String(value).replace(/./g, digit => (digit === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'.charAt(Number(digit))))
}

/** 1234567 as 1 234 567. */
export function integer(value: number): string {
  return signed(Math.round(value).toFixed(0)).replace(/\B(?=(\d{3})+$)/g, THIN)
}

/** A metric's value, a share in percent; a dash where there is none. */
export function valueText(value: number | undefined, unit: 'share' | 'number'): string {
  if (value === undefined) return '–'
  return unit === 'share' ? percent(value) : number(value)
}

/** A difference with its sign. */
export function difference(value: number, unit: 'share' | 'number'): string {
  if (!Number.isFinite(value)) return '–'
  const text = unit === 'share' ? (100 * value).toFixed(1) : number(Math.abs(value))
  const bare = text.replace(/^-/, '')
  const zero = unit === 'share' ? Number(bare) === 0 : value === 0
  return `${zero ? '±' : value > 0 ? '+' : MINUS}${bare}`
}

/** A probability value: three decimals, or a bound where that would print as zero. */
export function pValue(p: number): string {
  return p < 0.001 ? 'p < 0.001' : `p = ${p.toFixed(3)}`
}

/** Binary units: 1.42 GiB. */
export function bytes(value: number, gap = THIN): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let size = value
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toPrecision(3)}${gap}${units[unit]}`
}

/** 48 s, 3 min 05 s, 2 h 10 min. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–'
  if (seconds < 10) return `${seconds.toFixed(1)}${THIN}s`
  const [h, m, s] = timeParts(seconds)
  if (h > 0) return `${h}${THIN}h ${two(m)}${THIN}min`
  return m > 0 ? `${m}${THIN}min ${two(s)}${THIN}s` : `${s}${THIN}s`
}

/** Seconds as 0:07, 12:34 or 3:04:05, for the terminal. */
export function clockText(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–'
  const [h, m, s] = timeParts(Math.max(0, seconds))
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

function timeParts(seconds: number): readonly [hours: number, minutes: number, seconds: number] {
  const whole = Math.round(seconds)
  return [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
}

const two = (value: number) => String(value).padStart(2, '0')

/** Large counts short: 12.3 k, 109 M. */
export function short(value: number): string {
  for (const [limit, unit] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e4, 'k'],
  ] as const)
    if (value >= limit) return `${Number((value / (unit === 'k' ? 1e3 : limit)).toPrecision(3))}${THIN}${unit}`
  return integer(value)
}

/** Text cut after `length` characters. */
export function clip(text: string, length: number): string {
  const characters = [...text]
  return characters.length <= length ? text : `${characters.slice(0, length).join('').trimEnd()}…`
}
