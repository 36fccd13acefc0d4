// Lines of a file as strict UTF-8 or as the encoding that was named, in constant memory.

import { isUtf8 } from 'node:buffer'
import { open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { TextDecoder } from 'node:util'
import { createGunzip } from 'node:zlib'
import { check, fail, LowrankError, messageOf, nearest, systemCode } from '../errors.ts'
import { isOneOf, must, nth } from '../tuple.ts'
import { absent } from './absent.ts'

/** A line without its end, and where it starts. */
export interface Line {
  readonly text: string
  /** 1-based. */
  readonly number: number
  /** Byte offset of the line in the file. */
  readonly offset: number
}

const chunkBytes = 1 << 20
const longestLine = 256 * 2 ** 20
const newline = 10
const carriageReturn = 13

/** Encodings that a file may be said to have. UTF-16 says so itself, by its byte order mark. */
export const ENCODINGS = ['utf-8', 'utf-16', 'cp1252', 'latin1', 'cp1251', 'shift_jis', 'gb18030', 'euc-kr'] as const

/** How the bytes of a file are read. */
export interface EncodingOptions {
  /**
   * `utf-8`, `utf-16`, `cp1252`, `latin1`, `cp1251`, `shift_jis`, `gb18030` or `euc-kr`. Default: UTF-8, or UTF-16
   * where the file begins with its mark.
   */
  readonly encoding?: string | undefined
}

/**
 * Lines of a file, plain or in gzip, ended by LF or CRLF, or by CR where the file has no LF; a UTF-8 byte order mark is
 * skipped. Memory is that of the longest line; offsets are those of the text in UTF-8.
 * @throws ERR_OPTION for an encoding that is not known; ERR_DATA for a file that cannot be read, invalid UTF-8 (naming
 * line and byte), lines over 256 MiB
 */
export function readLines(path: string, options: EncodingOptions = {}): AsyncGenerator<Line> {
  return linesIn(path, readChunks(path), options)
}

/** Lines of bytes that come from elsewhere, read as those of a file; errors name them so. */
export async function* linesIn(
  path: string,
  chunks: AsyncGenerator<Buffer>,
  { encoding }: EncodingOptions = {},
): AsyncGenerator<Line> {
  let number = 0
  let offset = 0
  let pending: Buffer[] = []
  let pendingLength = 0
  let lineEnd: number | undefined
  for await (const chunk of asUtf8(path, unpacked(path, chunks), encoding)) {
    lineEnd ??= lineEndIn(chunk)
    let from = 0
    for (let end = chunk.indexOf(lineEnd); end >= 0; end = chunk.indexOf(lineEnd, from)) {
      const part = chunk.subarray(from, end)
      const bytes = pending.length > 0 ? Buffer.concat([...pending, part]) : part
      pending = []
      pendingLength = 0
      yield decodeLine(path, bytes, ++number, offset)
      offset += bytes.length + 1
      from = end + 1
    }
    if (from < chunk.length) pending.push(Buffer.from(chunk.subarray(from)))
    pendingLength += chunk.length - from
    check(pendingLength <= longestLine, 'ERR_DATA', () => `data: ${path}:${number + 1}: a line of more than 256 MiB`)
  }
  if (pending.length > 0) yield decodeLine(path, Buffer.concat(pending), ++number, offset)
}

/**
 * What ends lines: CR, where it ends the first line and is no rarity. Cells of such a table may hold LF, as those of
 * others a stray CR.
 */
function lineEndIn(chunk: Buffer): number {
  const first = chunk.indexOf(carriageReturn)
  const feed = chunk.indexOf(newline)
  if (first < 0 || (feed >= 0 && feed <= first + 1)) return newline
  let [alone, feeds] = [0, 0]
  for (let i = 0; i < chunk.length; i++) {
    if (chunk[i] === newline) feeds++
    else if (chunk[i] === carriageReturn && chunk[i + 1] !== newline) alone++
  }
  return 8 * alone >= feeds ? carriageReturn : newline
}

/** Text of a file in pieces of whole lines, ended by LF; errors as {@link readLines}. */
export async function* textPieces(path: string, options: EncodingOptions = {}): AsyncGenerator<string> {
  let piece = ''
  for await (const { text } of readLines(path, options)) {
    piece += `${text}\n`
    if (piece.length < chunkBytes / 16) continue
    yield piece
    piece = ''
  }
  if (piece !== '') yield piece
}

/** The line of bytes. @throws ERR_DATA at the first byte that is not UTF-8, counted from the start of the file. */
function decodeLine(path: string, bytes: Buffer, number: number, offset: number): Line {
  if (number === 1) checkEncoding(path, bytes)
  if (!isUtf8(bytes)) {
    const at = firstInvalid(bytes)
    const cure = 'give encoding cp1252 if Windows wrote it'
    const byte = nth(bytes, at).toString(16).padStart(2, '0')
    fail('ERR_DATA', `data: ${path}:${number}: invalid UTF-8 (0x${byte}) at byte ${offset + at}; ${cure}`)
  }
  const start = number === 1 && hasMark(bytes) ? 3 : 0
  const end = bytes.at(-1) === 13 ? bytes.length - 1 : bytes.length
  return { text: bytes.toString('utf8', start, Math.max(start, end)), number, offset }
}

async function* readChunks(path: string): AsyncGenerator<Buffer> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    const missing = error.code === 'ENOENT'
    fail('ERR_DATA', missing ? absent(path) : `data: cannot open ${path}: ${error.message}`, error)
  })
  try {
    // One buffer for the whole file: a reader copies what it keeps before asking for the next piece.
    const buffer = Buffer.allocUnsafe(chunkBytes)
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, null)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } catch (error) {
    const [code, message] = [systemCode(error), messageOf(error)]
    if (code === 'EISDIR') fail('ERR_DATA', `data: ${path} is a folder, not a file`, error)
    if (code?.startsWith('E') && !code.startsWith('ERR_'))
      fail('ERR_DATA', `data: cannot read ${path}: ${message}`, error)
    throw error
  } finally {
    await file.close()
  }
}

/** The chunks of a gzip file unpacked; those of other files as they are. */
async function* unpacked(path: string, chunks: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const first = await chunks.next()
  if (first.done) return
  if (!isGzip(first.value)) {
    try {
      yield first.value
      yield* chunks
    } finally {
      // A reader that stops after the first chunk leaves the file to be closed here.
      await chunks.return(undefined)
    }
    return
  }
  // The chunks share one buffer, and the stream keeps more than one.
  const copies = async function* () {
    yield Buffer.from(first.value)
    for await (const chunk of chunks) yield Buffer.from(chunk)
  }
  const gunzip = createGunzip()
  let failure: unknown
  pipeline(Readable.from(copies()), gunzip, error => {
    failure ??= error
  })
  try {
    for await (const chunk of gunzip) yield chunk
  } catch (error) {
    if (failure instanceof LowrankError) throw failure
    fail('ERR_DATA', `data: ${path}: broken gzip, or cut short: ${messageOf(error)}`, error)
  }
}

/** Chunks as UTF-8: those of UTF-16 and of a named encoding are written anew. */
async function* asUtf8(
  path: string,
  chunks: AsyncGenerator<Buffer>,
  encoding: string | undefined,
): AsyncGenerator<Buffer> {
  let decoder: TextDecoder | undefined
  let isFirst = true
  for await (const chunk of chunks) {
    if (isFirst) decoder = decoderFor(path, chunk, encoding)
    isFirst = false
    yield decoder ? Buffer.from(decodePart(path, decoder, chunk), 'utf8') : chunk
  }
  if (decoder) yield Buffer.from(decodePart(path, decoder), 'utf8')
}

function decoderFor(path: string, first: Buffer, encoding: string | undefined): TextDecoder | undefined {
  check(encoding === undefined || isOneOf(ENCODINGS, encoding), 'ERR_OPTION', () => {
    return `encoding: "${encoding}" is none of ${ENCODINGS.join(', ')}${nearest(must(encoding, 'encoding'), ENCODINGS)}`
  })
  const [a, b, c, d] = first
  check(!(a === 0xff && b === 0xfe && c === 0 && d === 0), 'ERR_DATA', () => {
    return `data: ${path}: begins with the mark of UTF-32; convert it to UTF-8`
  })
  // Without a mark the first character tells: data begin with one of ASCII.
  const big = (a === 0xfe && b === 0xff) || (encoding === 'utf-16' && a === 0 && b !== 0)
  const wide = (a === 0xfe && b === 0xff) || (a === 0xff && b === 0xfe)
  if (!wide && (encoding === undefined || encoding === 'utf-8')) return undefined
  check(!wide || encoding === undefined || encoding === 'utf-16', 'ERR_DATA', () => {
    return `data: ${path}: begins with the mark of UTF-16, not ${encoding}; leave encoding out, or convert it to UTF-8`
  })
  const name =
    !wide && encoding !== 'utf-16' ? (NAMES[must(encoding, 'encoding')] ?? encoding) : big ? 'utf-16be' : 'utf-16le'
  return new TextDecoder(name, { fatal: true })
}

/** Names that Node knows under others. */
const NAMES: Readonly<Record<string, string>> = { cp1252: 'windows-1252', cp1251: 'windows-1251' }

function decodePart(path: string, decoder: TextDecoder, chunk?: Buffer): string {
  try {
    return decoder.decode(chunk, { stream: chunk !== undefined })
  } catch (error) {
    fail('ERR_DATA', `data: ${path}: is not ${decoder.encoding}; name another encoding`, error)
  }
}

/** Whether bytes begin as gzip does. */
function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b
}

/** How files begin that are no text, or none of data. */
const OTHER_FILES: readonly (readonly [sign: string, what: string, cure: string])[] = [
  ['PAR1', 'a Parquet file', 'give format parquet'],
  ['ARROW1', 'an Arrow file', 'write it by to_parquet or to_json of datasets'],
  ['PK\x03\x04', 'a zip archive or a spreadsheet', 'unpack it, or save the sheet as CSV'],
  ['\xd0\xcf\x11\xe0', "a spreadsheet or document of Excel's old form", 'save it as CSV'],
  ['\x28\xb5\x2f\xfd', 'a zstd archive', 'unpack it first'],
  ['BZh91AY', 'a bzip2 archive', 'unpack it first'],
  ['\xfd7zXZ', 'an xz archive', 'unpack it first'],
  ['SQLite format 3', 'an SQLite database', 'write a table of it as CSV'],
  ['version https://git-lfs', 'a pointer of Git LFS', 'fetch the file itself with git lfs pull'],
]

function checkEncoding(path: string, bytes: Buffer): void {
  const start = bytes.toString('latin1', 0, 64)
  const [, what, cure] = OTHER_FILES.find(([sign]) => start.startsWith(sign)) ?? []
  check(what === undefined, 'ERR_UNSUPPORTED', () => `data: ${path}: ${what}, whatever its name says; ${cure}`)
  const zero = bytes.indexOf(0)
  check(zero < 0 || zero > 3, 'ERR_DATA', () => {
    return `data: ${path}: a zero byte at ${zero}, as UTF-16 without its mark has it; give encoding utf-16, or convert it to UTF-8`
  })
}

function hasMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
}

/** Index of the first byte that cannot belong to a UTF-8 text: halving, since every prefix before it is valid. */
function firstInvalid(bytes: Buffer): number {
  let low = 0
  let high = bytes.length
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (isValidPrefix(bytes.subarray(0, middle))) low = middle
    else high = middle - 1
  }
  // A character that is cut off begins at its lead byte.
  while (low === bytes.length || (low > 0 && !isUtf8(bytes.subarray(0, low)))) low--
  return low
}

/** Whether bytes are UTF-8 up to a last character that may still be unfinished. */
function isValidPrefix(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}
