// Tail probabilities that tests of significance need.

/** Two-sided p of min(k, n − k) successes in n fair coin tosses: min(1, 2·P(X ≤ k)), k ≤ n / 2. */
export function binomialTwoSided(k: number, n: number): number {
  // The largest term first, in logs (2⁻ⁿ underflows beyond n = 1074), then downward by the ratio of neighbours.
  let logTerm = -n * Math.LN2
  let carry = 0
  for (let i = 1; i <= k; i++) {
    const addend = Math.log((n - i + 1) / i) - carry
    const sum = logTerm + addend
    carry = sum - logTerm - addend
    logTerm = sum
  }
  let ratio = 1
  let sum = 1
  for (let i = k; i > 0 && ratio > 1e-20; i--) {
    ratio *= i / (n - i + 1)
    sum += ratio
  }
  return Math.min(1, 2 * Math.exp(logTerm) * sum)
}

/** P(X > x) of the chi-square distribution with one degree of freedom. */
export function chiSquareOneTail(x: number): number {
  return erfc(Math.sqrt(x / 2))
}

/** Complementary error function for x ≥ 0; relative error below 1e-13. */
export function erfc(x: number): number {
  return x < 2 ? 1 - erfSeries(x) : erfcFraction(x)
}

// erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms positive, so nothing cancels.
function erfSeries(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; term > sum * 1e-17 && n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}

// erfc x = e^(−x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), evaluated from the far end.
function erfcFraction(x: number): number {
  let tail = x
  for (let k = 120; k >= 1; k--) tail = x + k / 2 / tail
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / tail
}

/** The value that Student's t of `df` degrees of freedom stays below with probability p in (0.5, 1). */
export function studentQuantile(p: number, df: number): number {
  let [low, high] = [0, 1]
  while (studentBelow(high, df) < p) high *= 2
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2
    if (studentBelow(middle, df) < p) low = middle
    else high = middle
  }
  return (low + high) / 2
}

// P(T ≤ t) for t ≥ 0 and whole degrees of freedom: the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.
function studentBelow(t: number, df: number): number {
  const theta = Math.atan(t / Math.sqrt(df))
  const [sin, cos] = [Math.sin(theta), Math.cos(theta)]
  let [term, sum] = df % 2 === 1 ? [cos, df > 1 ? cos : 0] : [1, 1]
  for (let k = df % 2 === 1 ? 3 : 2; k <= df - 2; k += 2) {
    term *= (cos * cos * (k - 1)) / k
    sum += term
  }
  const within = df % 2 === 1 ? (2 / Math.PI) * (theta + sin * sum) : sin * sum
  return (1 + within) / 2
}
