// Records of bytes by index: few in memory, many in a file that has no name, so that it is gone with the process,
// however that ends.

import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, fail, messageOf } from '../errors.ts'

/** Bytes that stay in memory; with more, all that is full lies in the file. */
const MOST = 64 * 2 ** 20
/** Bytes of the first piece, and of all but the first few, each of which is twice as large as the one before. */
const FIRST = 2 ** 14
const CHUNK = 2 ** 20
/** Bytes read at once where records are read one after another. */
const AHEAD = 2 ** 18
const BLOCK = 2 ** 16

const files = new FinalizationRegistry<number>(file => closeSync(file))

/** Numbers that are added one by one, 8 bytes each and never copied. */
class Numbers {
  readonly #blocks: Float64Array[] = []
  length = 0

  push(value: number): void {
    const place = this.length++ % BLOCK
    if (place === 0) this.#blocks.push(new Float64Array(BLOCK))
    const block = this.#blocks.at(-1)
    if (block) block[place] = value
  }

  at(i: number): number {
    return this.#blocks[Math.floor(i / BLOCK)]?.[i % BLOCK] ?? 0
  }
}

const space = (length: number): Buffer => Buffer.from(new ArrayBuffer(length))

/** Records that are added once and read by index, each beginning at a multiple of four bytes. */
export class Records {
  readonly #most: number
  /** Where each record ends; it begins where the one before it does. */
  readonly #ends = new Numbers()
  /** Full pieces in memory, in order. */
  #chunks: { readonly start: number; readonly bytes: Buffer }[] = []
  /** The piece that is being filled, and where it begins. */
  #tail = space(0)
  #start = 0
  #used = 0
  #file: number | undefined
  /** What was read ahead, and where the last record that was read ends. */
  #ahead = { start: 0, bytes: space(0) }
  #last = 0

  /** @param most bytes that stay in memory */
  constructor(most = MOST) {
    this.#most = most
  }

  get length(): number {
    return this.#ends.length
  }

  /** Room for one more record, to be filled before the next is added. @throws ERR_DATA where the disk takes no more */
  add(length: number): Buffer {
    check(length % 4 === 0, 'ERR_OPTION', () => `records: ${length} bytes are no multiple of four`)
    if (this.#used + length > this.#tail.length) this.#startChunk(length)
    const from = this.#used
    this.#used += length
    this.#ends.push(this.#start + this.#used)
    return this.#tail.subarray(from, this.#used)
  }

  #startChunk(least: number): void {
    const full = { start: this.#start, bytes: this.#tail.subarray(0, this.#used) }
    if (this.#used > 0) this.#chunks.push(full)
    this.#start += this.#used
    if (this.#start > this.#most) this.#toFile()
    this.#tail = space(Math.max(least, FIRST, Math.min(CHUNK, 2 * this.#tail.length)))
    this.#used = 0
  }

  #toFile(): void {
    try {
      this.#file ??= this.#open()
      for (const { start, bytes } of this.#chunks)
        for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at, bytes.length - at, start + at)
    } catch (error) {
      const cure = 'free some space, or set TMPDIR to a folder on another disk'
      fail(
        'ERR_DATA',
        `data: rows too many for memory cannot be kept in ${tmpdir()}: ${messageOf(error)}; ${cure}`,
        error,
      )
    }
    this.#chunks = []
  }

  #open(): number {
    const path = join(tmpdir(), `lowrank-records-${randomBytes(12).toString('hex')}`)
    const file = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    files.register(this, file)
    return file
  }

  /** Record i, 0 ≤ i < length: not to be changed. */
  read(i: number): Buffer {
    const [start, end] = [i === 0 ? 0 : this.#ends.at(i - 1), this.#ends.at(i)]
    if (start >= this.#start) return this.#tail.subarray(start - this.#start, end - this.#start)
    if (this.#file !== undefined) return this.#fromFile(this.#file, start, end)
    const { start: base, bytes } = this.#chunkOf(start)
    return bytes.subarray(start - base, end - base)
  }

  #chunkOf(place: number): { start: number; bytes: Buffer } {
    let [low, high] = [0, this.#chunks.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#chunks[middle]?.start ?? 0) <= place) low = middle
      else high = middle - 1
    }
    return this.#chunks[low] ?? { start: 0, bytes: this.#tail }
  }

  /** Of records in order more is read than is asked for; of one here and one there no more than that. */
  #fromFile(file: number, start: number, end: number): Buffer {
    const { start: from, bytes } = this.#ahead
    const isNear = start >= this.#last && start < this.#last + AHEAD
    this.#last = end
    if (start >= from && end <= from + bytes.length) return bytes.subarray(start - from, end - from)
    if (!isNear) return piece(file, start, end)
    this.#ahead = { start, bytes: piece(file, start, Math.min(this.#start, Math.max(end, start + AHEAD))) }
    return this.#ahead.bytes.subarray(0, end - start)
  }
}

function piece(file: number, start: number, end: number): Buffer {
  const bytes = space(end - start)
  for (let at = 0; at < bytes.length; ) {
    const count = readSync(file, bytes, at, bytes.length - at, start + at)
    check(count > 0, 'ERR_DATA', () => `data: the file that rows are kept in ends at byte ${start + at}`)
    at += count
  }
  return bytes
}
