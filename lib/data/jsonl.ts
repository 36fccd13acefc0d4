import { check, fail, messageOf } from '../errors.ts'
import { checkOptions, isRecord } from '../options.ts'
import { type EncodingOptions, type Line, readLines } from './lines.ts'
import { type Row, typeOf } from './row.ts'
import { squadRows } from './squad.ts'

const ARRAY = 'write [{"text": "…", "label": "…"}, …], or such an object a line'
const longestWhole = 256 * 2 ** 20

/**
 * Rows of a JSON-lines file, one object a line, blank lines skipped, in constant memory; or of a file that is one JSON
 * array of objects, or one object in SQuAD's form, either of which is read whole.
 * @throws ERR_DATA naming the line for invalid UTF-8, broken JSON, anything that is no object; for a file without rows.
 */
export async function* readJsonl(path: string, options: EncodingOptions = {}): AsyncGenerator<Row> {
  checkOptions('readJsonl', options, { encoding: true })
  let rows = 0
  const lines = readLines(path, options)
  for await (const line of lines) {
    if (line.text.trim() === '') continue
    const text = line.text.trimStart()
    if (rows === 0 && text.startsWith('[')) {
      yield* readArray(path, line, lines)
      return
    }
    if (rows === 0 && /^\{\s*$/.test(text)) {
      yield* readObject(path, line, lines)
      return
    }
    const values = parseLine(path, line)
    const nested = rows === 0 ? squadRows(values) : undefined
    if (nested) yield* numbered(path, nested)
    else yield { values, file: path, line: line.number }
    rows += nested?.length ?? 1
  }
  check(rows > 0, 'ERR_DATA', () => `data: ${path} is empty; it needs at least one row`)
}

/** Rows of an array that begins in a line; their numbers are their places in it. */
async function* readArray(path: string, first: Line, lines: AsyncGenerator<Line>): AsyncGenerator<Row> {
  const text = await restOf(path, first, lines)
  let items: unknown
  try {
    items = JSON.parse(text)
  } catch (error) {
    fail('ERR_DATA', `data: ${path}: not a JSON array: ${messageOf(error).slice(0, 160)}; ${ARRAY}`, error)
  }
  check(Array.isArray(items) && items.length > 0, 'ERR_DATA', () => `data: ${path} is an empty array; it needs a row`)
  yield* numbered(path, items.map(spacyRow))
}

/** The rows of one object over several lines: SQuAD's, else itself. */
async function* readObject(path: string, first: Line, lines: AsyncGenerator<Line>): AsyncGenerator<Row> {
  const text = await restOf(path, first, lines)
  const values = parseLine(path, { ...first, text })
  yield* numbered(path, squadRows(values) ?? [values])
}

/** A line and all that follow it. @throws ERR_DATA for more than fits into memory */
async function restOf(path: string, first: Line, lines: AsyncGenerator<Line>): Promise<string> {
  const texts = [first.text]
  let size = first.text.length
  for await (const { text } of lines) {
    size += text.length + 1
    check(size <= longestWhole, 'ERR_DATA', () => {
      return `data: ${path}: JSON of more than ${longestWhole} characters in one piece; write one object a line (jsonl)`
    })
    texts.push(text)
  }
  return texts.join('\n')
}

function* numbered(path: string, items: readonly unknown[]): Generator<Row> {
  for (const [i, values] of items.entries()) {
    check(isRecord(values), 'ERR_DATA', () => {
      return `data: ${path}: item ${i + 1} of the array is ${typeOf(values)} where an object is expected; ${ARRAY}`
    })
    yield { values, file: path, line: i + 1 }
  }
}

/** `["a text", { entities: … }]`, as spaCy has its examples, as an object. */
function spacyRow(item: unknown): unknown {
  if (!Array.isArray(item) || item.length !== 2 || typeof item[0] !== 'string' || !isRecord(item[1])) return item
  return { text: item[0], ...item[1] }
}

/** The object of one line. @throws ERR_DATA naming the line and its byte offset. */
function parseLine(path: string, { text, number, offset }: Line): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const reason = messageOf(error).slice(0, 160)
    const noNumber = /[:[,]\s*(-?(?:NaN|Infinity))\b/.exec(text)?.[1]
    const cure = noNumber
      ? `JSON has no ${noNumber}, which Python writes: write null, or drop the row`
      : 'write one object a line, or one array of objects'
    fail('ERR_DATA', `data: ${path}:${number} (byte ${offset}): not JSON: ${reason}; ${cure}`, error)
  }
  check(isRecord(value), 'ERR_DATA', () => {
    return `data: ${path}:${number} (byte ${offset}): ${typeOf(value)} where an object is expected; one object a line`
  })
  return value
}
