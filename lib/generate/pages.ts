// Which pages of a cache are free, and how many hold each of the others.

import { check, fail } from '../errors.ts'
import { nth } from '../tuple.ts'

/** Tokens of a page. */
export const PAGE = 16

/** Pages by number. One that several hold is written by none of them. */
export class Pages {
  /** Of each page, 0: free. */
  #holders: number[] = []
  #free: number[] = []

  /** Those there are. */
  get count(): number {
    return this.#holders.length
  }

  /** Those that somebody holds. */
  get held(): number {
    return this.#holders.length - this.#free.length
  }

  /** A free page, now held once; undefined where there is none. */
  take(): number | undefined {
    const page = this.#free.pop()
    if (page !== undefined) this.#holders[page] = 1
    return page
  }

  hold(page: number): void {
    this.#holders[page] = this.#holdersOf(page) + 1
  }

  /** One holder less; a page without one is free. */
  release(page: number): void {
    const left = this.#holdersOf(page) - 1
    this.#holders[page] = left
    if (left === 0) this.#free.push(page)
  }

  isShared(page: number): boolean {
    return this.#holdersOf(page) > 1
  }

  /** More of them, all free. */
  grow(count: number): void {
    check(count >= this.count, 'ERR_OPTION', () => `pages: ${count}, there are ${this.count}`)
    const first = this.count
    // The lowest numbers are taken first.
    this.#free = [...Array.from({ length: count - first }, (_, i) => count - 1 - i), ...this.#free]
    this.#holders.push(...Array<number>(count - first).fill(0))
  }

  /** Leaves the held ones alone, with new numbers from 0 on; their old numbers in that order. */
  compact(): readonly number[] {
    const old = this.#holders.flatMap((holders, page) => (holders > 0 ? [page] : []))
    this.#holders = old.map(page => nth(this.#holders, page))
    this.#free = []
    return old
  }

  #holdersOf(page: number): number {
    const holders = this.#holders[page] ?? 0
    return holders > 0 ? holders : fail('ERR_OPTION', `pages: nobody holds page ${page}`)
  }
}
