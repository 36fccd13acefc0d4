import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'

/** The cases of one fixture file; the string "NaN" stands for NaN. */
export function golden<T>(name: string): T[] {
  const text = readFileSync(new URL(`../golden/metrics/${name}`, import.meta.url), 'utf8')
  return JSON.parse(text, (_, value: unknown) => (value === 'NaN' ? Number.NaN : value))
}

/** Asserts |actual − expected| ≤ 1e-12 · max(1, |expected|); NaN equals NaN only. */
export function near(actual: number, expected: number, what: string, tolerance = 1e-12): void {
  const same = Number.isNaN(expected)
    ? Number.isNaN(actual)
    : Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected))
  assert.ok(same, `${what}: ${actual} is not ${expected}`)
}

/** Asserts that scores are [precision, recall, f1, support?]. */
export function nearScores(
  actual: { precision: number; recall: number; f1: number; support: number },
  expected: readonly (number | null)[],
  what: string,
): void {
  near(actual.precision, expected[0]!, `${what} precision`)
  near(actual.recall, expected[1]!, `${what} recall`)
  near(actual.f1, expected[2]!, `${what} F1`)
  if (typeof expected[3] === 'number') near(actual.support, expected[3], `${what} support`)
}

/** Zero-division settings by their fixture key. */
export const zeroDivisions = { '0': 0, '1': 1, nan: Number.NaN } as const
