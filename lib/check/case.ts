// What the op table is made of. It drives the gradient check, fast against f64, one against many threads, GPU against
// CPU, `doctor --kernels` and the benchmark.

import { type StepRandom, withRandom } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'

export interface CaseInput {
  shape: readonly number[]
  data: Float64Array | Int32Array
  /** Whether the gradient is checked; only f64 data. Default true for f64. */
  grad?: boolean
  /** Stays f32 where activations are bf16, as what trains in tables and frozen position biases do. */
  wide?: boolean
}

/** The inputs of a case as tensors, as many as it has: it takes apart only these. */
export type Operands = readonly [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, ...Tensor[]]

/** Tensors as the operands of a case. */
export function operands(tensors: readonly Tensor[]): Operands {
  return tensors as Operands
}

export interface OpCase {
  name: string
  inputs: CaseInput[]
  run(inputs: Operands): Tensor
  /** Allowed error of f32 against f64, relative to the largest value. Default 2e-6. */
  tolerance?: number
}

/** Smooth, reproducible, with no symmetry that could hide a mistake. */
export function wave(n: number, phase = 0.3, amplitude = 1): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => amplitude * Math.sin(0.73 * i + phase + 0.001 * i * i))
}

export const real = (shape: number[], phase = 0.3, amplitude = 1): CaseInput => ({
  shape,
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    phase,
    amplitude,
  ),
})
export const ints = (...data: number[]): CaseInput => ({ shape: [data.length], data: Int32Array.from(data) })

const RANDOM: StepRandom = { seed: 1234567890123, step: 3, rowOffset: 5, sequenceOffset: 2 }
export const training = (f: (t: Operands) => Tensor) => (t: Operands) => withRandom(RANDOM, () => f(t))

/** Small enough for central differences; large enough for the fast code's blocks and tails; or as in BERT-base. */
export type Size = 'small' | 'large' | 'bench'

export const SIZES = {
  small: { n: 5, d: 6, out: 7, r: 3, heads: 2, headDim: 3, lengths: [0, 2, 5] },
  large: { n: 67, d: 96, out: 83, r: 8, heads: 2, headDim: 16, lengths: [0, 33, 34, 67] },
  bench: {
    n: 2048,
    d: 768,
    out: 3072,
    r: 8,
    heads: 12,
    headDim: 64,
    lengths: Array.from({ length: 17 }, (_, i) => 128 * i),
  },
}

export type CaseSizes = (typeof SIZES)[Size]
