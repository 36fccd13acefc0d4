import { readSync } from 'node:fs'
import { check, fail } from '../../errors.ts'

const WINDOW = 1 << 20

/** Reads a file from its start on; nothing is allocated that the rest of the file cannot hold. */
export class GgufCursor {
  readonly path: string
  readonly size: number
  readonly #file: number
  /** Of the file: where the window begins, and where the next byte lies. */
  #begin = 0
  #at = 0
  #window: Buffer = Buffer.alloc(0)

  constructor(path: string, file: number, size: number) {
    this.path = path
    this.#file = file
    this.size = size
  }

  /** Bytes before the next one. */
  get position(): number {
    return this.#at
  }

  /** The next bytes; they hold until the next call. `what` is for the message. */
  bytes(count: number, what: string): Buffer {
    this.expect(count, what)
    if (this.#at + count > this.#begin + this.#window.length) this.#fill(Math.max(count, WINDOW))
    const from = this.#at - this.#begin
    this.#at += count
    return this.#window.subarray(from, from + count)
  }

  /** @throws ERR_CHECKPOINT where fewer bytes are left */
  expect(count: number, what: string): void {
    check(count <= this.size - this.#at, 'ERR_CHECKPOINT', () => {
      const left = this.size - this.#at
      return `${this.path}: ${what} takes ${count} bytes at byte ${this.#at}, ${left} are left; the file is truncated`
    })
  }

  u32(what: string): number {
    return this.bytes(4, what).readUInt32LE()
  }

  /** A number of 64 bits that counts something. */
  count(what: string): number {
    const value = this.bytes(8, what).readBigUInt64LE()
    check(value <= BigInt(Number.MAX_SAFE_INTEGER), 'ERR_CHECKPOINT', () => {
      return `${this.path}: ${what} is ${value}, more than any file holds; the file is damaged`
    })
    return Number(value)
  }

  /** A text: its length in bytes, then UTF-8. */
  text(what: string): string {
    const bytes = this.bytes(this.count(`the length of ${what}`), what)
    return bytes.toString('utf8')
  }

  #fill(wanted: number): void {
    const length = Math.min(wanted, this.size - this.#at)
    const window = Buffer.allocUnsafe(length)
    for (let at = 0; at < length; ) {
      const got = readSync(this.#file, window, at, length - at, this.#at + at)
      if (got === 0) fail('ERR_CHECKPOINT', `${this.path}: ends at byte ${this.#at + at}, it was cut while it was read`)
      at += got
    }
    this.#window = window
    this.#begin = this.#at
  }
}
