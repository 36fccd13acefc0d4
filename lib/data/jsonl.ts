import { check, fail } from '../errors.ts'
import { type Line, readLines } from './lines.ts'
import { isRecord, type Row, typeOf } from './row.ts'

/**
 * Rows of a JSON-lines file, one object a line, blank lines skipped, in constant memory.
 * @throws ERR_DATA naming the line for invalid UTF-8, broken JSON, anything that is no object; for a file without rows.
 */
export async function* readJsonl(path: string): AsyncGenerator<Row> {
  let rows = 0
  for await (const line of readLines(path)) {
    if (line.text.trim() === '') continue
    rows++
    yield { values: parseLine(path, line), file: path, line: line.number }
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one row`)
}

/** The object of one line. @throws ERR_DATA naming the line and its byte offset. */
export function parseLine(path: string, { text, number, offset }: Line): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const reason = (error as Error).message.slice(0, 160)
    const cure = number === 1 && text.trimStart().startsWith('[') ? '; write one object a line (jsonl)' : ''
    fail('ERR_DATA', `data: ${path}:${number} (byte ${offset}): not JSON: ${reason}${cure}`, error)
  }
  check(isRecord(value), 'ERR_DATA', () => {
    return `data: ${path}:${number} (byte ${offset}): ${typeOf(value)} where an object is expected; one object a line`
  })
  return value
}
