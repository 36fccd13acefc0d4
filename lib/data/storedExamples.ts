// Examples as numbers in Records: beside their ids they take less than fifty bytes, and many lie in a file.

import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '../options.ts'
import type { Example, Passage, Preference } from './example.ts'
import { Dataset, itemAt, type List } from './list.ts'
import { Records } from './records.ts'
import type { Row } from './row.ts'

/** Arrays of a record, each after its length, in this order; the n-th is there where bit n of its flags is set. */
const ARRAYS = [
  ...(['ids', 'typeIds', 'target', 'wordIds', 'asked', 'places', 'label'] as const),
  ...(['otherIds', 'otherLabel', 'otherTypes', 'verdict'] as const),
] as const
/** What else is in the flags: how the label is meant, whether the text was cut, and whether JSON stands at the end. */
const LABEL = { ids: 1 << 16, number: 1 << 17, floats: 1 << 18 } as const
const TRUNCATED = 1 << 19
const MORE = 1 << 20

type Numbers = Int32Array | Float32Array

/**
 * Examples that are added once, in the order of their rows. What is read is equal to the model to what was added: token
 * types that are all 0 are left out.
 */
export class StoredExamples extends Dataset<Example> {
  readonly #rows: List<Row>
  readonly #records: Records
  /** What is made of preferences: few different things, of which an example says the place. */
  readonly #goals: Preference['goal'][] = []

  /** @param most bytes that stay in memory */
  constructor(rows: List<Row>, most?: number) {
    super()
    this.#rows = rows
    this.#records = new Records(most)
  }

  get length(): number {
    return this.#records.length
  }

  /** Adds an example of a row, given by its place among the rows. */
  push(example: Example, row: number): void {
    const arrays = [...arraysOf(example), this.#preferenceAsNumbers(example)]
    const more = moreOf(example)
    const text = more === undefined ? '' : JSON.stringify(more)
    const words = 2 + arrays.reduce((sum, array) => sum + (array ? 1 + array.length : 0), 0)
    const bytes = this.#records.add(4 * words + ((Buffer.byteLength(text) + 3) & ~3))
    const ints = new Int32Array(bytes.buffer, bytes.byteOffset, words)
    ints[0] = row
    ints[1] = flagsOf(example, arrays) | (more === undefined ? 0 : MORE)
    let at = 2
    for (const array of arrays) {
      if (!array) continue
      ints[at++] = array.length
      ints.set(array instanceof Float32Array ? new Int32Array(array.buffer, array.byteOffset, array.length) : array, at)
      at += array.length
    }
    bytes.fill(' ', 4 * words)
    bytes.write(text, 4 * words)
  }

  protected get(i: number): Example {
    const bytes = this.#records.read(i)
    const ints = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
    const [row = 0, flags = 0] = ints
    const found: { [name in (typeof ARRAYS)[number]]?: Int32Array } = {}
    let at = 2
    for (const [n, name] of ARRAYS.entries()) {
      if (!(flags & (1 << n))) continue
      const length = ints[at++] ?? 0
      found[name] = ints.subarray(at, at + length)
      at += length
    }
    const {
      ids = new Int32Array(0),
      typeIds,
      label,
      places,
      otherIds,
      otherLabel,
      otherTypes,
      verdict,
      ...others
    } = found
    const truncated = (flags & TRUNCATED) !== 0
    const example = {
      ...{ ids, typeIds, label: labelOf(flags, ids, label), truncated, row: this.#rowOf(row), ...others },
      ...(otherIds ? { other: { ids: otherIds, typeIds: otherTypes, label: otherLabel } } : {}),
      ...(verdict ? { preference: this.#preferenceOf(verdict) } : {}),
    }
    return flags & MORE ? { ...example, ...readMore(bytes.toString('utf8', 4 * at), places) } : example
  }

  #preferenceAsNumbers({ preference }: Example): Int32Array | undefined {
    if (!preference) return undefined
    const { goal, wanted } = preference
    const known = this.#goals.findIndex(each => isDeepStrictEqual(each, goal))
    return Int32Array.of(known < 0 ? this.#goals.push(goal) - 1 : known, wanted === undefined ? -1 : Number(wanted))
  }

  #preferenceOf([goal = 0, wanted = -1]: Int32Array): Preference {
    return { goal: itemAt(this.#goals, goal), ...(wanted < 0 ? {} : { wanted: wanted === 1 }) }
  }

  /** A row that is read when it is looked at, since few are. */
  #rowOf(i: number): Row {
    const rows = this.#rows
    if (Array.isArray(rows)) return itemAt(rows, i)
    let read: Row | undefined
    const row = (): Row => {
      read ??= itemAt(rows, i)
      return read
    }
    return {
      get values() {
        return row().values
      },
      get file() {
        return row().file
      },
      get line() {
        return row().line
      },
    }
  }
}

function arraysOf({ ids, typeIds, target, wordIds, asked, passage, label, other }: Example): (Numbers | undefined)[] {
  const types = typeIds?.some(type => type !== 0) ? typeIds : undefined
  const labels = typeof label === 'number' ? Int32Array.of(label) : label === ids ? undefined : label
  return [ids, types, target, wordIds, asked, passage?.places, labels, other?.ids, other?.label, other?.typeIds]
}

function flagsOf({ ids, label, truncated }: Example, arrays: readonly unknown[]): number {
  const kind = label === ids ? LABEL.ids : typeof label === 'number' ? LABEL.number : 0
  const present = arrays.reduce<number>((flags, array, n) => flags | (array ? 1 << n : 0), 0)
  return present | kind | (label instanceof Float32Array ? LABEL.floats : 0) | (truncated ? TRUNCATED : 0)
}

function labelOf(flags: number, ids: Int32Array, label: Int32Array | undefined): Example['label'] {
  if (flags & LABEL.ids) return ids
  if (flags & LABEL.number) return label?.[0]
  return label && flags & LABEL.floats ? new Float32Array(label.buffer, label.byteOffset, label.length) : label
}

/** What of an example is not numbers. */
function moreOf({ words, passage, part }: Example): object | undefined {
  if (!words && !passage && part === undefined) return undefined
  const { places: _, ...text } = passage ?? { places: undefined }
  return { words, part, ...(passage ? { passage: text } : {}) }
}

function readMore(text: string, places: Int32Array = new Int32Array(0)): Partial<Example> {
  const value: unknown = JSON.parse(text)
  const { words, part, passage } = isRecord(value) ? value : {}
  return {
    ...(Array.isArray(words) ? { words: words.map(String) } : {}),
    ...(typeof part === 'number' ? { part } : {}),
    ...(isRecord(passage) ? { passage: passageOf(passage, places) } : {}),
  }
}

function passageOf({ text, golds, mayLack }: Record<string, unknown>, places: Int32Array): Passage {
  const known = Array.isArray(golds) ? golds.map(String) : undefined
  return { text: String(text), golds: known, mayLack: mayLack === true, places }
}
