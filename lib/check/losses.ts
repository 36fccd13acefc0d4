import { concatRows } from '../autograd/rows.ts'
import { bce } from '../ops/bce.ts'
import { crossEntropy, divergence } from '../ops/crossEntropy.ts'
import { linearCrossEntropy, linearCrossEntropyParts } from '../ops/linearCrossEntropy.ts'
import { mse } from '../ops/mse.ts'
import { type CaseInput, type CaseSizes, ints, type OpCase, real, wave } from './case.ts'

export function lossCases({ n }: CaseSizes): OpCase[] {
  const classes = 4
  const labels = Array.from({ length: n }, (_, i) => (i === 1 ? -100 : (i * 3) % classes))
  const targets: CaseInput = { shape: [n, classes], data: wave(n * classes).map(v => (v > 0 ? 1 : 0)), grad: false }
  const weights: CaseInput = { shape: [classes], data: Float64Array.of(0.5, 2, 1, 1.5), grad: false }
  return [
    {
      name: 'crossEntropy',
      inputs: [real([n, classes]), ints(...labels)],
      run: ([x, y]) => crossEntropy(x, y, { scale: 1 / 3 }),
    },
    {
      name: 'crossEntropy weighted, smoothed',
      inputs: [real([n, classes], 1, 4), ints(...labels), weights],
      run: ([x, y, w]) => crossEntropy(x, y, { scale: 1 / 3, weights: w, smoothing: 0.1 }),
    },
    {
      name: 'divergence',
      inputs: [real([n, classes]), { ...real([n, classes], 2, 3), grad: false }, ints(...labels)],
      run: ([x, t, y]) => divergence(x, t, y, 1 / 3),
    },
    { name: 'bce', inputs: [real([n, classes], 1, 4), targets], run: ([x, t]) => bce(x, t, 0.2) },
    {
      name: 'bce weighted',
      inputs: [real([n, classes], 1, 4), targets, weights],
      run: ([x, t, w]) => bce(x, t, 0.2, w),
    },
    { name: 'mse', inputs: [real([n, classes]), { ...targets, grad: false }], run: ([x, t]) => mse(x, t, 0.2) },
  ]
}

export function headCases({ n, d, out }: CaseSizes): OpCase[] {
  const labels = ints(...Array.from({ length: n }, (_, i) => (i === 2 ? -100 : (i * 5) % out)))
  const frozen = (shape: number[], phase: number): CaseInput => ({ ...real(shape, phase), grad: false })
  return [
    {
      name: 'linearCrossEntropy',
      inputs: [real([n, d]), frozen([out, d], 1), labels],
      run: ([x, w, y]) => linearCrossEntropy(x, w, y, { scale: 1 / 3 }),
      tolerance: 5e-6,
    },
    {
      name: 'linearCrossEntropy with bias, smoothed, capped, in chunks',
      inputs: [real([n, d]), frozen([out, d], 1), labels, frozen([out], 2)],
      run: ([x, w, y, bias]) =>
        linearCrossEntropy(x, w, y, { scale: 1 / 3, bias, smoothing: 0.1, softcap: 3, zLoss: 0.01, chunk: 3 }),
      tolerance: 5e-6,
    },
    {
      name: 'linearCrossEntropyParts',
      inputs: [real([n, d]), frozen([out, d], 1), labels],
      run: ([x, w, y]) => {
        const parts = [
          { rows: 1, scale: 2 },
          { rows: n - 1, scale: 1 / 3 },
        ]
        return concatRows(linearCrossEntropyParts(x, w, y, parts, { smoothing: 0.1, chunk: 3 }))
      },
      tolerance: 5e-6,
    },
  ]
}
