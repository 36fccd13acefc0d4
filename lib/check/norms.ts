import { add } from '../ops/add.ts'
import { layerNorm } from '../ops/layerNorm.ts'
import { multiply } from '../ops/multiply.ts'
import { rmsNorm } from '../ops/rmsNorm.ts'
import { rope } from '../ops/rope.ts'
import { type CaseInput, type CaseSizes, ints, type OpCase, type Operands, real, training } from './case.ts'

export function normCases({ n, d }: CaseSizes): OpCase[] {
  return [
    {
      name: 'layerNorm',
      inputs: [real([n, d]), real([d], 1), real([d], 2)],
      run: ([x, w, b]) => layerNorm({ x: x, weight: w, bias: b, eps: 1e-5 }),
      tolerance: 5e-6,
    },
    ...[0, 0.2].map(p => ({
      name: `layerNorm with residual, dropout ${p}`,
      inputs: [real([n, d]), real([n, d], 5), real([d], 1), real([d], 2)],
      run: training(([x, y, w, b]) =>
        layerNorm({ x: x, residual: y, weight: w, bias: b, eps: 1e-5, dropout: { p, site: 3 } }),
      ),
      tolerance: 5e-6,
    })),
    ...residualCases(n, d),
  ]
}

function residualCases(n: number, d: number): OpCase[] {
  const [x, residual, weight] = [real([n, d]), real([n, d], 5), real([d], 1)]
  const dropped = (p: number) => ({ p, site: 3 })
  return [
    {
      name: 'layerNorm of a residual stream',
      inputs: [x, weight, real([d], 2)],
      run: ([x, w, b]) => add(x, layerNorm({ x: x, weight: w, bias: b, eps: 1e-5 })),
      tolerance: 5e-6,
    },
    {
      name: 'rmsNorm',
      inputs: [x, weight],
      run: ([x, w]) => rmsNorm({ x: x, weight: w, eps: 1e-6 }).y,
    },
    {
      name: 'rmsNorm of a residual stream',
      inputs: [x, weight],
      run: ([x, w]) => add(x, rmsNorm({ x: x, weight: w, offset: 1, eps: 1e-6 }).y),
    },
    {
      name: 'rmsNorm, frozen',
      inputs: [x, { ...weight, grad: false }],
      run: ([x, w]) => rmsNorm({ x: x, weight: w, eps: 1e-6 }).y,
    },
    ...[0, 0.2].map(p => ({
      name: `rmsNorm with residual, dropout ${p}`,
      inputs: [x, residual, weight],
      run: training(([x, r, w]) => {
        const { y, h } = rmsNorm({ x: x, residual: r, weight: w, eps: 1e-6, dropout: dropped(p) })
        return multiply(add(y, h), h)
      }),
      tolerance: 5e-6,
    })),
  ]
}

export function ropeCases({ n, heads, headDim }: CaseSizes): OpCase[] {
  const positions = ints(...Array.from({ length: n }, (_, i) => (i * 5) % 9))
  const rotary = Math.floor(headDim / 4) * 2 || 2
  const inputs = (width: number): CaseInput[] => [
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
    run: ([q, k, positions, table]: Operands) => {
      const [turnedQ, turnedK] = rope(q, k, { positions: positions, table: table, headDim, interleaved })
      return multiply(add(turnedQ, turnedK), turnedK)
    },
  }))
}
