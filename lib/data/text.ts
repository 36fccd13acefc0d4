import { check } from '../errors.ts'
import { type EncodingOptions, readLines } from './lines.ts'
import type { Row } from './row.ts'

/**
 * Rows of plain text, one a line, as the column "text"; blank lines skipped, in constant memory.
 * @throws ERR_DATA naming the line for invalid UTF-8; for a file without text.
 */
export async function* readPlainText(path: string, options: EncodingOptions = {}): AsyncGenerator<Row> {
  let rows = 0
  for await (const { text, number } of readLines(path, options)) {
    if (text.trim() === '') continue
    check(!text.startsWith('__label__'), 'ERR_DATA', () => {
      return `data: ${path}:${number}: a label and a text, as fastText has them; write them as columns, label and text`
    })
    rows++
    yield { values: { text }, file: path, line: number }
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one line of text`)
}
