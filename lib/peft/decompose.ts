// Decompositions of weights by products on the device: only what is [rank, rank] is read and worked on here.

import type { DType } from '../native.ts'
import { normal } from '../nn/init.ts'
import { add } from '../ops/add.ts'
import { matmul, matmulInner } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { mapTuple, nth } from '../tuple.ts'
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
/** Squared sine between the vectors of one round and the next: rounding of f32 products is near it. */
const CONVERGED = 1e-12
/** Below this it counts as rounding, where it falls no more: singular values that are close can't be told apart. */
const ROUNDED = 1e-7
const MOST_ROUNDS = 40

/**
 * The largest `rank` singular values of w [m, n] (f32 or f64) with their vectors: randomised subspace iteration
 * (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1); until the vectors stay, with Chebyshev polynomials
 * (Zhou and Saad 2007), which part close singular values in a fraction of the passes.
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
  for (let pass = 0; pass < (iterations ?? 1); pass++) {
    const right = await spread(matmulInner(w, left))
    left.dispose()
    left = await spread(matmul(w, right))
    right.dispose()
  }
  if (iterations === undefined && width < Math.min(m, n)) left = await settled(w, left, rank)
  left = await orthonormal(left)
  const found = await ritz(w, left, rank)
  left.dispose()
  return found
}

/** Columns whose span holds the singular vectors, as far as rounding goes; those given are freed. */
async function settled(w: Tensor, start: Tensor, rank: number): Promise<Tensor> {
  let left = start
  let [before, sine]: [Tensor | undefined, number] = [undefined, 1]
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const base = await orthonormal(left)
    const { u, v, values } = await ritz(w, base, base.columns)
    for (const each of [base, v]) each.dispose()
    const last = sine
    sine = before ? await sineBetween(before, u, rank) : 1
    before?.dispose()
    before = u
    left = u
    if (sine < CONVERGED || (sine < ROUNDED && sine > last / 4)) break
    left = await filtered(w, u, values, rank)
  }
  if (before !== left) before?.dispose()
  return left
}

/** How much more of the first singular vector than of the last wanted one a polynomial may bring: f32 holds both. */
const MOST_GROWTH = 1e3
/** Of a polynomial, and of all in a round. */
const MOST_DEGREE = 24
const LEAST_DEGREE = 6

/** Polynomials of w wᵀ on the columns of x, small where its eigenvalues are below those of x's span. */
async function filtered(w: Tensor, x: Tensor, values: Float64Array, rank: number): Promise<Tensor> {
  const [high, low, least] = mapTuple([0, rank - 1, values.length - 1], at => nth(values, at) ** 2)
  const half = Math.max(least / 2, 1e-30)
  const growth = Math.acosh(Math.max(1, high / half - 1)) - Math.acosh(Math.max(1, low / half - 1))
  const degree = Math.max(1, Math.min(MOST_DEGREE, Math.floor(Math.log(MOST_GROWTH) / Math.max(growth, 1e-9))))
  let found = chebyshev(w, x, { degree, half, high })
  for (let done = degree; done < LEAST_DEGREE; done += degree) {
    const apart = await spread(found)
    found = chebyshev(w, apart, { degree, half, high })
    apart.dispose()
  }
  return found
}

/** T(w wᵀ) x of the Chebyshev polynomial that is small on [0, 2 half], scaled to 1 at `high`. */
function chebyshev(w: Tensor, x: Tensor, { degree, half, high }: Readonly<Record<'degree' | 'half' | 'high', number>>) {
  return scope(() => {
    const apply = (y: Tensor, factor: number) => scale(add(matmul(w, matmulInner(w, y)), scale(y, -half)), factor)
    const first = half / (high - half)
    let sigma = first
    let [last, now] = [x, apply(x, sigma / half)]
    for (let k = 1; k < degree; k++) {
      const next = 1 / (2 / first - sigma)
      const grown = add(apply(now, (2 * next) / half), scale(last, -sigma * next))
      ;[last, now, sigma] = [now, grown, next]
    }
    return now
  })
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

/** Squared sine of the angle between the spans of the first `rank` orthonormal columns, summed over all of them. */
async function sineBetween(a: Tensor, b: Tensor, rank: number): Promise<number> {
  const both = scope(() => matmulInner(copyOf(a, 'f64'), copyOf(b, 'f64')))
  const cosines = Float64Array.from(await both.data())
  both.dispose()
  const isWanted = (at: number) => at % b.columns < rank && at < rank * b.columns
  return Math.abs(rank - cosines.reduce((sum, x, at) => (isWanted(at) ? sum + x * x : sum), 0))
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
