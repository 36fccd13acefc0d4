import { nth } from './tuple.ts'

/** Every code an error of this package can carry. */
export type ErrorCode =
  | 'ERR_ADDON'
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_DEVICE'
  | 'ERR_DISPOSED'
  | 'ERR_MEMORY'
  | 'ERR_CUDA'
  | 'ERR_UNSUPPORTED'
  | 'ERR_OPTION'
  | 'ERR_CONFIG'
  | 'ERR_CHECKPOINT'
  | 'ERR_DATA'
  | 'ERR_HUB'

/** The one error shape: `code`, and a message `<op or option>: <what is wrong, both values>[; <cure>]`. */
export class LowrankError extends Error {
  override readonly name = 'LowrankError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(shortened(message), options)
    this.code = code
  }
}

/** Files and data may hold names of any length: a message keeps its beginning and, with the cure, its end. */
function shortened(message: string): string {
  const [most, end] = [4000, 800]
  if (message.length <= most) return message
  const left = message.length - most
  return `${message.slice(0, most - end)} … (${left} characters more) … ${message.slice(-end)}`
}

/** Throws a {@link LowrankError}. */
export function fail(code: ErrorCode, message: string, cause?: unknown): never {
  throw new LowrankError(code, message, cause === undefined ? undefined : { cause })
}

/** What an error says, of whatever kind it is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Code of an error of the system, `ENOENT` say; undefined where it has none. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

/** Throws unless `ok`; the message is built only on failure. */
export function check(ok: unknown, code: ErrorCode, message: () => string): asserts ok {
  if (!ok) throw new LowrankError(code, message())
}

const LONGEST_NAME = 100

/** A text of a file as a message shows it: with … where it is long. */
export const brief = (text: string): string =>
  text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME - 1)}…`

/** ` (did you mean "x"?)` for the known name closest to `name`, or `''` when none is near. */
export function nearest(name: string, known: Iterable<string>): string {
  // Comparing takes the product of both lengths, and what is long was not typed.
  if (name.length > LONGEST_NAME) return ''
  let best = ''
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best && ` (did you mean "${best}"?)`
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(nth(row, j) + 1, nth(next, j - 1) + 1, nth(row, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return nth(row, b.length)
}
