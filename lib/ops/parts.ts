// Ops that draw masks over rows of several runs: one call for each run's, with the masks that it draws alone.

import { concatRows, rowViews } from '../autograd/rows.ts'
import type { Tensor } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'
import { type RandomPart, randomParts, withRandom } from './random.ts'

/**
 * What `body` makes of the rows of each run, joined: `of` gives the rows of an input, all of which have as many. To be
 * called where rows are of several runs.
 */
export function byPart<const O extends readonly Tensor[]>(
  inputs: readonly (Tensor | undefined)[],
  body: (of: (input: Tensor) => Tensor, part: RandomPart) => O,
): Each<O, Tensor> {
  const parts = must(randomParts(), 'parts')
  const heights = parts.map(({ rows }) => rows)
  const cut = new Map<Tensor, Tensor[]>()
  for (const input of inputs) if (input) cut.set(input, rowViews(input, heights))
  const made = parts.map((part, i) => {
    const of = (input: Tensor) => nth(must(cut.get(input), 'input'), i)
    return withRandom(part.random, () => body(of, part))
  })
  return mapTuple(nth(made, 0), (_, k) => concatRows(made.map(each => nth(each, k))))
}
