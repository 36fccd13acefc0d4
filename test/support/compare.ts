// The one place where tolerances are applied.

import * as assert from 'uvu/assert'

export interface Tolerance {
  /** Allowed error relative to the largest expected magnitude. */
  relative?: number
  absolute?: number
}

/** Fails with the worst index, both values and the share of the allowed error. */
export function compare(
  what: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative = 1e-5, absolute = 0 }: Tolerance = {},
): void {
  assert.is(got.length, expected.length, `${what}: ${got.length} values, expected ${expected.length}`)
  let largest = 0
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!))
  const allowed = absolute + relative * largest
  let worst = 0
  let at = 0
  for (let i = 0; i < got.length; i++) {
    const error = got[i] === expected[i] ? 0 : Math.abs(got[i]! - expected[i]!)
    if (!(error <= worst)) [worst, at] = [error, i]
    if (Number.isNaN(error)) break
  }
  const share = ((100 * worst) / allowed).toFixed(0)
  assert.ok(
    worst <= allowed,
    `${what}: worst at ${at}: ${got[at]}, expected ${expected[at]}; error ${worst.toExponential(2)} is ${share} % of ${allowed.toExponential(2)}`,
  )
}
