// A JSON parser for what JSON.parse cannot tell: where a text is wrong, in which object a key comes twice, and
// whether a number was written 16 or 16.0 (Python keeps the two apart, and its files must survive a round trip).

/** A number that was, or is to be, written as a float: `1` reads `1.0`, `0.00001` reads `1e-05`. */
export class PyFloat {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** JSON with Python's kinds of number: integers are `number`, or `bigint` past 2^53; floats are {@link PyFloat}. */
export type PyJson = null | boolean | number | bigint | string | PyFloat | readonly PyJson[] | PyObject

/** An object of JSON as Python's `json` reads and writes it. */
export interface PyObject {
  readonly [key: string]: PyJson
}

/** What is wrong with a JSON text, and the index of the character where. */
export class JsonError extends Error {
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

interface Cursor {
  readonly text: string
  readonly unique: boolean
  at: number
  depth: number
}

// Deep enough for any real file; recursion past it would end in a stack overflow that tells nothing.
const maxDepth = 512
const maxDigits = 400

/**
 * Parses a JSON text, strictly by RFC 8259 (no NaN, no comments, no trailing commas), keeping integers and floats
 * apart. A key that comes twice is an error with `unique`, else the last one wins. Throws {@link JsonError}.
 */
export function parseExact(text: string, options: { unique?: boolean } = {}): PyJson {
  const cursor: Cursor = { text, unique: options.unique ?? false, at: 0, depth: 0 }
  skipSpace(cursor)
  if (cursor.at === text.length) throw new JsonError('holds nothing', 0)
  const value = parseValue(cursor)
  skipSpace(cursor)
  if (cursor.at < text.length) throw new JsonError(`goes on with ${shown(cursor)} after its end`, cursor.at)
  return value
}

/** `line 3, column 7` of an index into a text, both counted from 1. */
export function position(text: string, at: number): string {
  const before = text.slice(0, at)
  const line = before.split('\n').length
  return `line ${line}, column ${at - before.lastIndexOf('\n')}`
}

function parseValue(cursor: Cursor): PyJson {
  const { text, at } = cursor
  switch (text[at]) {
    case '{':
      return nested(cursor, parseObject)
    case '[':
      return nested(cursor, parseArray)
    case '"':
      return parseString(cursor)
    case 't':
      return parseWord(cursor, 'true', true)
    case 'f':
      return parseWord(cursor, 'false', false)
    case 'n':
      return parseWord(cursor, 'null', null)
    default:
      return parseNumber(cursor)
  }
}

function nested(cursor: Cursor, parse: (cursor: Cursor) => PyJson): PyJson {
  if (++cursor.depth > maxDepth) throw new JsonError(`is nested more than ${maxDepth} deep`, cursor.at)
  const value = parse(cursor)
  cursor.depth--
  return value
}

function parseObject(cursor: Cursor): PyJson {
  const object: Record<string, PyJson> = {}
  const seen = cursor.unique ? new Set<string>() : undefined
  cursor.at++
  skipSpace(cursor)
  if (take(cursor, '}')) return object
  for (;;) {
    const start = cursor.at
    if (cursor.text[start] !== '"') throw expected(cursor, 'a key in double quotes')
    const key = parseString(cursor)
    if (seen?.has(key)) throw new JsonError(`has the key ${JSON.stringify(key)} twice`, start)
    seen?.add(key)
    skipSpace(cursor)
    if (!take(cursor, ':')) throw expected(cursor, '":"')
    skipSpace(cursor)
    // A plain assignment to __proto__ would change the prototype and lose the key.
    const value = parseValue(cursor)
    if (key === '__proto__')
      Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
    else object[key] = value
    skipSpace(cursor)
    if (take(cursor, '}')) return object
    if (!take(cursor, ',')) throw expected(cursor, '"," or "}"')
    skipSpace(cursor)
  }
}

function parseArray(cursor: Cursor): PyJson {
  const array: PyJson[] = []
  cursor.at++
  skipSpace(cursor)
  if (take(cursor, ']')) return array
  for (;;) {
    array.push(parseValue(cursor))
    skipSpace(cursor)
    if (take(cursor, ']')) return array
    if (!take(cursor, ',')) throw expected(cursor, '"," or "]"')
    skipSpace(cursor)
  }
}

function parseString(cursor: Cursor): string {
  const { text } = cursor
  const start = cursor.at
  let escaped = false
  for (let at = start + 1; ; at++) {
    const code = text.charCodeAt(at)
    if (Number.isNaN(code)) throw new JsonError('ends inside a string', start)
    if (code === 0x22) {
      cursor.at = at + 1
      return escaped ? unescaped(text, start, at + 1) : text.slice(start + 1, at)
    }
    if (code < 0x20) throw new JsonError('has a raw control character in a string', at)
    if (code === 0x5c) {
      escaped = true
      at++
    }
  }
}

/** JSON.parse knows the escapes; only the place of a bad one has to be found here. */
function unescaped(text: string, start: number, end: number): string {
  const bad = /\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})/
  const body = text.slice(start, end)
  const pairs = body.replaceAll('\\\\', '..')
  const index = pairs.search(bad)
  if (index >= 0)
    throw new JsonError(`has the unknown escape ${JSON.stringify(body.slice(index, index + 2))}`, start + index)
  return JSON.parse(body)
}

function parseWord<T extends PyJson>(cursor: Cursor, word: string, value: T): T {
  if (!cursor.text.startsWith(word, cursor.at)) throw expected(cursor, 'a value')
  cursor.at += word.length
  return value
}

function parseNumber(cursor: Cursor): number | bigint | PyFloat {
  const pattern = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
  pattern.lastIndex = cursor.at
  const match = pattern.exec(cursor.text)
  if (!match) {
    const word = /-?(?:NaN|Infinity)/y
    word.lastIndex = cursor.at
    const found = word.exec(cursor.text)
    if (found) throw new JsonError(`holds ${found[0]}, which is not JSON`, cursor.at)
    throw expected(cursor, 'a value')
  }
  // Time to read an integer grows with the square of its digits.
  const digits = match[0].length
  if (digits > maxDigits) throw new JsonError(`holds a number of ${digits} digits, ${maxDigits} are read`, cursor.at)
  cursor.at += digits
  const value = Number(match[0])
  if (match[1] !== undefined || match[2] !== undefined) return new PyFloat(value)
  return Number.isSafeInteger(value) ? value : BigInt(match[0])
}

function skipSpace(cursor: Cursor): void {
  for (;;) {
    const code = cursor.text.charCodeAt(cursor.at)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
    cursor.at++
  }
}

function take(cursor: Cursor, character: string): boolean {
  if (cursor.text[cursor.at] !== character) return false
  cursor.at++
  return true
}

function expected(cursor: Cursor, what: string): JsonError {
  return new JsonError(`has ${shown(cursor)} where ${what} belongs`, cursor.at)
}

function shown(cursor: Cursor): string {
  return cursor.at >= cursor.text.length ? 'its end' : JSON.stringify(cursor.text.slice(cursor.at, cursor.at + 12))
}

/** Whether brackets are nested deeper than is read. Linear in the text, and without a stack of its own. */
export function isTooDeep(text: string): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (inString) {
      if (code === 0x5c) at++
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > maxDepth) return true
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return false
}
