// The leading eigenvectors of a sparse symmetric matrix: subspace iteration (Halko, Martinsson, Tropp 2011, 4.4).
import { random } from './random.ts'

/** A square sparse matrix by rows: row r holds `columns[i]`, `values[i]` for i in `starts[r] … starts[r + 1]`. */
export interface SparseMatrix {
  readonly starts: Uint32Array
  readonly columns: Uint16Array
  readonly values: Float32Array
}

const OVERSAMPLING = 32
const ROUNDS = 6

/** `count` eigenvalues largest in size, and their eigenvectors as columns of a row-major [n, count] matrix. */
export function leadingEigenpairs(
  m: SparseMatrix,
  count: number,
  seed: number,
): { values: number[]; vectors: Float64Array } {
  const n = m.starts.length - 1
  const width = Math.min(n, count + OVERSAMPLING)
  const next = random(seed)
  let q: Float64Array = Float64Array.from({ length: n * width }, () => next() - 0.5)
  for (let round = 0; round < ROUNDS; round++) {
    q = multiply(m, q, width)
    orthonormalise(q, width)
  }
  const small = project(q, multiply(m, q, width), width)
  const { values, vectors } = jacobi(small, width)
  const order = values
    .map((_, i) => i)
    .sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!))
    .slice(0, count)
  const out = new Float64Array(n * count)
  for (let r = 0; r < n; r++)
    for (const [c, from] of order.entries()) {
      let sum = 0
      for (let k = 0; k < width; k++) sum += q[r * width + k]! * vectors[k * width + from]!
      out[r * count + c] = sum
    }
  return { values: order.map(i => values[i]!), vectors: out }
}

/** M·Q for a row-major [n, width] Q. */
function multiply(m: SparseMatrix, q: Float64Array, width: number): Float64Array {
  const out = new Float64Array(q.length)
  for (let r = 0; r + 1 < m.starts.length; r++) {
    const row = out.subarray(r * width, (r + 1) * width)
    for (let i = m.starts[r]!; i < m.starts[r + 1]!; i++) {
      const value = m.values[i]!
      const at = m.columns[i]! * width
      for (let k = 0; k < width; k++) row[k]! += value * q[at + k]!
    }
  }
  return out
}

/** Makes the columns orthonormal: Cholesky of QᵀQ, twice, since one pass loses digits where columns are close. */
function orthonormalise(q: Float64Array, width: number): void {
  for (let pass = 0; pass < 2; pass++) {
    const l = cholesky(project(q, q, width), width)
    for (let r = 0; r < q.length; r += width)
      for (let i = 0; i < width; i++) {
        let sum = q[r + i]!
        for (let k = 0; k < i; k++) sum -= l[i * width + k]! * q[r + k]!
        q[r + i] = sum / l[i * width + i]!
      }
  }
}

/** AᵀB of two row-major [n, width] matrices. */
function project(a: Float64Array, b: Float64Array, width: number): Float64Array {
  const out = new Float64Array(width * width)
  for (let r = 0; r < a.length; r += width)
    for (let i = 0; i < width; i++) {
      const left = a[r + i]!
      for (let k = 0; k < width; k++) out[i * width + k]! += left * b[r + k]!
    }
  return out
}

function cholesky(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!
      l[i * n + j] = i === j ? Math.sqrt(Math.max(sum, 1e-300)) : sum / l[j * n + j]!
    }
  return l
}

/** Eigenvalues and eigenvectors (columns) of a dense symmetric matrix by cyclic Jacobi rotations. */
function jacobi(matrix: Float64Array, n: number): { values: number[]; vectors: Float64Array } {
  const a = matrix.slice()
  const v = new Float64Array(n * n)
  for (let i = 0; i < n; i++) v[i * n + i] = 1
  const scale = Math.hypot(...a)
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        off = Math.max(off, Math.abs(a[p * n + q]!))
        rotate(a, v, n, p, q)
      }
    if (off <= 1e-12 * scale) break
  }
  return { values: Array.from({ length: n }, (_, i) => a[i * n + i]!), vectors: v }
}

function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q]!
  if (apq === 0) return
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq)
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let k = 0; k < n; k++) turn(a, k * n + p, k * n + q, c, s)
  for (let k = 0; k < n; k++) turn(a, p * n + k, q * n + k, c, s)
  for (let k = 0; k < n; k++) turn(v, k * n + p, k * n + q, c, s)
}

function turn(a: Float64Array, i: number, j: number, c: number, s: number): void {
  const x = a[i]!
  const y = a[j]!
  a[i] = c * x - s * y
  a[j] = s * x + c * y
}
