// Precisions of products that a device does not have.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { wave } from '../../lib/check/case.ts'
import { native } from '../../lib/native.ts'
import { linear } from '../../lib/ops/linear.ts'
import { linearCrossEntropy } from '../../lib/ops/linearCrossEntropy.ts'
import { loraLinear } from '../../lib/ops/loraLinear.ts'
import { loraLinearGroup } from '../../lib/ops/loraLinearGroup.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { scope, Tensor } from '../../lib/tensor.ts'

test('compute tf32 on the CPU is refused at the call of every product', () => {
  const before = native.live()
  scope(() => {
    const matrix = (rows: number, columns: number) =>
      Tensor.from(Float32Array.from(wave(rows * columns)), [rows, columns])
    const [x, w, bias] = [matrix(4, 6), matrix(5, 6), undefined]
    const factors = { a: matrix(2, 6), b: matrix(5, 2), scale: 1, dropout: 0, site: 1 }
    const labels = Tensor.from(Int32Array.of(0, 1, 2, 3), [4])
    const products: [name: string, call: () => unknown][] = [
      ['matmul', () => matmul(x, matrix(6, 3), 'tf32')],
      ['linear', () => linear(x, w, bias, 'tf32')],
      ['loraLinear', () => loraLinear(x, w, bias, factors, 'tf32')],
      ['loraLinearGroup', () => loraLinearGroup(x, [{ weight: w, bias, factors }], 'tf32')],
      ['linearCrossEntropy', () => linearCrossEntropy(x, w, labels, { scale: 1, compute: 'tf32' })],
    ]
    for (const [name, call] of products) {
      let found: unknown
      try {
        call()
      } catch (error) {
        found = error
      }
      const { code, message } = (found ?? { message: 'nothing was thrown' }) as { code?: string; message: string }
      assert.is(
        `${code} ${message}`,
        `ERR_UNSUPPORTED ${name}: compute tf32 on cpu, tensor cores have it; use f32 or bf16`,
      )
    }
  })
  assert.is(native.live(), before)
})

test.run()
