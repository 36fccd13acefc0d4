import { add } from '../ops/add.ts'
import { linear } from '../ops/linear.ts'
import { loraLinear } from '../ops/loraLinear.ts'
import { loraLinearGroup } from '../ops/loraLinearGroup.ts'
import { loraLinearRows } from '../ops/loraLinearRows.ts'
import { matmul } from '../ops/matmul.ts'
import { multiply } from '../ops/multiply.ts'
import type { RopeInput } from '../ops/rope.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple, must } from '../tuple.ts'
import { type CaseInput, type CaseSizes, ints, type OpCase, type Operands, operands, real, training } from './case.ts'

export function productCases(sizes: CaseSizes): OpCase[] {
  const { n, d, out } = sizes
  return [
    { name: 'matmul', inputs: [real([n, d]), real([d, out], 1)], run: ([a, b]) => matmul(a, b) },
    ...[true, false].map(bias => ({
      name: `linear ${bias ? 'with' : 'without'} bias`,
      inputs: [real([n, d]), real([out, d], 1), ...(bias ? [real([out], 2)] : [])],
      run: ([x, w, b]: Operands) => linear(x, w, b),
    })),
    ...loraCases(sizes),
    ...loraGroupCases(sizes),
    ...loraRowsCases(sizes),
    ...turnedCases(sizes),
  ]
}

function loraCases({ n, d, out, r }: CaseSizes): OpCase[] {
  return [
    ...[0, 0.25].map(p => ({
      name: `loraLinear dropout ${p}`,
      inputs: [real([n, d]), { ...real([out, d], 1), grad: false }, real([out], 2), real([r, d], 3), real([out, r], 4)],
      run: training(([x, w, bias, a, b]) => loraLinear(x, w, bias, { a: a, b: b, scale: 1.5, dropout: p, site: 9 })),
    })),
    {
      name: 'loraLinear of what another op reads',
      inputs: [real([n, d]), { ...real([out, d], 1), grad: false }, real([r, d], 3), real([out, r], 4)],
      run: training(([x, w, a, b]) => {
        const y = loraLinear(x, w, undefined, { a: a, b: b, scale: 1.5, dropout: 0.25, site: 9 })
        return multiply(y, linear(x, w, undefined))
      }),
    },
    {
      name: 'loraLinear without bias, r 1',
      inputs: [real([n, d]), { ...real([out, d], 1), grad: false }, real([1, d], 3), real([out, 1], 4)],
      run: ([x, w, a, b]) => loraLinear(x, w, undefined, { a: a, b: b, scale: 2, dropout: 0, site: 9 }),
    },
  ]
}

function loraGroupCases({ n, d, out, r }: CaseSizes): OpCase[] {
  return [
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
        const layers = mapTuple([0, 1, 2], i => {
          const [weight, bias, a, b] = operands(rest.slice(4 * i))
          const factors = { a, b, scale: 1.5 + i, dropout: p, site: 9 + i }
          return { weight, bias, factors }
        })
        const [q, k, v] = loraLinearGroup(x, layers)
        return add(multiply(q, k), p ? multiply(v, linear(x, must(layers[0], 'layer').weight, undefined)) : v)
      }),
    })),
  ]
}

/** Rows with adapters of their own: mixed ranks and scales, one twice, and rows without. */
function loraRowsCases({ n, d, out, r }: CaseSizes): OpCase[] {
  const adapter = (rank: number, phase: number) => [real([rank, d], phase), real([out, rank], phase + 0.2)]
  const heights = [1, 1, 2]
  const rows = [...heights, Math.max(1, n - 5), n - 4 - Math.max(1, n - 5)].filter(height => height > 0)
  return [0, 0.25].map(p => ({
    name: `loraLinearRows dropout ${p}`,
    inputs: [
      real([n, d]),
      { ...real([out, d], 1), grad: false },
      real([out], 2),
      ...adapter(r, 3),
      ...adapter(2 * r + 1, 4),
    ],
    run: training(([x, w, bias, a, b, a2, b2]) => {
      const fixed = { dropout: p, site: 9 }
      const [first, second] = [
        { a: a, b: b, scale: 1.5, ...fixed },
        { a: a2, b: b2, scale: 0.5, ...fixed },
      ]
      const groups = rows.map((rows, i) => ({ rows, factors: [first, undefined, second, first, second][i] }))
      return loraLinearRows(x, w, bias, groups)
    }),
  }))
}

/** Products whose rows a rope turns: heads of twice the usual size, so that all columns are in pairs. */
function turnedCases({ n, d, heads, headDim, r }: CaseSizes): OpCase[] {
  const width = heads * 2 * headDim
  const positions = ints(...Array.from({ length: n }, (_, i) => (i * 5) % 9))
  const angles = (rotary: number): CaseInput => ({ ...real([9, rotary], 2), grad: false, wide: true })
  const ropeOf = (positions: Tensor, table: Tensor, interleaved: boolean): RopeInput => {
    return { positions, table, headDim: 2 * headDim, interleaved }
  }
  const frozen = (phase: number): CaseInput => ({ ...real([width, d], phase), grad: false })
  const adapter = (phase: number): CaseInput[] => [real([r, d], phase + 0.4), real([width, r], phase + 0.6)]
  return [
    {
      name: 'linear, turned',
      inputs: [real([n, d]), real([width, d], 1), real([width], 2), positions, angles(2 * headDim)],
      run: ([x, w, bias, at, table]) => linear(x, w, bias, 'f32', ropeOf(at, table, false)),
    },
    ...[false, true].map(interleaved => ({
      name: `loraLinear, turned${interleaved ? ' by neighbours, partly' : ''}`,
      inputs: [real([n, d]), frozen(1), ...adapter(1), positions, angles(interleaved ? 2 : 2 * headDim)],
      run: training(([x, w, a, b, at, table]) => {
        const factors = { a: a, b: b, scale: 1.5, dropout: 0.25, site: 9 }
        return loraLinear(x, w, undefined, factors, 'f32', ropeOf(at, table, interleaved))
      }),
    })),
    {
      name: 'loraLinearGroup, query and key turned',
      inputs: [real([n, d]), positions, angles(2 * headDim), ...[1, 2, 3].flatMap(i => [frozen(i), ...adapter(i)])],
      run: training(([x, at, table, ...rest]) => {
        const layers = mapTuple([0, 1, 2], i => {
          const [weight, a, b] = operands(rest.slice(3 * i))
          const factors = { a, b, scale: 1.5 + i, dropout: 0.3, site: 9 + i }
          return { weight, bias: undefined, factors, turned: i < 2 }
        })
        const [q, k, v] = loraLinearGroup(x, layers, 'f32', ropeOf(at, table, false))
        return add(multiply(q, k), v)
      }),
    },
  ]
}
