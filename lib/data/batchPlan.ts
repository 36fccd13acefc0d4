// Which examples make which micro-batch of an epoch.

import { check } from '../errors.ts'
import { SEED } from '../options.ts'
import { random } from '../random.ts'
import { nth } from '../tuple.ts'
import { type Example, sequencesOf } from './example.ts'

/** What decides which examples go together. */
export interface PlanOptions {
  /** Sequences of a micro-batch. */
  readonly batchSize?: number | undefined
  /**
   * Most tokens of a micro-batch, in place of `batchSize`: as many examples as go into it, whatever is read or said of
   * them counted. Every epoch has as many micro-batches, of the same lengths: examples of equal length change places.
   */
  readonly batchTokens?: number | undefined
  /** Micro-batches of an optimizer step, 1 by default. */
  readonly accumulate?: number | undefined
  readonly shuffle?: boolean | undefined
  /** Seed of order and transform. Default {@link SEED}. */
  readonly seed?: number | bigint | undefined
  /** Epoch, from 0: each has its own order, and numbers of its own for the transform. */
  readonly epoch?: number | undefined
  /** Put sequences of like length into one micro-batch. */
  readonly groupByLength?: boolean | undefined
  /** Leave out a last step that is not full. */
  readonly dropLast?: boolean | undefined
}

/** Micro-batches of an epoch, several of which make a step. */
interface BatchPlan {
  /** Number of steps. */
  readonly steps: number
  /** Examples of each micro-batch of step k. */
  rowsOf(k: number): Int32Array[]
}

/** Order of examples, and where in it each micro-batch begins and the last one ends. */
interface Cut {
  readonly order: Int32Array
  readonly begins: Int32Array
  /** Whether the last micro-batch has all it can hold. */
  readonly isFull: boolean
}

/** What is read of examples to plan: they are passed through once. */
export type Passed = Iterable<Example> & { readonly length: number }

/** Plans an epoch. @throws ERR_OPTION for sizes that are no positive integers, and where no step or example fits */
export function planBatches(examples: Passed, options: PlanOptions): BatchPlan {
  const { batchSize, batchTokens, accumulate = 1, epoch = 0, dropLast = false } = options
  check((batchSize === undefined) !== (batchTokens === undefined), 'ERR_OPTION', () => {
    return `batchSize: ${batchSize}, and batchTokens ${batchTokens}; give one of them`
  })
  for (const [name, value] of Object.entries({ batchSize, batchTokens, accumulate }))
    check(value === undefined || (Number.isInteger(value) && value > 0), 'ERR_OPTION', () => {
      return `${name}: ${value} is not a positive integer`
    })
  check(Number.isInteger(epoch) && epoch >= 0, 'ERR_OPTION', () => `epoch: ${epoch} is not an integer from 0`)
  check(examples.length > 0, 'ERR_DATA', () => 'batches: no examples; the data set or split is empty')
  const { order, begins, isFull } =
    batchTokens === undefined
      ? cutBySize(lengthsOf(examples), options, batchSize ?? 1)
      : cutByTokens(tokensOf(examples), options, batchTokens)
  const count = begins.length - 1
  const steps = dropLast ? Math.floor((isFull ? count : count - 1) / accumulate) : Math.ceil(count / accumulate)
  check(steps > 0, 'ERR_OPTION', () => {
    const full =
      batchTokens === undefined ? `${(batchSize ?? 1) * accumulate}` : `${accumulate} times ${batchTokens} tokens`
    return `dropLast: ${examples.length} examples don't fill one step of ${full}`
  })
  const rowsOf = (k: number) => {
    const ends = Array.from(begins.subarray(k * accumulate, (k + 1) * accumulate + 1))
    return ends.slice(1).map((end, i) => order.slice(nth(ends, i), end))
  }
  return { steps, rowsOf }
}

/** Tokens of each example. */
function lengthsOf(examples: Passed): Int32Array {
  return counted(examples, ({ ids }) => ids.length)
}

/** Tokens of each example and of all that comes with it. */
function tokensOf(examples: Passed): Int32Array {
  return counted(examples, example => {
    const read = sequencesOf(example).reduce((sum, { ids }) => sum + ids.length, 0)
    return read + (example.target?.length ?? 0)
  })
}

function counted(examples: Passed, count: (example: Example) => number): Int32Array {
  const counts = new Int32Array(examples.length)
  let i = 0
  for (const example of examples) {
    const at = i
    check(example.ids.length > 0, 'ERR_DATA', () => `batches: example ${at} has no tokens`)
    counts[i++] = count(example)
  }
  return counts
}

/**
 * So many examples each. Grouping by length sorts pieces of 50 steps, longest first, then mixes the full micro-batches;
 * a last one that is not full stays last.
 */
function cutBySize(lengths: Int32Array, options: PlanOptions, batchSize: number): Cut {
  const count = Math.ceil(lengths.length / batchSize)
  const begins = Int32Array.from({ length: count + 1 }, (_, i) => Math.min(i * batchSize, lengths.length))
  return { order: planOrder(lengths, options, batchSize), begins, isFull: lengths.length % batchSize === 0 }
}

const GROUPED_STEPS = 50

function planOrder(lengths: Int32Array, options: PlanOptions, batchSize: number): Int32Array {
  const { accumulate = 1, shuffle = false, groupByLength = false, seed = SEED, epoch = 0 } = options
  const order = lengths.map((_, i) => i)
  if (shuffle) random(seed, 'order', epoch).shuffle(order)
  if (!groupByLength) return order
  const piece = batchSize * accumulate * GROUPED_STEPS
  const grouped: number[] = []
  for (let start = 0; start < order.length; start += piece) {
    const part = Array.from(order.subarray(start, start + piece))
    grouped.push(...part.sort((a, b) => nth(lengths, b) - nth(lengths, a)))
  }
  if (!shuffle) return Int32Array.from(grouped)
  const full = Array.from({ length: Math.floor(grouped.length / batchSize) }, (_, i) => i * batchSize)
  random(seed, 'groups', epoch).shuffle(full)
  const mixedOrder = full.flatMap(start => grouped.slice(start, start + batchSize))
  return Int32Array.from([...mixedOrder, ...grouped.slice(full.length * batchSize)])
}

/**
 * As many examples each as go into so many tokens. Where the cuts are follows from an order of the lengths that is one
 * for all epochs, so that a run knows its steps; an epoch deals out the examples of each length anew, and mixes the
 * micro-batches but for the last, which holds what is left.
 */
function cutByTokens(tokens: Int32Array, options: PlanOptions, most: number): Cut {
  const { shuffle = false, groupByLength = false, seed = SEED, epoch = 0 } = options
  const longest = tokens.reduce((best, count, i) => (count > nth(tokens, best) ? i : best), 0)
  check(nth(tokens, longest) <= most, 'ERR_OPTION', () => {
    return `batchTokens: ${most}, but example ${longest} has ${tokens[longest]} tokens; raise it, or lower maxLength`
  })
  const places = tokens.map((_, i) => i)
  if (shuffle) random(seed, 'places').shuffle(places)
  const slots = groupByLength ? byLength(places, tokens) : places
  const begins = cutsOf(slots, tokens, most)
  const left = slots.subarray(begins.at(-2)).reduce((sum, i) => sum + nth(tokens, i), 0)
  const isFull = left === most
  if (!shuffle) return { order: slots, begins, isFull }
  return { ...mixed(dealt(slots, tokens, seed, epoch), begins, seed, epoch), isFull }
}

/** Where micro-batches begin when one is filled after the other, and the end. */
function cutsOf(slots: Int32Array, tokens: Int32Array, most: number): Int32Array {
  const begins = [0]
  let sum = 0
  slots.forEach((example, i) => {
    const count = nth(tokens, example)
    if (sum + count > most) {
      begins.push(i)
      sum = 0
    }
    sum += count
  })
  return Int32Array.of(...begins, slots.length)
}

/** In each place another example of as many tokens. */
function dealt(slots: Int32Array, tokens: Int32Array, seed: number | bigint, epoch: number): Int32Array {
  const examples = byLength(random(seed, 'order', epoch).shuffle(tokens.map((_, i) => i)), tokens)
  const counts = slots.map(example => nth(tokens, example))
  const places = byLength(
    slots.map((_, i) => i),
    counts,
  )
  const order = new Int32Array(slots.length)
  places.forEach((place, i) => {
    order[place] = nth(examples, i)
  })
  return order
}

/** Indices by their counts, the highest first, else in their order. */
function byLength(indices: Int32Array, counts: Int32Array): Int32Array {
  return indices.slice().sort((a, b) => nth(counts, b) - nth(counts, a))
}

/** Micro-batches in a random order, the last one last. */
function mixed(order: Int32Array, begins: Int32Array, seed: number | bigint, epoch: number) {
  const last = begins.length - 2
  const batches = random(seed, 'groups', epoch).shuffle(Int32Array.from({ length: last }, (_, m) => m))
  const rows = [...batches, last].map(m => order.subarray(nth(begins, m), nth(begins, m + 1)))
  const [all, starts] = [new Int32Array(order.length), [0]]
  for (const part of rows) {
    const at = nth(starts, starts.length - 1)
    all.set(part, at)
    starts.push(at + part.length)
  }
  return { order: all, begins: Int32Array.from(starts) }
}
