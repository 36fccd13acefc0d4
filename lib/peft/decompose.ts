// Decompositions of weights by products on the device: only what is [rank, rank] is read and worked on here.

import type { DType } from '../native.ts'
import { normal } from '../nn/init.ts'
import { matmul, matmulInner } from '../ops/matmul.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { inverseCholesky, jacobiSvd, type Matrix, matrix } from './linearAlgebra.ts'

/** Singular vectors u [m, r] and v [n, r] of the largest singular values, on the device; the caller frees both. */
export interface TopSvd {
  readonly u: Tensor
  readonly v: Tensor
  readonly values: Float64Array
}

/** How far {@link topSvd} goes. */
interface SvdEffort {
  /** Passes of subspace iteration; undefined: until the vectors stay. */
  readonly iterations?: number | undefined
  /** Keys the random start. */
  readonly seed: number
  readonly name: string
}

/** More vectors than are asked for: the wanted ones converge faster. */
const OVERSAMPLING = 10
/** Squared sine between one pass's vectors and the next's: rounding of f32 products is near it. */
const CONVERGED = 1e-12
const MOST_PASSES = 300

/**
 * The largest `rank` singular values of w [m, n] (f32 or f64) with their vectors: randomised subspace iteration
 * (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1).
 */
export async function topSvd(w: Tensor, rank: number, { iterations, seed, name }: SvdEffort): Promise<TopSvd> {
  const [m, n] = [w.rows, w.columns]
  const width = Math.min(m, n, rank + OVERSAMPLING)
  const random = Tensor.from(normal(n * width, 1, seed, `${name}.svd`), [n, width], {
    device: w.device,
    dtype: w.dtype,
  })
  let left = await spread(matmul(w, random))
  random.dispose()
  let before: Tensor | undefined
  for (let pass = 0; pass < (iterations ?? MOST_PASSES); pass++) {
    const right = await spread(matmulInner(w, left))
    left.dispose()
    left = await spread(matmul(w, right))
    right.dispose()
    if (iterations !== undefined || pass % 4 < 3) continue
    left = await orthonormal(left)
    const { u, v } = await ritz(w, left, rank)
    v.dispose()
    const sine = before ? await sineBetween(before, u) : 1
    before?.dispose()
    before = u
    if (sine < CONVERGED) break
  }
  before?.dispose()
  left = await orthonormal(left)
  const found = await ritz(w, left, rank)
  left.dispose()
  return found
}

/** The best singular values and vectors whose left ones lie in the span of the columns of q. */
async function ritz(w: Tensor, q: Tensor, rank: number): Promise<TopSvd> {
  const z = matmulInner(w, q)
  const { u, values } = jacobiSvd(await gramOf(z))
  const lengths = values.slice(0, rank).map(value => Math.sqrt(Math.max(0, value)))
  const columns = (scaled: (k: number) => number) => {
    const data = Float64Array.from({ length: u.rows * rank }, (_, at) => {
      const [i, k] = [Math.floor(at / rank), at % rank]
      return (u.data[i * u.columns + k] ?? 0) * scaled(k)
    })
    return Tensor.from(data, [u.rows, rank], { device: w.device, dtype: w.dtype })
  }
  const left = scope(() =>
    matmul(
      q,
      columns(() => 1),
    ),
  )
  const right = scope(() =>
    matmul(
      z,
      columns(k => (lengths[k] ? 1 / lengths[k] : 0)),
    ),
  )
  z.dispose()
  return { u: left, v: right, values: lengths }
}

/** Squared sine of the angle between the spans of orthonormal columns, summed over all of them. */
async function sineBetween(a: Tensor, b: Tensor): Promise<number> {
  const both = scope(() => matmulInner(copyOf(a, 'f64'), copyOf(b, 'f64')))
  const cosines = Float64Array.from(await both.data())
  both.dispose()
  return Math.abs(a.columns - cosines.reduce((sum, x) => sum + x * x, 0))
}

/** The columns of y, which is freed, made orthonormal in their order (Cholesky QR); dependent ones become zero. */
export async function orthonormal(y: Tensor): Promise<Tensor> {
  const inverse = inverseCholesky(await gramOf(y))
  const k = y.columns
  const q = scope(() => {
    const turn = Tensor.from(inverse.data, [k, k], { device: y.device, dtype: 'f64' })
    return copyOf(matmul(copyOf(y, 'f64'), turn), y.dtype)
  })
  y.dispose()
  return q
}

/**
 * Columns of the span of those of y, which is freed, far enough from each other for another product. In y's own
 * dtype: at this accuracy small directions are noise, hence the shift (Fukaya et al. 2020).
 */
async function spread(y: Tensor): Promise<Tensor> {
  const gram = await gramOf(y, y.dtype)
  const k = gram.rows
  const onDiagonal = (at: number) => at % (k + 1) === 0
  const trace = gram.data.reduce((sum, x, at) => (onDiagonal(at) ? sum + x : sum), 0)
  const data = gram.data.map((x, at) => (onDiagonal(at) ? x + 1e-6 * trace : x))
  const q = scope(() =>
    matmul(y, Tensor.from(inverseCholesky({ ...gram, data }).data, [k, k], { device: y.device, dtype: y.dtype })),
  )
  y.dispose()
  return q
}

/** yᵀ y. */
async function gramOf(y: Tensor, dtype: DType = 'f64'): Promise<Matrix> {
  const gram = scope(() => {
    const wide = dtype === y.dtype ? y : copyOf(y, dtype)
    return matmulInner(wide, wide)
  })
  const data = await gram.data()
  gram.dispose()
  return matrix(y.columns, y.columns, data)
}
