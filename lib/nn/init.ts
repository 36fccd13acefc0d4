// Initial values, drawn on the host. Each tensor has a stream of its own, keyed by the run's seed and the tensor's
// name, so that adding a parameter never changes another's start.

import { hash } from '../ops/random.ts'
import { sfc32 } from '../random.ts'

/** Uniform numbers in [0, 1). */
export function uniformStream(seed: number, name: string): () => number {
  return sfc32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, hash(name))
}

/** n normal numbers (Box-Muller) of mean 0 and the given standard deviation. */
export function normal(n: number, std: number, seed: number, name: string): Float32Array {
  const next = uniformStream(seed, name)
  const out = new Float32Array(n)
  for (let i = 0; i < n; i += 2) {
    const radius = std * Math.sqrt(-2 * Math.log(1 - next()))
    const angle = 2 * Math.PI * next()
    out[i] = radius * Math.cos(angle)
    if (i + 1 < n) out[i + 1] = radius * Math.sin(angle)
  }
  return out
}

/** n uniform numbers in [-bound, bound). */
export function uniform(n: number, bound: number, seed: number, name: string): Float32Array {
  const next = uniformStream(seed, name)
  const out = new Float32Array(n)
  for (let i = 0; i < n; i++) out[i] = (2 * next() - 1) * bound
  return out
}
