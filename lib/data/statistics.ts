import { type Example, IGNORED } from './encode.ts'

/** Spread of lengths. Percentiles are lengths that occur (nearest rank). */
export interface LengthStatistics {
  readonly count: number
  readonly min: number
  readonly mean: number
  readonly median: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly max: number
  /** Bins of equal width: lengths in [from, to). */
  readonly histogram: readonly { readonly from: number; readonly to: number; readonly count: number }[]
}

/** Statistics of lengths; all 0 and no bins for none. */
export function lengthStatistics(lengths: readonly number[], bins = 16): LengthStatistics {
  const sorted = Float64Array.from(lengths).sort()
  const count = sorted.length
  if (count === 0) return { count, min: 0, mean: 0, median: 0, p90: 0, p95: 0, p99: 0, max: 0, histogram: [] }
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * count) - 1)]!
  const [min, max] = [sorted[0]!, sorted[count - 1]!]
  const width = Math.max(1, Math.ceil((max - min + 1) / bins))
  const counts = new Array<number>(Math.floor((max - min) / width) + 1).fill(0)
  for (const length of sorted) counts[Math.floor((length - min) / width)]!++
  return {
    count,
    min,
    mean: sorted.reduce((sum, length) => sum + length, 0) / count,
    median: rank(0.5),
    p90: rank(0.9),
    p95: rank(0.95),
    p99: rank(0.99),
    max,
    histogram: counts.map((n, i) => ({ from: min + i * width, to: min + (i + 1) * width, count: n })),
  }
}

/** What the labels of examples offer to a loss. */
export interface Supervision {
  /** Labels that count: samples, tokens or elements. */
  readonly total: number
  /** Examples without any label that counts (all masked, or no label at all). */
  readonly without: number
}

/** Counts the labels that a loss will see. */
export function supervision(examples: readonly Example[]): Supervision {
  let total = 0
  let without = 0
  for (const { label } of examples) {
    const count = countLabel(label)
    total += count
    if (count === 0) without++
  }
  return { total, without }
}

/** How often each class id is a label of the examples, ignored positions aside. @param classes number of classes */
export function classCounts(examples: readonly Example[], classes: number): Int32Array {
  const counts = new Int32Array(classes)
  for (const { label } of examples) {
    if (typeof label === 'number') counts[label]!++
    else if (label instanceof Int32Array) for (const id of label) if (id !== IGNORED) counts[id]!++
    if (label instanceof Float32Array)
      label.forEach((on, id) => {
        if (on > 0) counts[id]!++
      })
  }
  return counts
}

function countLabel(label: Example['label']): number {
  if (label === undefined || label === IGNORED) return 0
  if (typeof label === 'number') return 1
  return label instanceof Float32Array ? label.length : label.reduce((sum, id) => sum + (id === IGNORED ? 0 : 1), 0)
}
