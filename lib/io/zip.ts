// Where the entries of a zip archive lie. Only stored entries are of use here: their bytes are read in place.

import { check } from '../errors.ts'

/** A stored entry: its bytes in the archive. */
export interface ZipEntry {
  readonly position: number
  readonly bytes: number
}

/** Reads a stretch of a file; throws when it is not there. */
export type ReadAt = (position: number, length: number) => Uint8Array

const endSize = 22
const longestComment = 65_535
const mostDirectory = 1 << 28

/** Entries by name. @throws ERR_CHECKPOINT for what is no zip archive, is cut short or compressed */
export function zipEntries(path: string, size: number, readAt: ReadAt): Map<string, ZipEntry> {
  const { count, offset, length } = directoryOf(path, size, readAt)
  const directory = viewOf(readAt(offset, length))
  const entries = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < count; i++) {
    check(at + 46 <= length && directory.getUint32(at, true) === 0x02014b50, 'ERR_CHECKPOINT', () => {
      return `${path}: entry ${i + 1} of ${count} of its zip directory is broken`
    })
    const nameLength = directory.getUint16(at + 28, true)
    const extraLength = directory.getUint16(at + 30, true)
    const next = at + 46 + nameLength + extraLength + directory.getUint16(at + 32, true)
    check(next <= length, 'ERR_CHECKPOINT', () => `${path}: entry ${i + 1} of its zip directory is cut short`)
    const name = Buffer.from(directory.buffer, directory.byteOffset + at + 46, nameLength).toString('utf8')
    check(directory.getUint16(at + 10, true) === 0, 'ERR_CHECKPOINT', () => {
      return `${path}: "${name}" is compressed, which torch.save never does`
    })
    const wide = wideSizes(directory, at, at + 46 + nameLength, extraLength)
    entries.set(name, located(path, name, wide, size, readAt))
    at = next
  }
  return entries
}

interface Directory {
  readonly count: number
  readonly offset: number
  readonly length: number
}

function directoryOf(path: string, size: number, readAt: ReadAt): Directory {
  const tail = Math.min(size, endSize + longestComment)
  const bytes = viewOf(readAt(size - tail, tail))
  let at = tail - endSize
  while (at >= 0 && bytes.getUint32(at, true) !== 0x06054b50) at--
  check(at >= 0, 'ERR_CHECKPOINT', () => `${path}: has no zip directory at its end; it is cut short, or no zip archive`)
  let found: Directory = {
    count: bytes.getUint16(at + 10, true),
    length: bytes.getUint32(at + 12, true),
    offset: bytes.getUint32(at + 16, true),
  }
  const locator = at - 20
  if (locator >= 0 && bytes.getUint32(locator, true) === 0x07064b50) {
    const end = Number(bytes.getBigUint64(locator + 8, true))
    check(end + 56 <= size, 'ERR_CHECKPOINT', () => `${path}: its zip64 directory lies past its ${size} bytes`)
    const wide = viewOf(readAt(end, 56))
    const number = (place: number) => Number(wide.getBigUint64(place, true))
    found = { count: number(32), length: number(40), offset: number(48) }
  }
  const { count, length, offset } = found
  check(offset + length <= size && length <= mostDirectory && count * 46 <= length, 'ERR_CHECKPOINT', () => {
    return `${path}: claims a zip directory of ${count} entries in ${length} bytes at ${offset}, and has ${size} bytes`
  })
  return found
}

/** Size and place of an entry's local header, from the zip64 fields where the plain ones are full. */
function wideSizes(
  directory: DataView,
  at: number,
  extra: number,
  extraLength: number,
): [bytes: number, header: number] {
  let bytes = directory.getUint32(at + 24, true)
  let header = directory.getUint32(at + 42, true)
  const end = extra + extraLength
  for (let field = extra; field + 4 <= end; field += 4 + directory.getUint16(field + 2, true)) {
    if (directory.getUint16(field, true) !== 1) continue
    let value = field + 4
    const take = (full: boolean, old: number): number => {
      if (!full || value + 8 > end) return old
      value += 8
      return Number(directory.getBigUint64(value - 8, true))
    }
    bytes = take(bytes === 0xffffffff, bytes)
    take(directory.getUint32(at + 20, true) === 0xffffffff, 0)
    header = take(header === 0xffffffff, header)
  }
  return [bytes, header]
}

function located(
  path: string,
  name: string,
  [bytes, header]: [bytes: number, header: number],
  size: number,
  readAt: ReadAt,
): ZipEntry {
  check(header + 30 <= size, 'ERR_CHECKPOINT', () => `${path}: "${name}" is said to lie at ${header} of ${size} bytes`)
  const local = viewOf(readAt(header, 30))
  const position = header + 30 + local.getUint16(26, true) + local.getUint16(28, true)
  check(local.getUint32(0, true) === 0x04034b50 && position + bytes <= size, 'ERR_CHECKPOINT', () => {
    return `${path}: "${name}" is said to have ${bytes} bytes at ${position}, and the file has ${size}`
  })
  return { position, bytes }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
