import { check, fail, messageOf } from '../errors.ts'
import { isRecord } from '../options.ts'
import { type EncodingOptions, type Line, readLines } from './lines.ts'
import { type Row, typeOf } from './row.ts'

const longestArray = 256 * 2 ** 20

/**
 * Rows of a JSON-lines file, one object a line, blank lines skipped, in constant memory; or of a file that is one JSON
 * array of objects, which is read whole.
 * @throws ERR_DATA naming the line for invalid UTF-8, broken JSON, anything that is no object; for a file without rows.
 */
export async function* readJsonl(path: string, options: EncodingOptions = {}): AsyncGenerator<Row> {
  let rows = 0
  const lines = readLines(path, options)
  for await (const line of lines) {
    if (line.text.trim() === '') continue
    if (rows === 0 && line.text.trimStart().startsWith('[')) {
      yield* readArray(path, line, lines)
      return
    }
    rows++
    yield { values: parseLine(path, line), file: path, line: line.number }
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one row`)
}

/** Rows of an array that begins in a line; their numbers are their places in it. */
async function* readArray(path: string, first: Line, lines: AsyncGenerator<Line>): AsyncGenerator<Row> {
  const texts = [first.text]
  let size = first.text.length
  for await (const { text } of lines) {
    size += text.length + 1
    check(size <= longestArray, 'ERR_DATA', () => {
      return `data: ${path}: a JSON array of more than ${longestArray} characters; write one object a line (jsonl)`
    })
    texts.push(text)
  }
  let items: unknown
  try {
    items = JSON.parse(texts.join('\n'))
  } catch (error) {
    fail('ERR_DATA', `data: ${path}: not a JSON array: ${messageOf(error).slice(0, 160)}`, error)
  }
  check(Array.isArray(items) && items.length > 0, 'ERR_DATA', () => `data: ${path} is an empty array; it needs a row`)
  for (const [i, values] of items.entries()) {
    check(isRecord(values), 'ERR_DATA', () => {
      return `data: ${path}: item ${i + 1} of the array is ${typeOf(values)} where an object is expected`
    })
    yield { values, file: path, line: i + 1 }
  }
}

/** The object of one line. @throws ERR_DATA naming the line and its byte offset. */
export function parseLine(path: string, { text, number, offset }: Line): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const reason = messageOf(error).slice(0, 160)
    fail(
      'ERR_DATA',
      `data: ${path}:${number} (byte ${offset}): not JSON: ${reason}; write one object a line, or one array of objects`,
      error,
    )
  }
  check(isRecord(value), 'ERR_DATA', () => {
    return `data: ${path}:${number} (byte ${offset}): ${typeOf(value)} where an object is expected; one object a line`
  })
  return value
}
