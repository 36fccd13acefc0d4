import { createHash } from 'node:crypto'
import type { Pieces } from '../io/turn.ts'
import type { ValueOf } from '../options.ts'
import type { Columns } from './columns.ts'
import { answerText, conversationText } from './conversation.ts'
import { changed, itemAt, joinedLists, type List, select } from './list.ts'
import type { DATA_OPTIONS } from './options.ts'
import { listOf, type Row, textOf } from './row.ts'

/** Names of {@link Splits}. */
export const SPLITS = ['train', 'validation', 'test'] as const

/** Rows of a data set by split. */
export interface Splits {
  readonly train: List<Row>
  readonly validation: List<Row>
  readonly test: List<Row>
}

/** Every row of every split changed, by a function that gives the same each time. */
export function mapRows(splits: Partial<Splits>, change: (row: Row) => Row): Partial<Splits> {
  return Object.fromEntries(Object.entries(splits).map(([name, rows]) => [name, changed(rows, change)]))
}

/**
 * What to do with a text that stands in more than one split. 'report': nothing. 'drop': the copy in the split trained
 * or chosen on goes (train before validation before test), so that test sets stay as given. 'move': all copies go to
 * the first of these splits that has one.
 */
export type DuplicateRule = ValueOf<typeof DATA_OPTIONS.duplicates>

/** Texts that stand in two splits, the number of rows within one split that repeat an earlier one, and examples. */
export interface DuplicateReport {
  readonly trainValidation: number
  readonly trainTest: number
  readonly validationTest: number
  /** Rows that repeat an earlier row of their own split. */
  readonly within: number
  /** Up to five texts that stand in more than one split. */
  readonly examples: readonly string[]
}

/** A text that is equal for rows a reader would call equal: case, width of characters and spaces don't count. */
function normalizedText(row: Row, columns: Columns): string {
  const { tokens, text, text2, messages, prompt, chosen, rejected } = columns
  const parts = tokens !== undefined ? [listOf(row, tokens).join(' ')] : []
  if (messages !== undefined || prompt !== undefined) parts.push(conversationText(row, columns))
  for (const column of [chosen, rejected]) if (column !== undefined) parts.push(answerText(row, column))
  for (const column of [text, text2]) if (column !== undefined) parts.push(textOf(row, column))
  return parts.map(text => text.normalize('NFKC').toLowerCase().replace(/\s+/gu, ' ').trim()).join('\n')
}

/** Finds texts that stand in more than one split and deals with them by the rule. */
export function* resolveDuplicates(
  splits: Splits,
  columns: Columns,
  rule: DuplicateRule = 'report',
): Pieces<{ splits: Splits; report: DuplicateReport }> {
  const texts = yield* SplitTexts.read(splits, columns)
  const report = describe(splits, columns, texts)
  if (rule === 'report') return { splits, report }
  const { train, test } = splits
  const pick = (split: keyof Splits, fits: (bits: number) => boolean) => select(splits[split], texts.where(split, fits))
  const isIn = (split: keyof Splits) => (bits: number) => (bits & BITS[split]) !== 0
  if (rule === 'drop') {
    const kept = {
      train: pick('train', bits => bits === BITS.train),
      validation: pick('validation', bits => !isIn('test')(bits)),
    }
    return { splits: { ...kept, test }, report }
  }
  const own = (bits: number) => !isIn('train')(bits)
  return {
    splits: {
      train: joinedLists([train, pick('validation', isIn('train')), pick('test', isIn('train'))]),
      validation: joinedLists([pick('validation', own), pick('test', bits => own(bits) && isIn('validation')(bits))]),
      test: pick('test', bits => bits === BITS.test),
    },
    report,
  }
}

/** Fingerprint of a division: 16 hex digits of SHA-256 over the values of each split's rows in order. */
export function* splitHash(splits: Splits): Pieces<string> {
  const hash = createHash('sha256')
  for (const part of SPLITS) {
    hash.update(`${part}\n`)
    for (const row of splits[part]) {
      hash.update(`${JSON.stringify(row.values)}\n`)
      yield
    }
  }
  return hash.digest('hex').slice(0, 16)
}

const BITS = { train: 1, validation: 2, test: 4 } as const

/**
 * In which splits the text of each row stands. A text is known by 64 bits of its SHA-256: among ten million, two that
 * differ are taken for one with a chance of 3 in a million.
 */
class SplitTexts {
  readonly #splits: Splits
  /** For each row of all splits, the first row with an equal text. */
  readonly #firsts: Int32Array
  /** The splits of the text that first stands in a row. */
  readonly #bits: Uint8Array

  private constructor(splits: Splits) {
    this.#splits = splits
    const count = this.#startOf('test') + splits.test.length
    this.#firsts = new Int32Array(count)
    this.#bits = new Uint8Array(count)
  }

  static *read(splits: Splits, columns: Columns): Pieces<SplitTexts> {
    const texts = new SplitTexts(splits)
    const firstOf = firstTexts(texts.#firsts.length)
    let at = 0
    for (const split of SPLITS)
      for (const row of splits[split]) {
        const first = firstOf(normalizedText(row, columns))
        texts.#firsts[at++] = first
        texts.#bits[first]! |= BITS[split]
        yield
      }
    return texts
  }

  #startOf(split: keyof Splits): number {
    const { train, validation } = this.#splits
    return split === 'train' ? 0 : train.length + (split === 'test' ? validation.length : 0)
  }

  /** How many texts stand in all of the splits of `bits`. */
  count(bits: number): number {
    return this.#bits.reduce((sum, own) => sum + ((own & bits) === bits ? 1 : 0), 0)
  }

  /** The text of each row of a split, as the number of its first row. */
  of(split: keyof Splits): Int32Array {
    const start = this.#startOf(split)
    return this.#firsts.subarray(start, start + this.#splits[split].length)
  }

  /** Rows of a split whose text stands in splits that fit. */
  where(split: keyof Splits, fits: (bits: number) => boolean): Int32Array {
    const own = this.of(split)
    return Int32Array.from(own.keys()).filter(i => fits(this.#bits[own[i]!]!))
  }

  /** Texts of a split that stand in another too, in order of their first rows there, at most `most`. */
  shared(split: keyof Splits, other: keyof Splits, most: number): number[] {
    const found = new Set<number>()
    for (const first of this.of(split)) {
      if (found.size === most) break
      if (this.#bits[first]! & BITS[other]) found.add(first)
    }
    return [...found]
  }
}

/** Tells of texts, one after another, the number of the first that is equal; by open addressing. */
function firstTexts(count: number): (text: string) => number {
  const keys = new Uint32Array(2 * count)
  // Numbers of texts, plus one; at most seven tenths are taken.
  const table = new Int32Array(2 ** Math.ceil(Math.log2(1.43 * count + 2)))
  let last = 0
  return text => {
    const hash = createHash('sha256').update(text).digest()
    const [low, high] = [hash.readUInt32LE(0), hash.readUInt32LE(4)]
    const own = last++
    keys.set([low, high], 2 * own)
    for (let slot = low & (table.length - 1); ; slot = (slot + 1) & (table.length - 1)) {
      const other = table[slot]! - 1
      if (other < 0) {
        table[slot] = own + 1
        return own
      }
      if (keys[2 * other] === low && keys[2 * other + 1] === high) return other
    }
  }
}

/** How many rows repeat the text of an earlier one. */
export function repeatedTexts(rows: List<Row>, columns: Columns): number {
  const firstOf = firstTexts(rows.length)
  let [repeated, i] = [0, 0]
  for (const row of rows) if (firstOf(normalizedText(row, columns)) < i++) repeated++
  return repeated
}

function describe(splits: Splits, columns: Columns, texts: SplitTexts): DuplicateReport {
  const shared = [texts.shared('train', 'test', SHOWN), texts.shared('train', 'validation', SHOWN)]
  const wanted = new Set([...shared.flat(), ...texts.shared('validation', 'test', SHOWN)].slice(0, SHOWN))
  const examples: string[] = []
  for (const split of ['test', 'validation'] as const)
    for (const [i, text] of texts.of(split).entries()) {
      if (wanted.size === 0) break
      if (wanted.delete(text)) examples.push(normalizedText(itemAt(splits[split], i), columns).slice(0, 200))
    }
  const rows = splits.train.length + splits.validation.length + splits.test.length
  return {
    trainValidation: texts.count(BITS.train | BITS.validation),
    trainTest: texts.count(BITS.train | BITS.test),
    validationTest: texts.count(BITS.validation | BITS.test),
    within: rows - SPLITS.reduce((sum, split) => sum + texts.count(BITS[split]), 0),
    examples,
  }
}

/** Texts that are shown. */
const SHOWN = 5
