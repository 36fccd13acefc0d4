// Lists of rows and examples that need not lie in memory: read by index, or passed through from the start.

import { check } from '../errors.ts'

/** What is used of an array of rows or examples; every array is one. */
export interface List<T> extends Iterable<T> {
  readonly length: number
  /** Item i, counted from the end where it is negative; undefined outside. */
  at(i: number): T | undefined
  slice(start?: number, end?: number): readonly T[]
  map<U>(change: (item: T, i: number) => U): U[]
  filter(fits: (item: T, i: number) => unknown): List<T>
  find(fits: (item: T, i: number) => unknown): T | undefined
  some(fits: (item: T, i: number) => unknown): boolean
  every(fits: (item: T, i: number) => unknown): boolean
}

/**
 * A list that makes its items when they are asked for: `length` and `get` are what `__len__` and `__getitem__` are in
 * Python.
 */
export abstract class Dataset<T> implements List<T> {
  abstract readonly length: number
  /** Item i, 0 ≤ i < length. */
  protected abstract get(i: number): T

  at(i: number): T | undefined {
    const index = i < 0 ? i + this.length : i
    return index >= 0 && index < this.length ? this.get(index) : undefined
  }

  *[Symbol.iterator](): Generator<T> {
    for (let i = 0; i < this.length; i++) yield this.get(i)
  }

  slice(start = 0, end = this.length): readonly T[] {
    const [from, to] = [start, end].map(i => Math.min(this.length, i < 0 ? Math.max(0, i + this.length) : i))
    const items: T[] = []
    for (let i = from ?? 0; i < (to ?? 0); i++) items.push(this.get(i))
    return items
  }

  map<U>(change: (item: T, i: number) => U): U[] {
    const items: U[] = []
    for (const item of this) items.push(change(item, items.length))
    return items
  }

  filter(fits: (item: T, i: number) => unknown): List<T> {
    const indices: number[] = []
    let i = 0
    for (const item of this) if (fits(item, i++)) indices.push(i - 1)
    return select(this, Int32Array.from(indices))
  }

  find(fits: (item: T, i: number) => unknown): T | undefined {
    let i = 0
    for (const item of this) if (fits(item, i++)) return item
    return undefined
  }

  some(fits: (item: T, i: number) => unknown): boolean {
    let i = 0
    for (const item of this) if (fits(item, i++)) return true
    return false
  }

  every(fits: (item: T, i: number) => unknown): boolean {
    return !this.some((item, i) => !fits(item, i))
  }
}

/** Item i of a list that has one. @throws ERR_OPTION outside */
export function itemAt<T>(list: List<T>, i: number): T {
  const item = list.at(i)
  check(item !== undefined, 'ERR_OPTION', () => `data: index ${i} is not in [0, ${list.length})`)
  return item
}

class Selected<T> extends Dataset<T> {
  readonly base: List<T>
  readonly indices: Int32Array

  constructor(base: List<T>, indices: Int32Array) {
    super()
    this.base = base
    this.indices = indices
  }

  get length(): number {
    return this.indices.length
  }

  protected get(i: number): T {
    return itemAt(this.base, this.indices[i] ?? -1)
  }
}

class Changed<T, U> extends Dataset<U> {
  readonly #base: List<T>
  readonly #change: (item: T, i: number) => U

  constructor(base: List<T>, change: (item: T, i: number) => U) {
    super()
    this.#base = base
    this.#change = change
  }

  get length(): number {
    return this.#base.length
  }

  protected get(i: number): U {
    return this.#change(itemAt(this.#base, i), i)
  }
}

class Joined<T> extends Dataset<T> {
  readonly length: number
  readonly #parts: readonly List<T>[]

  constructor(parts: readonly List<T>[]) {
    super()
    this.#parts = parts
    this.length = parts.reduce((sum, part) => sum + part.length, 0)
  }

  protected get(i: number): T {
    let at = i
    for (const part of this.#parts) {
      if (at < part.length) return itemAt(part, at)
      at -= part.length
    }
    return itemAt([], i)
  }
}

const isArray = <T>(list: List<T>): list is readonly T[] => Array.isArray(list)

/** The items at some indices, in their order; of an array an array. */
export function select<T>(list: List<T>, indices: Int32Array): List<T> {
  if (isArray(list)) return Array.from(indices, i => itemAt(list, i))
  if (!(list instanceof Selected)) return new Selected(list, indices)
  const { base, indices: own }: Selected<T> = list
  return new Selected(
    base,
    indices.map(i => own[i] ?? -1),
  )
}

/** Every item changed, by a function that gives the same each time: of an array at once, of others when it is read. */
export function changed<T, U>(list: List<T>, change: (item: T, i: number) => U): List<U> {
  return isArray(list) ? list.map(change) : new Changed(list, change)
}

/** At most `most` items, evenly spread. */
export function spread<T>(list: List<T>, most: number): List<T> {
  if (list.length <= most) return list
  return select(
    list,
    Int32Array.from({ length: most }, (_, i) => Math.floor((i * list.length) / most)),
  )
}

/** Lists one after another. */
export function joinedLists<T>(lists: readonly List<T>[]): List<T> {
  const parts = lists.filter(({ length }) => length > 0)
  const [first = []] = parts
  if (parts.length < 2) return first
  return parts.every(isArray) ? parts.flat() : new Joined(parts)
}

/** Whether a value is a list. */
export function isList(value: unknown): value is List<unknown> {
  return Array.isArray(value) || value instanceof Dataset
}
