// f32 activations beside products in bf16: an op then converts operands while it holds other scratch.

import { linear } from '../ops/linear.ts'
import { linearCrossEntropy } from '../ops/linearCrossEntropy.ts'
import { loraLinear } from '../ops/loraLinear.ts'
import { loraLinearGroup } from '../ops/loraLinearGroup.ts'
import { matmul } from '../ops/matmul.ts'
import { multiply } from '../ops/multiply.ts'
import type { Tensor } from '../tensor.ts'
import { type CaseInput, ints, type OpCase, type Operands, real, training } from './case.ts'

const [n, d, out, r] = [72, 64, 80, 16]
const constant = (shape: number[], phase: number): CaseInput => ({ ...real(shape, phase), grad: false })
const factors = (a: Tensor, b: Tensor) => ({ a, b, scale: 1.5, dropout: 0.25, site: 9 })
const layer = (weight: Tensor, a: Tensor, b: Tensor) => ({
  weight,
  bias: undefined,
  factors: factors(a, b),
})

/** Every op that takes `compute`, to run in f32; what is rounded on the way to bf16 may differ by a unit of it. */
export const computeCases = (): OpCase[] =>
  [
    {
      name: 'matmul in bf16',
      inputs: [real([n, d]), real([d, out], 1)],
      run: ([a, b]: Operands) => matmul(a, b, 'bf16'),
    },
    {
      name: 'linear in bf16',
      inputs: [real([n, d]), constant([out, d], 1), constant([out], 2)],
      run: ([x, w, bias]: Operands) => linear(x, w, bias, 'bf16'),
    },
    {
      name: 'loraLinear in bf16',
      inputs: [real([n, d]), constant([out, d], 1), real([r, d], 3), real([out, r], 4)],
      run: training(([x, w, a, b]) => loraLinear(x, w, undefined, factors(a, b), 'bf16')),
    },
    {
      name: 'loraLinearGroup in bf16',
      inputs: [
        real([n, d]),
        ...[1, 2].flatMap(i => [constant([out, d], i), real([r, d], i + 0.4), real([out, r], i + 0.6)]),
      ],
      run: training(([x, w, a, b, w2, a2, b2]) => {
        const [q, k] = loraLinearGroup(x, [layer(w, a, b), layer(w2, a2, b2)], 'bf16')
        return multiply(q, k)
      }),
    },
    {
      name: 'linearCrossEntropy in bf16, in chunks',
      inputs: [real([n, d]), constant([out, d], 1), ints(...Array.from({ length: n }, (_, i) => (i * 5) % out))],
      run: ([x, w, labels]: Operands) => linearCrossEntropy(x, w, labels, { scale: 1 / n, chunk: 16, compute: 'bf16' }),
    },
  ].map(each => ({ ...each, tolerance: 1 / 64 }))
