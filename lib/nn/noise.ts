// NEFTune (Jain et al. 2023): uniform noise on the word embeddings while a model trains.

import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { dropout } from '../ops/dropout.ts'
import { isRandom, site } from '../ops/random.ts'
import { scale } from '../ops/scale.ts'
import { Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'

/** Noise in force on the embeddings of `owner`, for the sequences of a batch. */
let current: { owner: object; alpha: number; cuSeqlens: Int32Array } | undefined

/** Runs `body`, in which the embedding `owner` gives rows with noise, while masks are drawn. */
export function withNoise<T>(owner: object, alpha: number, cuSeqlens: Int32Array, body: () => T): T {
  const outer = current
  current = alpha > 0 ? { owner, alpha, cuSeqlens } : undefined
  try {
    return body()
  } finally {
    current = outer
  }
}

/** Runs `body` on other sequences than those that the noise in force is for. */
export function noiseFor<T>(cuSeqlens: Int32Array, body: () => T): T {
  return current ? withNoise(current.owner, current.alpha, cuSeqlens, body) : body()
}

/** Bits of a number that is drawn. */
const BITS = 8

/**
 * Rows [N, D] with noise from −a to a, a = alpha / √(L · D) in a sequence of L tokens. Each bit of it is a dropout of
 * one half, so that the noise is keyed as masks are: by the run's seed, step and token, however a step is cut.
 */
export function noisyRows(owner: object, rows: Tensor): Tensor {
  const { rows: tokens, columns: width } = rows
  if (current?.owner !== owner || !isRandom() || current.cuSeqlens.at(-1) !== tokens) return rows
  const { alpha, cuSeqlens } = current
  const half = new Float32Array(tokens * width)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    const [from, to] = [nth(cuSeqlens, s), nth(cuSeqlens, s + 1)]
    half.fill(alpha / Math.sqrt((to - from) * width) / 2, from * width, to * width)
  }
  const base = Tensor.from(half, [tokens, width], { device: rows.device })
  // A dropout of one half gives 0 or twice what it is given: the sum is even over 0 to 2a.
  let noise = scale(base, -2 * (1 - 2 ** -BITS))
  for (let bit = 0; bit < BITS; bit++)
    noise = add(noise, scale(dropout(base, 0.5, site('embeddings', `noise${bit}`)), 2 ** -bit))
  return add(rows, cast(noise, rows.dtype))
}
