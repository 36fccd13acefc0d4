import { readFileSync } from 'node:fs'
import { brief, type ErrorCode, fail, systemCode } from '../errors.ts'
import { codePointIn, nth } from '../tuple.ts'
import { writeFileAtomic } from './atomic.ts'
import { isTooDeep, JsonError, PyFloat, type PyJson, type PyObject, parseExact, position } from './parseJson.ts'

export { PyFloat, type PyJson, type PyObject } from './parseJson.ts'

/** JSON as JavaScript sees it. */
export type Json = null | boolean | number | string | Json[] | JsonObject

/** An object of JSON. */
export interface JsonObject {
  [key: string]: Json
}

/** Marks a number that Python would hold as a float, so that 1 is written `1.0` and 0.00001 `1e-05`. */
export function pyFloat(value: number): PyFloat {
  return new PyFloat(value)
}

/** For `JSON.stringify`: JSON has no NaN or infinity; null would hide that a value was there, so each is a text. */
export function nonFiniteAsText(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** A value of a file, of data or of an option as messages show it: as JSON, with … where it is long. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'number') return String(value)
  if (value instanceof PyFloat) return floatRepr(value.value)
  const plain = (_: string, item: unknown) => {
    if (item instanceof PyFloat) return item.value
    return typeof item === 'bigint' ? String(item) : nonFiniteAsText('', item)
  }
  try {
    return brief(JSON.stringify(value, plain) ?? String(value))
  } catch {
    return Object.prototype.toString.call(value) // it holds itself, or is too deep
  }
}

/** Whether a value that {@link readJson} gave is an object (not null, nor an array). */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What a JSON text holds. @throws SyntaxError where it is none */
function parseJson(text: string): Json {
  return JSON.parse(text)
}

/** The object that a JSON text holds; undefined where it holds none. */
export function objectIn(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Whether a value of any origin can be written as JSON as it is. */
export function isPyJson(value: unknown): value is PyJson {
  if (value === null || value instanceof PyFloat) return true
  if (typeof value !== 'object') return ['boolean', 'number', 'bigint', 'string'].includes(typeof value)
  return Object.values(value).every(isPyJson)
}

/** Whether a value read from JSON is an object (not null, an array or a marked float). */
export function isObject(value: PyJson | undefined): value is PyObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof PyFloat)
}

/**
 * Reads a JSON file. Missing, unreadable, empty, not UTF-8, not JSON (with line and column; NaN is not JSON): all
 * `code`, `ERR_CONFIG` unless told.
 */
export function readJson(path: string, code: ErrorCode = 'ERR_CONFIG'): Json {
  const text = readText(path, code)
  // Whoever walks such a value runs out of stack.
  if (isTooDeep(text)) exact(path, text, code)
  try {
    return parseJson(text)
  } catch (error) {
    exact(path, text, code)
    fail(code, `${path}: is not JSON: ${error}`, error)
  }
}

/** {@link readJson} that keeps 16 and 16.0 apart, for files that are to be written back as they were. */
export function readExactJson(path: string, code: ErrorCode = 'ERR_CONFIG'): PyJson {
  return exact(path, readText(path, code), code)
}

/** A whole text file as UTF-8, a byte order mark dropped. Missing, unreadable or not UTF-8: `code`. */
export function readText(path: string, code: ErrorCode = 'ERR_CONFIG'): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    fail(code, `${path}: ${readFault(error)}`, error)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    fail(code, `${path}: is not valid UTF-8; save it as UTF-8`, error)
  }
}

/** How {@link stringifyPython} lays a text out; the defaults are those of PEFT's adapter_config.json. */
interface PythonJsonOptions {
  /** Spaces per level, 0 for one line with `, ` and `: `. Default 2. */
  indent?: number
  /** Keys by code point, at every level. Default true. */
  sortKeys?: boolean
  /** Everything but ASCII as \uXXXX. Default true. */
  ensureAscii?: boolean
  /** A line feed at the end, as transformers writes its files and PEFT does not. Default false. */
  trailingNewline?: boolean
}

/**
 * The text Python's `json.dumps` makes of a value. An integer `number` is written as an integer, any other as a
 * float; {@link pyFloat} marks an integer that is a float in Python. NaN and infinities are an `ERR_OPTION`.
 */
export function stringifyPython(value: PyJson, options: PythonJsonOptions = {}): string {
  const { indent = 2, sortKeys = true, ensureAscii = true, trailingNewline = false } = options
  const text = written(value, { indent, sortKeys, ensureAscii }, 0)
  return trailingNewline ? `${text}\n` : text
}

/** Writes {@link stringifyPython} atomically. Errors: those of `writeFileAtomic`. */
export async function writeJson(path: string, value: PyJson, options: PythonJsonOptions = {}): Promise<void> {
  await writeFileAtomic(path, stringifyPython(value, options))
}

/** A number as Python's `repr` of a float: shortest digits that read back, `1e-05`, `1e+16`, `8.0`. */
export function floatRepr(value: number): string {
  if (!Number.isFinite(value)) fail('ERR_OPTION', `json: ${value} cannot be written; JSON knows finite numbers only`)
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  const [mantissa = '', power = ''] = Math.abs(value).toExponential().split('e')
  const digits = mantissa.replace('.', '')
  const exponent = Number(power)
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, '0')
    return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${size}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`
}

type Layout = Required<Omit<PythonJsonOptions, 'trailingNewline'>>

function written(value: PyJson, layout: Layout, depth: number): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value === 'string') return quoted(value, layout.ensureAscii)
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? String(value) : floatRepr(value)
  if (value instanceof PyFloat) return floatRepr(value.value)
  if (isArray(value))
    return bracketed(
      '[',
      ']',
      value.map(item => written(item, layout, depth + 1)),
      layout,
      depth,
    )
  const keys = Object.keys(value)
  if (layout.sortKeys) keys.sort(byCodePoint)
  const items = keys.map(key => `${quoted(key, layout.ensureAscii)}: ${written(value[key]!, layout, depth + 1)}`)
  return bracketed('{', '}', items, layout, depth)
}

// Array.isArray does not narrow a readonly array out of a union.
function isArray(value: PyJson): value is readonly PyJson[] {
  return Array.isArray(value)
}

function bracketed(open: string, close: string, items: string[], { indent }: Layout, depth: number): string {
  if (items.length === 0) return open + close
  if (indent === 0) return open + items.join(', ') + close
  const inner = `\n${' '.repeat(indent * (depth + 1))}`
  return `${open}${inner}${items.join(`,${inner}`)}\n${' '.repeat(indent * depth)}${close}`
}

function quoted(text: string, ensureAscii: boolean): string {
  const plain = JSON.stringify(text)
  if (!ensureAscii) return plain
  return plain.replace(/[\u007f-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Python sorts strings by code point; JavaScript by UTF-16 unit, which puts U+1F600 before U+FF5E. */
function byCodePoint(a: string, b: string): number {
  const x = [...a]
  const y = [...b]
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = codePointIn(nth(x, i), 0) - codePointIn(nth(y, i), 0)
    if (difference !== 0) return difference
  }
  return x.length - y.length
}

function exact(path: string, text: string, code: ErrorCode): PyJson {
  try {
    return parseExact(text)
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    fail(code, `${path}: ${error.message} (${position(text, error.at)}); mend the file`, error)
  }
}

function readFault(error: unknown): string {
  const code = systemCode(error)
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'there is no such file; check the path'
  if (code === 'EISDIR') return 'is a folder, not a file; check the path'
  if (code === 'EACCES') return 'permission to read is denied; change the rights of the file'
  return `cannot be read (${code ?? error})`
}
