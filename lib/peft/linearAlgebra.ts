// Small dense decompositions on the host, in f64: those of low-rank factors, and of single layers.

import { normal } from '../nn/init.ts'
import { nth } from '../tuple.ts'

/** Rows times columns, in C order. */
export interface Matrix {
  readonly rows: number
  readonly columns: number
  readonly data: Float64Array
}

export function matrix(rows: number, columns: number, data: ArrayLike<number>): Matrix {
  return { rows, columns, data: Float64Array.from(data) }
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  const out = new Float64Array(rows * columns)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!
  return { rows: columns, columns: rows, data: out }
}

/** a b. */
export function product(a: Matrix, b: Matrix): Matrix {
  const out = new Float64Array(a.rows * b.columns)
  for (let i = 0; i < a.rows; i++)
    for (let k = 0; k < a.columns; k++) {
      const x = a.data[i * a.columns + k]!
      if (x === 0) continue
      for (let j = 0; j < b.columns; j++) out[i * b.columns + j]! += x * b.data[k * b.columns + j]!
    }
  return { rows: a.rows, columns: b.columns, data: out }
}

/** U diag(values) Vᵀ, values falling; of min(rows, columns) columns each. */
export interface Svd {
  readonly u: Matrix
  readonly values: Float64Array
  readonly v: Matrix
}

/**
 * One-sided Jacobi (Hestenes 1958): columns are turned in pairs until all are orthogonal; their lengths are the
 * singular values. Exact to rounding, also for small values.
 */
export function jacobiSvd(a: Matrix): Svd {
  if (a.rows < a.columns) {
    const { u, values, v } = jacobiSvd(transposed(a))
    return { u: v, values, v: u }
  }
  const n = a.columns
  // Columns are easier to turn as rows.
  const work = transposed(a)
  const turned = identity(n)
  for (let sweep = 0; sweep < 60; sweep++) {
    let largest = 0
    for (let p = 0; p < n - 1; p++)
      for (let q = p + 1; q < n; q++) largest = Math.max(largest, turnPair(work, turned, p, q))
    if (largest < 1e-15) break
  }
  return sorted(work, turned)
}

/** Makes rows p and q orthogonal; returns the cosine between them before. */
function turnPair(work: Matrix, turned: Matrix, p: number, q: number): number {
  const m = work.columns
  let [alpha, beta, gamma] = [0, 0, 0]
  for (let i = 0; i < m; i++) {
    const [x, y] = [work.data[p * m + i]!, work.data[q * m + i]!]
    alpha += x * x
    beta += y * y
    gamma += x * y
  }
  const cosine = Math.abs(gamma) / Math.sqrt(alpha * beta)
  if (!(cosine > 1e-16)) return 0
  const zeta = (beta - alpha) / (2 * gamma)
  const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta))
  const c = 1 / Math.sqrt(1 + t * t)
  for (const { data, columns } of [work, turned])
    for (let i = 0; i < columns; i++) {
      const [x, y] = [data[p * columns + i]!, data[q * columns + i]!]
      data[p * columns + i] = c * x - c * t * y
      data[q * columns + i] = c * t * x + c * y
    }
  return cosine
}

function sorted(work: Matrix, turned: Matrix): Svd {
  const [n, m] = [work.rows, work.columns]
  const lengths = Array.from({ length: n }, (_, j) => Math.hypot(...work.data.subarray(j * m, (j + 1) * m)))
  const order = lengths.map((_, j) => j).sort((x, y) => nth(lengths, y) - nth(lengths, x))
  const u = new Float64Array(m * n)
  const v = new Float64Array(n * n)
  order.forEach((from, to) => {
    const length = nth(lengths, from)
    for (let i = 0; i < m; i++) u[i * n + to] = length > 0 ? work.data[from * m + i]! / length : 0
    for (let i = 0; i < n; i++) v[i * n + to] = turned.data[from * n + i]!
  })
  const values = Float64Array.from(order, from => nth(lengths, from))
  return { u: { rows: m, columns: n, data: u }, values, v: { rows: n, columns: n, data: v } }
}

function identity(n: number): Matrix {
  const data = new Float64Array(n * n)
  for (let i = 0; i < n; i++) data[i * (n + 1)] = 1
  return { rows: n, columns: n, data }
}

/** The SVD of b a, b [out, r], a [r, in], through those of the factors: nothing of [out, in] is made. */
export function productSvd(b: Matrix, a: Matrix): Svd {
  const [left, right] = [jacobiSvd(b), jacobiSvd(a)]
  const scaled = (values: Float64Array, rows: Matrix) => {
    const data = rows.data.map((x, at) => x * values[Math.floor(at / rows.columns)]!)
    return { ...rows, data }
  }
  // b a = Ub (Sb Vbᵀ Ua Sa) Vaᵀ
  const middle = product(scaled(left.values, transposed(left.v)), transposed(scaled(right.values, transposed(right.u))))
  const { u, values, v } = jacobiSvd(middle)
  return { u: product(left.u, u), values, v: product(right.v, v) }
}

/**
 * R⁻¹, upper triangular, of a symmetric a = Rᵀ R (Cholesky). A column that depends on those before it, to 10⁻¹⁴, is
 * zero: so where a = yᵀ y, the columns of y R⁻¹ are orthonormal or zero.
 */
export function inverseCholesky({ rows: n, data: a }: Matrix): Matrix {
  // Rows of Rᵀ and of R⁻ᵀ: what is summed over lies in a row.
  const lower: Float64Array[] = []
  const inverse: Float64Array[] = []
  for (let j = 0; j < n; j++) {
    const row = new Float64Array(n)
    const turned = new Float64Array(n)
    for (const [i, other] of lower.entries()) {
      const length = other[i] ?? 0
      row[i] = length > 0 ? ((a[i * n + j] ?? 0) - dot(row, other, i)) / length : 0
    }
    const whole = a[j * (n + 1)] ?? 0
    const square = whole - dot(row, row, j)
    if (square > 1e-14 * whole) {
      const length = Math.sqrt(square)
      row[j] = length
      turned[j] = 1 / length
      for (const [i, other] of inverse.entries())
        for (let k = 0; k <= i; k++) turned[k] = (turned[k] ?? 0) - ((row[i] ?? 0) * (other[k] ?? 0)) / length
    }
    lower.push(row)
    inverse.push(turned)
  }
  return transposed({ rows: n, columns: n, data: Float64Array.from(inverse.flatMap(row => [...row])) })
}

function dot(x: Float64Array, y: Float64Array, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) sum += (x[i] ?? 0) * (y[i] ?? 0)
  return sum
}

/** Frobenius. */
export function norm({ data }: Matrix): number {
  return Math.sqrt(data.reduce((sum, x) => sum + x * x, 0))
}

/**
 * The largest `rank` singular values of a matrix with their vectors, by a randomised range finder with subspace
 * iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1). The same for the same matrix.
 */
export function randomizedSvd(a: Matrix, rank: number, iterations = 6): Svd {
  const least = Math.min(a.rows, a.columns)
  const width = Math.min(least, rank + 10)
  if (2 * width >= least) return jacobiSvd(a)
  const flipped = transposed(a)
  const start = matrix(a.columns, width, normal(a.columns * width, 1, 0, 'svd'))
  let range = orthonormal(product(a, start))
  for (let i = 0; i < iterations; i++) range = orthonormal(product(a, orthonormal(product(flipped, range))))
  const { u, values, v } = jacobiSvd(product(transposed(range), a))
  return { u: product(range, u), values, v }
}

/** The columns made orthonormal, by Gram-Schmidt done twice; one that depends on those before it becomes zero. */
function orthonormal(a: Matrix): Matrix {
  const rows = transposed(a)
  const column = (j: number) => rows.data.subarray(j * a.rows, (j + 1) * a.rows)
  for (let j = 0; j < a.columns; j++) {
    const own = column(j)
    const before = Math.hypot(...own)
    for (let pass = 0; pass < 2; pass++)
      for (let k = 0; k < j; k++) {
        const other = column(k)
        const dot = own.reduce((sum, x, i) => sum + x * other[i]!, 0)
        for (let i = 0; i < own.length; i++) own[i]! -= dot * other[i]!
      }
    const length = Math.hypot(...own)
    for (let i = 0; i < own.length; i++) own[i] = length > 1e-12 * before ? own[i]! / length : 0
  }
  return transposed(rows)
}
