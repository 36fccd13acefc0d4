// Which rows of a packed batch go through which adapter: consecutive rows: each part is a view, or a group of an op.

import { concatRows, rowViews } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import { countingRows } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'

/** Consecutive rows that go through one adapter, whether it is switched on or not; null: through the base alone. */
export interface Route {
  readonly adapter: string | null
  readonly rows: number
}

/** The routes in force, over all rows of the batch, or of what a head selected from it. */
let routes: readonly Route[] | undefined
/** Of a decoder: the routes over what its encoder read. */
let read: readonly Route[] | undefined
/** Whose rows are computed now; undefined outside of a part. */
let inside: string | null | undefined

/** Runs `body`, a forward pass, with each row through its route's adapter. Backward needs no routes. */
export function withRoutes<T>(given: readonly Route[], body: () => T): T {
  const joined: Route[] = []
  for (const { adapter, rows } of given.filter(route => route.rows > 0)) {
    const last = joined.at(-1)
    if (last?.adapter === adapter) joined[joined.length - 1] = { adapter, rows: last.rows + rows }
    else joined.push({ adapter, rows })
  }
  return during(joined, undefined, body)
}

/** Runs `body` with all rows through one adapter, whether it is switched on or not; null: through the base alone. */
export function throughAdapter<T>(adapter: string | null, body: () => T): T {
  return during([], adapter, body)
}

/** Runs `body`, whose rows are `selected` of the batch's, in ascending order: what a head reads. */
export function withSelectedRoutes<T>(selected: ArrayLike<number>, body: () => T): T {
  if (!routes || !isUndecided()) return body()
  let end = 0
  let at = 0
  const remapped = routes.map(({ adapter, rows }) => {
    end += rows
    const from = at
    while (at < selected.length && nth(selected, at) < end) at++
    return { adapter, rows: at - from }
  })
  return withRoutes(remapped, body)
}

/**
 * Runs `body`, whose rows are tokens of the sequences `to`, one for each of those the routes are over: what a decoder
 * is to say. @throws ERR_SHAPE for a route that ends within a sequence
 */
export function withDecoderRoutes<T>(from: Int32Array, to: Int32Array, body: () => T): T {
  if (!routes || !isUndecided()) return body()
  const given = undecidedRoutes(from.at(-1) ?? 0)
  let [row, sequence] = [0, 0]
  const moved = given.map(({ adapter, rows }) => {
    const first = sequence
    row += rows
    while (sequence + 1 < from.length && nth(from, sequence + 1) <= row) sequence++
    check(nth(from, sequence) === row, 'ERR_SHAPE', () => {
      return `withRoutes: a route ends at row ${row}, within a sequence that an encoder reads; end it with one`
    })
    return { adapter, rows: nth(to, sequence) - nth(to, first) }
  })
  const outer = read
  read = given
  try {
    return withRoutes(moved, body)
  } finally {
    read = outer
  }
}

/** Runs `body`, a part of a decoder whose rows are those that its encoder read. */
export function withReadRoutes<T>(body: () => T): T {
  return read && isUndecided() ? during(read, undefined, body) : body()
}

/** The adapter of the rows that are being computed: null is the base, undefined that no route decides. */
export function routedAdapter(): string | null | undefined {
  return inside
}

/** Whether routes are in force of which none has been entered: then nobody can say which adapter a tensor is for. */
export function isUndecided(): boolean {
  return routes !== undefined && inside === undefined
}

/** The routes in force over `rows` rows, of which none has been entered. */
export function undecidedRoutes(rows: number): readonly Route[] {
  const given = must(routes, 'routes')
  const all = given.reduce((sum, route) => sum + route.rows, 0)
  check(rows === all, 'ERR_SHAPE', () => {
    return `withRoutes: the routes have ${all} rows, the batch ${rows}; give every row a route`
  })
  return given
}

/**
 * A layer by its routes: cuts the inputs, all of as many rows, and joins what `body` makes of each part. Without
 * routes, or with one for all rows, it is `body(inputs)`. Dropout counts rows from the start of the batch in each part.
 */
export function byRoute<const I extends readonly [Tensor, ...Tensor[]]>(
  inputs: I,
  body: (parts: Each<I, Tensor>, begin: number) => Tensor,
): Tensor {
  if (!isUndecided())
    return body(
      mapTuple(inputs, x => x),
      0,
    )
  const given = undecidedRoutes(inputs[0].rows)
  if (given.length === 1)
    return during(given, nth(given, 0).adapter, () =>
      body(
        mapTuple(inputs, x => x),
        0,
      ),
    )
  const heights = given.map(route => route.rows)
  const parts = mapTuple(inputs, input => rowViews(input, heights))
  let begin = 0
  const made = given.map(({ adapter, rows: height }, i) => {
    const from = begin
    begin += height
    const mine = mapTuple(inputs, (_, k) => nth(nth(parts, k), i))
    return countingRows(from, height, () => during(given, adapter, () => body(mine, from)))
  })
  return concatRows(made)
}

function during<T>(given: readonly Route[], adapter: string | null | undefined, body: () => T): T {
  const outer = { routes, inside }
  routes = given
  inside = adapter
  try {
    return body()
  } finally {
    routes = outer.routes
    inside = outer.inside
  }
}

/** Runs something later under the routes of now: a forward pass that backward runs again. */
export function asRouted(): <T>(body: () => T) => T {
  const now = { routes, read, inside }
  return body => {
    const outer = { routes, read, inside }
    ;({ routes, read, inside } = now)
    try {
      return body()
    } finally {
      ;({ routes, read, inside } = outer)
    }
  }
}
