// One table of op cases. It drives the gradient check, fast against f64, one against many threads, and the benchmark.

import { ACTIVATIONS, activation } from '../../lib/ops/activation.ts'
import { add } from '../../lib/ops/add.ts'
import { type AttentionOptions, attention, attentionDecode } from '../../lib/ops/attention.ts'
import { bce } from '../../lib/ops/bce.ts'
import { crossEntropy } from '../../lib/ops/crossEntropy.ts'
import { dropout } from '../../lib/ops/dropout.ts'
import { embedding } from '../../lib/ops/embedding.ts'
import { gatedActivation } from '../../lib/ops/gatedActivation.ts'
import { layerNorm } from '../../lib/ops/layerNorm.ts'
import { linear } from '../../lib/ops/linear.ts'
import { linearCrossEntropy } from '../../lib/ops/linearCrossEntropy.ts'
import { loraLinear } from '../../lib/ops/loraLinear.ts'
import { loraLinearGroup } from '../../lib/ops/loraLinearGroup.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { mse } from '../../lib/ops/mse.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { type StepRandom, withRandom } from '../../lib/ops/random.ts'
import { rmsNorm } from '../../lib/ops/rmsNorm.ts'
import { rope } from '../../lib/ops/rope.ts'
import { scale } from '../../lib/ops/scale.ts'
import { sum, sumSquares } from '../../lib/ops/sum.ts'
import type { Tensor } from '../../lib/tensor.ts'
import type { Input } from '../support/gradcheck.ts'

export interface OpCase {
  name: string
  inputs: Input[]
  run(inputs: Tensor[]): Tensor
  /** Allowed error of f32 against f64, relative to the largest value. Default 2e-6. */
  tolerance?: number
}

/** Smooth, reproducible, with no symmetry that could hide a mistake. */
export function wave(n: number, phase = 0.3, amplitude = 1): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => amplitude * Math.sin(0.73 * i + phase + 0.001 * i * i))
}

const real = (shape: number[], phase = 0.3, amplitude = 1): Input => ({
  shape,
  data: wave(
    shape.reduce((a, b) => a * b, 1),
    phase,
    amplitude,
  ),
})
const ints = (...data: number[]): Input => ({ shape: [data.length], data: Int32Array.from(data) })

const RANDOM: StepRandom = { seed: 1234567890123, step: 3, rowOffset: 5, sequenceOffset: 2 }
const training = (f: (t: Tensor[]) => Tensor) => (t: Tensor[]) => withRandom(RANDOM, () => f(t))

/** Small enough for central differences; large enough for the fast code's blocks and tails; or as in BERT-base. */
export type Size = 'small' | 'large' | 'bench'

const SIZES = {
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

export function opCases(size: Size = 'small'): OpCase[] {
  const { n, d, out, r } = SIZES[size]
  const ids = Array.from({ length: n }, (_, i) => (i * 7) % 4)
  return [
    { name: 'add', inputs: [real([n, d]), real([n, d], 1)], run: ([a, b]) => add(a!, b!) },
    { name: 'add of one tensor twice', inputs: [real([n, d])], run: ([a]) => add(add(a!, a!), a!) },
    { name: 'multiply', inputs: [real([n, d]), real([n, d], 1)], run: ([a, b]) => multiply(a!, b!) },
    { name: 'scale', inputs: [real([n, d])], run: ([x]) => scale(x!, -1.7) },
    { name: 'sum', inputs: [real([n, d])], run: ([x]) => sum(x!), tolerance: 2e-5 },
    { name: 'sumSquares', inputs: [real([n, d])], run: ([x]) => sumSquares(x!) },
    ...ACTIVATIONS.map(kind => ({
      name: `activation ${kind}`,
      inputs: [real([n, d], 0.31, 3)],
      run: ([x]: Tensor[]) => activation(add(x!, x!), kind),
    })),
    ...ACTIVATIONS.map(kind => ({
      name: `gatedActivation ${kind}`,
      inputs: [real([n, d], 0.31, 3), real([n, d], 1)],
      run: ([gate, up]: Tensor[]) => gatedActivation(gate!, up!, kind),
    })),
    { name: 'dropout', inputs: [real([n, d])], run: training(([x]) => dropout(x!, 0.3, 77)) },
    { name: 'matmul', inputs: [real([n, d]), real([d, out], 1)], run: ([a, b]) => matmul(a!, b!) },
    ...[true, false].map(bias => ({
      name: `linear ${bias ? 'with' : 'without'} bias`,
      inputs: [real([n, d]), real([out, d], 1), ...(bias ? [real([out], 2)] : [])],
      run: ([x, w, b]: Tensor[]) => linear(x!, w!, b),
    })),
    ...[0, 0.25].map(p => ({
      name: `loraLinear dropout ${p}`,
      inputs: [real([n, d]), { ...real([out, d], 1), grad: false }, real([out], 2), real([r, d], 3), real([out, r], 4)],
      run: training(([x, w, bias, a, b]) =>
        loraLinear(x!, w!, bias, { a: a!, b: b!, scale: 1.5, dropout: p, site: 9 }),
      ),
    })),
    {
      name: 'loraLinear without bias, r 1',
      inputs: [real([n, d]), { ...real([out, d], 1), grad: false }, real([1, d], 3), real([out, 1], 4)],
      run: ([x, w, a, b]) => loraLinear(x!, w!, undefined, { a: a!, b: b!, scale: 2, dropout: 0, site: 9 }),
    },
    ...[0, 0.3].map(p => ({
      name: `loraLinearGroup dropout ${p}`,
      inputs: [
        real([n, d]),
        ...[1, 2, 3].flatMap(i => [
          { ...real([out, d], i), grad: false },
          real([out], i + 0.2),
          real([r, d], i + 0.4),
          real([out, r], i + 0.6),
        ]),
      ],
      run: training(([x, ...rest]) => {
        const layers = [0, 1, 2].map(i => {
          const [weight, bias, a, b] = rest.slice(4 * i, 4 * i + 4)
          const factors = { a: a!, b: b!, scale: 1.5 + i, dropout: p, site: 9 + i }
          return { weight: weight!, bias, factors }
        })
        const [q, k, v] = loraLinearGroup(x!, layers)
        return add(multiply(q!, k!), v!)
      }),
    })),
    { name: 'embedding', inputs: [real([4, d]), ints(...ids)], run: ([t, i]) => embedding(t!, i!) },
    {
      name: 'layerNorm',
      inputs: [real([n, d]), real([d], 1), real([d], 2)],
      run: ([x, w, b]) => layerNorm({ x: x!, weight: w!, bias: b, eps: 1e-5 }),
      tolerance: 5e-6,
    },
    ...[0, 0.2].map(p => ({
      name: `layerNorm with residual, dropout ${p}`,
      inputs: [real([n, d]), real([n, d], 5), real([d], 1), real([d], 2)],
      run: training(([x, y, w, b]) =>
        layerNorm({ x: x!, residual: y, weight: w!, bias: b, eps: 1e-5, dropout: { p, site: 3 } }),
      ),
      tolerance: 5e-6,
    })),
    ...normCases(n, d),
    ...ropeCases(SIZES[size]),
    ...attentionCases(SIZES[size]),
    ...lossCases(n),
    ...headCases(SIZES[size]),
  ]
}

function normCases(n: number, d: number): OpCase[] {
  const [x, residual, weight] = [real([n, d]), real([n, d], 5), real([d], 1)]
  const dropped = (p: number) => ({ p, site: 3 })
  return [
    {
      name: 'layerNorm of a residual stream',
      inputs: [x, weight, real([d], 2)],
      run: ([x, w, b]) => add(x!, layerNorm({ x: x!, weight: w!, bias: b, eps: 1e-5 })),
      tolerance: 5e-6,
    },
    {
      name: 'rmsNorm',
      inputs: [x, weight],
      run: ([x, w]) => rmsNorm({ x: x!, weight: w!, eps: 1e-6 }).y,
    },
    {
      name: 'rmsNorm of a residual stream',
      inputs: [x, weight],
      run: ([x, w]) => add(x!, rmsNorm({ x: x!, weight: w!, offset: 1, eps: 1e-6 }).y),
    },
    {
      name: 'rmsNorm, frozen',
      inputs: [x, { ...weight, grad: false }],
      run: ([x, w]) => rmsNorm({ x: x!, weight: w!, eps: 1e-6 }).y,
    },
    ...[0, 0.2].map(p => ({
      name: `rmsNorm with residual, dropout ${p}`,
      inputs: [x, residual, weight],
      run: training(([x, r, w]) => {
        const { y, h } = rmsNorm({ x: x!, residual: r, weight: w!, eps: 1e-6, dropout: dropped(p) })
        return multiply(add(y, h), h)
      }),
      tolerance: 5e-6,
    })),
  ]
}

function ropeCases({ n, heads, headDim }: (typeof SIZES)[Size]): OpCase[] {
  const positions = ints(...Array.from({ length: n }, (_, i) => (i * 5) % 9))
  const rotary = Math.floor(headDim / 4) * 2 || 2
  const inputs = (width: number): Input[] => [
    real([n, heads * headDim]),
    real([n, heads * headDim], 1),
    positions,
    { ...real([9, width], 2), grad: false },
  ]
  return [
    { name: 'rope', inputs: inputs(headDim - (headDim % 2)), interleaved: false },
    { name: 'rope of neighbours, partial', inputs: inputs(rotary), interleaved: true },
  ].map(({ name, inputs, interleaved }) => ({
    name,
    inputs,
    run: ([q, k, positions, table]: Tensor[]) => {
      const [turnedQ, turnedK] = rope(q!, k!, { positions: positions!, table: table!, headDim, interleaved })
      return multiply(add(turnedQ, turnedK), turnedK)
    },
  }))
}

function attentionCases({ n, heads, headDim, lengths }: (typeof SIZES)[Size]): OpCase[] {
  const width = heads * headDim
  const maxLength = Math.max(...lengths.slice(1).map((end, i) => end - lengths[i]!))
  const all = { heads, headDim, maxLength, rowStride: 128 }
  const bias: Input = { ...real([heads, 2 * maxLength + 1], 3), grad: false }
  const features: [name: string, options: Partial<AttentionOptions>, ...extra: Input[]][] = [
    ...[
      { causal: false, kvHeads: heads, p: 0 },
      { causal: true, kvHeads: 1, p: 0 },
      { causal: false, kvHeads: heads, p: 0.3 },
      { causal: true, kvHeads: 1, p: 0.2 },
    ].map(({ causal, kvHeads, p }): [string, Partial<AttentionOptions>] => [
      `${causal ? ' causal' : ''}, ${kvHeads} kv heads, dropout ${p}`,
      { causal, kvHeads, dropout: { p, site: 4 } },
    ]),
    [' causal, in a window', { causal: true, window: 2 }],
    [' in a window to both sides', { window: 2, dropout: { p: 0.2, site: 4 } }],
    [' soft-capped', { softcap: 1.5, kvHeads: 1 }],
    [' with position bias', { causal: true }, bias],
    [' with position bias, soft-capped, in a window', { softcap: 2, window: 3, dropout: { p: 0.2, site: 4 } }, bias],
  ]
  const cases = features.map(([name, options, ...extra]) => {
    const kv = (options.kvHeads ?? heads) * headDim
    return {
      name: `attention${name}`,
      inputs: [real([n, width]), real([n, kv], 1), real([n, kv], 2), ints(...lengths), ...extra],
      run: training(([q, k, v, cu, b]) => attention(q!, k!, v!, cu!, { ...all, ...options, bias: b })),
      tolerance: 5e-6,
    }
  })
  return [...cases, crossAttentionCase(n, heads, headDim, lengths), decodeCase(heads, headDim, maxLength)]
}

/** To the queries' sequences in reverse order. */
function crossAttentionCase(n: number, heads: number, headDim: number, lengths: number[]): OpCase {
  const width = heads * headDim
  const keys = lengths.map(at => n - at).reverse()
  const options = { heads, headDim, maxLength: n, rowStride: 128, dropout: { p: 0.2, site: 4 } }
  return {
    name: 'attention to other sequences',
    inputs: [real([n, width]), real([n, width], 1), real([n, width], 2), ints(...lengths), ints(...keys)],
    run: training(([q, k, v, cu, cuK]) =>
      attention(q!, k!, v!, cu!, { ...options, keys: { cuSeqlens: cuK!, maxLength: n } }),
    ),
    tolerance: 5e-6,
  }
}

/** It has no gradient, so that of a sum is checked. */
function decodeCase(heads: number, headDim: number, capacity: number): OpCase {
  const constant = (input: Input): Input => ({ ...input, grad: false })
  const cache = [2, capacity, headDim]
  return {
    name: 'attentionDecode',
    inputs: [
      real([2, heads * headDim], 4),
      constant(real([2, heads * headDim])),
      constant(real(cache, 1)),
      constant(real(cache, 2)),
      ints(1, capacity),
      constant(real([heads, 2 * capacity - 1], 3)),
    ],
    run: ([x, q, k, v, lengths, bias]) =>
      add(x!, attentionDecode(q!, k!, v!, lengths!, { heads, kvHeads: 1, headDim, window: 3, softcap: 2, bias })),
    tolerance: 5e-6,
  }
}

function lossCases(n: number): OpCase[] {
  const classes = 4
  const labels = Array.from({ length: n }, (_, i) => (i === 1 ? -100 : (i * 3) % classes))
  const targets: Input = { shape: [n, classes], data: wave(n * classes).map(v => (v > 0 ? 1 : 0)), grad: false }
  const weights: Input = { shape: [classes], data: Float64Array.of(0.5, 2, 1, 1.5), grad: false }
  return [
    {
      name: 'crossEntropy',
      inputs: [real([n, classes]), ints(...labels)],
      run: ([x, y]) => crossEntropy(x!, y!, { scale: 1 / 3 }),
    },
    {
      name: 'crossEntropy weighted, smoothed',
      inputs: [real([n, classes], 1, 4), ints(...labels), weights],
      run: ([x, y, w]) => crossEntropy(x!, y!, { scale: 1 / 3, weights: w, smoothing: 0.1 }),
    },
    { name: 'bce', inputs: [real([n, classes], 1, 4), targets], run: ([x, t]) => bce(x!, t!, 0.2) },
    {
      name: 'bce weighted',
      inputs: [real([n, classes], 1, 4), targets, weights],
      run: ([x, t, w]) => bce(x!, t!, 0.2, w),
    },
    { name: 'mse', inputs: [real([n, classes]), { ...targets, grad: false }], run: ([x, t]) => mse(x!, t!, 0.2) },
  ]
}

function headCases({ n, d, out }: (typeof SIZES)[Size]): OpCase[] {
  const labels = ints(...Array.from({ length: n }, (_, i) => (i === 2 ? -100 : (i * 5) % out)))
  const frozen = (shape: number[], phase: number): Input => ({ ...real(shape, phase), grad: false })
  return [
    {
      name: 'linearCrossEntropy',
      inputs: [real([n, d]), frozen([out, d], 1), labels],
      run: ([x, w, y]) => linearCrossEntropy(x!, w!, y!, { scale: 1 / 3 }),
      tolerance: 5e-6,
    },
    {
      name: 'linearCrossEntropy with bias, smoothed, capped, in chunks',
      inputs: [real([n, d]), frozen([out, d], 1), labels, frozen([out], 2)],
      run: ([x, w, y, bias]) =>
        linearCrossEntropy(x!, w!, y!, { scale: 1 / 3, bias, smoothing: 0.1, softcap: 3, zLoss: 0.01, chunk: 3 }),
      tolerance: 5e-6,
    },
  ]
}
