// Plain-text tables for the terminal, aligned by what characters measure there.

import { stripVTControlCharacters } from 'node:util'
import { nth } from '../../tuple.ts'

/** One column: its heading and how its cells are aligned. Numbers belong right. */
export type Column = { header: string; align?: 'left' | 'right' }

/** Characters of a cell that are looked at: names in files may have any length. */
const LONGEST_CELL = 400

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

// Two cells: East Asian wide and fullwidth blocks, and emoji.
const wideBlocks = [
  '\\u1100-\\u115f\\u231a\\u231b\\u2329\\u232a\\u23e9-\\u23ec\\u2e80-\\u303e\\u3041-\\ua4cf\\ua960-\\ua97f',
  '\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff00-\\uff60\\uffe0-\\uffe6',
  '\\u{16fe0}-\\u{18aff}\\u{1b000}-\\u{1b2ff}\\u{1f200}-\\u{1f265}\\u{20000}-\\u{3fffd}',
].join('')
const wide = new RegExp(`^(?:[${wideBlocks}]|\\p{Emoji_Presentation}|\\p{Emoji}\\ufe0f)`, 'u')
const invisible = /^[\p{Mark}\p{Cf}\p{Cc}\u200b]+$/u

function graphemeWidth(grapheme: string): number {
  if (invisible.test(grapheme)) return 0
  return wide.test(grapheme) ? 2 : 1
}

/** Terminal cells that `text` takes; escape sequences take none. */
export function displayWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length // to find the characters of a line takes 50 µs
  let width = 0
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) width += graphemeWidth(segment)
  return width
}

/** `text` cut to at most `width` cells, with … where something was cut; whole characters only, without styles. */
export function truncate(text: string, width: number): string {
  const plain = stripVTControlCharacters(text)
  if (displayWidth(plain) <= width) return text
  if (width <= 0) return ''
  let out = ''
  let used = 0
  for (const { segment } of segmenter.segment(plain)) {
    const cells = graphemeWidth(segment)
    if (used + cells > width - 1) break
    out += segment
    used += cells
  }
  return `${out}…`
}

/** `text` filled up with spaces to `width` cells. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return align === 'left' ? text + space : space + text
}

/**
 * A table of text cells with its headings and a rule under them, as lines joined by newlines.
 *
 * @param columns headings and alignment
 * @param rows cells; missing ones are empty, line breaks become spaces
 * @param options `gap`: spaces between columns, default 2; `width`: cells available, the widest left-aligned column is
 * cut to fit; `style`: applied to headings and rule
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { gap?: number; width?: number; style?: (text: string) => string } = {},
): string {
  const { gap = 2, style = text => text } = options
  const cells = rows.map(row => columns.map((_, c) => clipped(row[c] ?? '').replace(/[\r\n\t]+/g, ' ')))
  const widths = columns.map(({ header }, c) =>
    cells.reduce((width, row) => Math.max(width, displayWidth(nth(row, c))), displayWidth(header)),
  )
  if (options.width !== undefined) shrink(columns, widths, options.width - gap * (columns.length - 1))
  const line = (row: readonly string[]) =>
    columns
      .map(({ align }, c) => pad(truncate(nth(row, c), nth(widths, c)), nth(widths, c), align))
      .join(' '.repeat(gap))
      .trimEnd()
  const heading = line(columns.map(column => column.header))
  const rule = widths.map(width => '─'.repeat(width)).join(' '.repeat(gap))
  return [style(heading), style(rule), ...cells.map(line)].join('\n')
}

const clipped = (text: string) => (text.length > LONGEST_CELL ? `${text.slice(0, LONGEST_CELL - 1)}…` : text)

function shrink(columns: readonly Column[], widths: number[], available: number): void {
  const excess = widths.reduce((a, b) => a + b, 0) - available
  if (excess <= 0) return
  const left = widths.map((width, c) => (nth(columns, c).align === 'right' ? 0 : width))
  const widest = left.indexOf(Math.max(...left))
  if (widest >= 0) widths[widest] = Math.max(4, nth(widths, widest) - excess)
}
