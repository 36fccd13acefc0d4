import { nth } from '../tuple.ts'

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
  const rank = (share: number): number => nth(sorted, Math.max(0, Math.ceil(share * count) - 1))
  const [min, max] = [nth(sorted, 0), nth(sorted, count - 1)]
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
