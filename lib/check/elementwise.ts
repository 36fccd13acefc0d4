import { ACTIVATIONS, activation } from '../ops/activation.ts'
import { add, addRow } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { embedding } from '../ops/embedding.ts'
import { gatedActivation } from '../ops/gatedActivation.ts'
import { log1mexp } from '../ops/log1mexp.ts'
import { multiply, scaleColumns } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import { sum, sumSquares } from '../ops/sum.ts'
import { type CaseSizes, ints, type OpCase, type Operands, real, training, wave } from './case.ts'

export function elementwiseCases({ n, d }: CaseSizes): OpCase[] {
  const ids = Array.from({ length: n }, (_, i) => (i * 7) % 4)
  return [
    { name: 'add', inputs: [real([n, d]), real([n, d], 1)], run: ([a, b]) => add(a, b) },
    { name: 'add of one tensor twice', inputs: [real([n, d])], run: ([a]) => add(add(a, a), a) },
    { name: 'multiply', inputs: [real([n, d]), real([n, d], 1)], run: ([a, b]) => multiply(a, b) },
    { name: 'multiply by a row', inputs: [real([n, d]), real([d], 1)], run: ([x, v]) => scaleColumns(x, v) },
    {
      name: 'columns scaled and shifted',
      inputs: [real([n, d]), real([d], 1), real([d], 2)],
      run: ([x, v, b]) => scaleColumns(add(x, x), v, b),
    },
    { name: 'add of a row', inputs: [real([n, d]), real([d], 1)], run: ([x, b]) => addRow(x, b) },
    { name: 'scale', inputs: [real([n, d])], run: ([x]) => scale(x, -1.7) },
    { name: 'sum', inputs: [real([n, d])], run: ([x]) => sum(x), tolerance: 2e-5 },
    { name: 'sumSquares', inputs: [real([n, d])], run: ([x]) => sumSquares(x) },
    ...ACTIVATIONS.map(kind => ({
      name: `activation ${kind}`,
      inputs: [real([n, d], 0.31, 3)],
      run: ([x]: Operands) => activation(add(x, x), kind),
    })),
    ...ACTIVATIONS.map(kind => ({
      name: `gatedActivation ${kind}`,
      inputs: [real([n, d], 0.31, 3), real([n, d], 1)],
      run: ([gate, up]: Operands) => gatedActivation(gate, up, kind),
    })),
    {
      name: 'log1mexp',
      inputs: [{ shape: [n, d], data: wave(n * d, 0.3, 1.4).map(value => value - 1.5) }],
      run: ([x]) => log1mexp(x),
    },
    { name: 'dropout', inputs: [real([n, d])], run: training(([x]) => dropout(x, 0.3, 77)) },
    { name: 'embedding', inputs: [{ ...real([4, d]), wide: true }, ints(...ids)], run: ([t, i]) => embedding(t, i) },
  ]
}
