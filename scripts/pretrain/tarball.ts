// Reads the files of an npm tarball (gzip + ustar) in memory.
import { gunzipSync } from 'node:zlib'
import { check } from '../../lib/errors.ts'

const BLOCK = 512

/** The regular files of a `.tgz`, by path without the leading `package/`. Errors: ERR_DATA for a damaged archive. */
export function readTarball(archive: Uint8Array): Map<string, Buffer> {
  const tar = gunzipSync(archive)
  const files = new Map<string, Buffer>()
  let at = 0
  while (at + BLOCK <= tar.length && tar[at] !== 0) {
    const header = tar.subarray(at, at + BLOCK)
    const size = Number.parseInt(field(header, 124, 12), 8)
    check(
      size >= 0 && at + BLOCK + size <= tar.length,
      'ERR_DATA',
      () => `tarball: entry of ${size} bytes at ${at} of ${tar.length}`,
    )
    const type = field(header, 156, 1)
    if (type === '' || type === '0') {
      const name = [field(header, 345, 155), field(header, 0, 100)].filter(Boolean).join('/')
      files.set(name.replace(/^[^/]+\//, ''), tar.subarray(at + BLOCK, at + BLOCK + size))
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  check(files.size > 0, 'ERR_DATA', () => `tarball: no file in ${tar.length} bytes`)
  return files
}

function field(header: Buffer, offset: number, length: number): string {
  const bytes = header.subarray(offset, offset + length)
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? length : end).trim()
}
