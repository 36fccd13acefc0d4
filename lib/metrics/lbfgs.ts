// Limited-memory BFGS (Nocedal and Wright, algorithm 7.4) with a backtracking line search, for smooth convex functions.

import type { Pieces } from '../io/turn.ts'
import { must } from '../tuple.ts'

export interface LbfgsOptions {
  readonly memory?: number
  readonly iterations?: number
  /** Stops when no component of the gradient is larger. */
  readonly tolerance?: number
}

type Pair = { s: Float64Array; y: Float64Array; rho: number }

/** Minimises `evaluate`, which returns the value at x and writes the gradient, starting at and overwriting `x`. */
export function* minimise(
  x: Float64Array,
  evaluate: (x: Float64Array, gradient: Float64Array) => Pieces<number>,
  { memory = 10, iterations = 500, tolerance = 1e-5 }: LbfgsOptions = {},
): Pieces<{ value: number; iterations: number }> {
  const pairs: Pair[] = []
  let gradient = new Float64Array(x.length)
  let value = yield* evaluate(x, gradient)
  let done = 0
  for (; done < iterations && largest(gradient) > tolerance; done++) {
    const direction = descent(gradient, pairs)
    yield
    const slope = dot(direction, gradient)
    const next = new Float64Array(x.length)
    const nextGradient = new Float64Array(x.length)
    let nextValue = Number.POSITIVE_INFINITY
    let step = pairs.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(gradient, gradient))) : 1
    for (; step > 1e-12; step /= 2) {
      for (let i = 0; i < x.length; i++) next[i] = x[i]! + step * direction[i]!
      nextValue = yield* evaluate(next, nextGradient)
      if (nextValue <= value + 1e-4 * step * slope) break
    }
    if (!(nextValue < value)) break
    remember(pairs, memory, subtract(next, x), subtract(nextGradient, gradient))
    x.set(next)
    gradient = nextGradient
    value = nextValue
  }
  return { value, iterations: done }
}

/** Two-loop recursion: −H·gradient. */
function descent(gradient: Float64Array, pairs: readonly Pair[]): Float64Array {
  const q = new Float64Array(gradient.length)
  accumulate(q, gradient, -1)
  const alphas: number[] = []
  for (const { s, y, rho } of pairs.toReversed()) {
    const alpha = rho * dot(s, q)
    alphas.push(alpha)
    accumulate(q, y, -alpha)
  }
  const last = pairs.at(-1)
  if (last) {
    const scale = 1 / (last.rho * dot(last.y, last.y))
    for (let i = 0; i < q.length; i++) q[i]! *= scale
  }
  for (const { s, y, rho } of pairs) accumulate(q, s, must(alphas.pop(), 'alpha') - rho * dot(y, q))
  return q
}

/** Keeps a pair only where the function curves upwards along it. */
function remember(pairs: Pair[], memory: number, s: Float64Array, y: Float64Array): void {
  const curvature = dot(s, y)
  if (curvature <= 1e-12 * dot(y, y)) return
  pairs.push({ s, y, rho: 1 / curvature })
  if (pairs.length > memory) pairs.shift()
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

function accumulate(to: Float64Array, from: Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += factor * from[i]!
}

function subtract(a: Float64Array, b: Float64Array): Float64Array {
  const difference = a.slice()
  accumulate(difference, b, -1)
  return difference
}

function largest(vector: Float64Array): number {
  let most = 0
  for (let i = 0; i < vector.length; i++) most = Math.max(most, Math.abs(vector[i]!))
  return most
}
