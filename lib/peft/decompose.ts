// Decompositions of weights by products on the device: only what is [rank, rank] is read and worked on here. Vectors of
// the input side are rows x [k, n], those of the output side columns y [m, k]: so w xᵀ and yᵀ w read w as it is stored.

import type { DType } from '../native.ts'
import { uniform } from '../nn/init.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { linear } from '../ops/linear.ts'
import { matmul, matmulInner } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { mapTuple, nth } from '../tuple.ts'
import { inverseCholesky, jacobiSvd, type Matrix, matrix } from './linearAlgebra.ts'

/** Singular vectors u [m, r] and vt [r, n] of the largest singular values, on the device; the caller frees both. */
export interface TopSvd {
  readonly u: Tensor
  readonly vt: Tensor
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

/** More vectors than are asked for: the wanted ones converge faster. With rank 8, 16 columns: a thin product. */
const OVERSAMPLING = 8
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
  const random = uniform(width * n, 1, seed, `${name}.svd`)
  let right = Tensor.from(random, [width, n], { device: w.device, dtype: w.dtype })
  for (let pass = 0; pass < (iterations ?? 1); pass++) {
    const next = scope(() => squared(w, right))
    right.dispose()
    right = await spread(next, ROWS)
  }
  if (iterations === undefined && width < Math.min(m, n)) right = await settled(w, right, rank)
  const left = await base(w, right, iterations === undefined ? 'f64' : w.dtype)
  right.dispose()
  const found = await ritz(w, left, rank)
  left.dispose()
  return found
}

/** wᵀ w on rows. */
const squared = (w: Tensor, x: Tensor): Tensor => matmulInner(linear(w, x, undefined), w)

/** An orthonormal base of what w makes of rows. */
async function base(w: Tensor, right: Tensor, dtype: DType): Promise<Tensor> {
  return await orthonormal(await spread(linear(w, right, undefined), COLUMNS), dtype)
}

/** Rows whose span holds the singular vectors, as far as rounding goes; those given are freed. */
async function settled(w: Tensor, start: Tensor, rank: number): Promise<Tensor> {
  let right = start
  let [before, sine]: [Tensor | undefined, number] = [undefined, 1]
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const left = await base(w, right, 'f64')
    right.dispose()
    const { u, vt, values } = await ritz(w, left, left.columns)
    left.dispose()
    const last = sine
    sine = before ? await sineBetween(before, u, rank) : 1
    before?.dispose()
    before = u
    right = vt
    if (sine < CONVERGED || (sine < ROUNDED && sine > last / 4)) break
    right = await filtered(w, vt, values, rank)
    vt.dispose()
  }
  before?.dispose()
  return right
}

/** How much more of the first singular vector than of the last wanted one a polynomial may bring: f32 holds both. */
const MOST_GROWTH = 1e3
/** Of a polynomial, and of all in a round. */
const MOST_DEGREE = 24
const LEAST_DEGREE = 6

/** Polynomials of wᵀ w on the rows of x, small where its eigenvalues are below those of x's span. */
async function filtered(w: Tensor, x: Tensor, values: Float64Array, rank: number): Promise<Tensor> {
  const [high, low, least] = mapTuple([0, rank - 1, values.length - 1], at => nth(values, at) ** 2)
  const half = Math.max(least / 2, 1e-30)
  const growth = Math.acosh(Math.max(1, high / half - 1)) - Math.acosh(Math.max(1, low / half - 1))
  const degree = Math.max(1, Math.min(MOST_DEGREE, Math.floor(Math.log(MOST_GROWTH) / Math.max(growth, 1e-9))))
  let found = chebyshev(w, x, { degree, half, high })
  for (let done = degree; done < LEAST_DEGREE; done += degree) {
    const apart = await spread(found, ROWS)
    found = chebyshev(w, apart, { degree, half, high })
    apart.dispose()
  }
  return found
}

/** T(wᵀ w) on rows of the Chebyshev polynomial that is small on [0, 2 half], scaled to 1 at `high`. */
function chebyshev(w: Tensor, x: Tensor, { degree, half, high }: Readonly<Record<'degree' | 'half' | 'high', number>>) {
  return scope(() => {
    const apply = (y: Tensor, factor: number) => scale(add(squared(w, y), scale(y, -half)), factor)
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
  const z = matmulInner(q, w)
  const { u, values } = jacobiSvd(await gramOf(z, ROWS, 'f64'))
  const lengths = values.slice(0, rank).map(value => Math.sqrt(Math.max(0, value)))
  const columns = (scaled: (k: number) => number) => {
    const data = Float64Array.from({ length: u.rows * rank }, (_, at) => {
      const [i, k] = [Math.floor(at / rank), at % rank]
      return (u.data[i * u.columns + k] ?? 0) * scaled(k)
    })
    return Tensor.from(data, [u.rows, rank], { device: w.device, dtype: w.dtype })
  }
  const whole = () => columns(() => 1)
  const found = scope(() => [
    matmul(q, whole()),
    matmulInner(
      columns(k => (lengths[k] ? 1 / lengths[k] : 0)),
      z,
    ),
  ])
  z.dispose()
  return { u: nth(found, 0), vt: nth(found, 1), values: lengths }
}

/** Squared sine of the angle between the spans of the first `rank` orthonormal columns, summed over all of them. */
async function sineBetween(a: Tensor, b: Tensor, rank: number): Promise<number> {
  const both = scope(() => matmulInner(copyOf(a, 'f64'), copyOf(b, 'f64')))
  const cosines = Float64Array.from(await both.data())
  both.dispose()
  const isWanted = (at: number) => at % b.columns < rank && at < rank * b.columns
  return Math.abs(rank - cosines.reduce((sum, x, at) => (isWanted(at) ? sum + x * x : sum), 0))
}

/** Which vectors are meant: how their products with each other are made, and their sums. */
interface Side {
  readonly gram: (x: Tensor) => Tensor
  readonly turned: (x: Tensor, by: Tensor) => Tensor
}
const ROWS: Side = { gram: x => linear(x, x, undefined), turned: (x, by) => matmulInner(by, x) }
const COLUMNS: Side = { gram: y => matmulInner(y, y), turned: matmul }

/** The columns of y, which is freed, made orthonormal in their order (Cholesky QR); dependent ones become zero. */
export async function orthonormal(y: Tensor, dtype: DType = 'f64'): Promise<Tensor> {
  return turned(y, COLUMNS, await gramOf(y, COLUMNS, dtype), dtype)
}

/**
 * Vectors of the span of those of x, which is freed, far enough from each other for another product. In x's own
 * dtype: at this accuracy small directions are noise, hence the shift (Fukaya et al. 2020).
 */
async function spread(x: Tensor, side: Side): Promise<Tensor> {
  const gram = await gramOf(x, side, x.dtype)
  const onDiagonal = (at: number) => at % (gram.rows + 1) === 0
  const trace = gram.data.reduce((sum, value, at) => (onDiagonal(at) ? sum + value : sum), 0)
  const data = gram.data.map((value, at) => (onDiagonal(at) ? value + 1e-6 * trace : value))
  return turned(x, side, { ...gram, data }, x.dtype)
}

/** The vectors of x, which is freed, by the inverse of gram's Cholesky factor. */
function turned(x: Tensor, side: Side, gram: Matrix, dtype: DType): Tensor {
  const { rows, columns, data } = inverseCholesky(gram)
  const found = scope(() => {
    const by = Tensor.from(data, [rows, columns], { device: x.device, dtype })
    return cast(side.turned(cast(x, dtype), by), x.dtype)
  })
  x.dispose()
  return found
}

/** Products of the vectors with each other. */
async function gramOf(x: Tensor, side: Side, dtype: DType): Promise<Matrix> {
  const gram = scope(() => side.gram(cast(x, dtype)))
  const { rows, columns } = gram
  const data = await gram.data()
  gram.dispose()
  return matrix(rows, columns, data)
}
