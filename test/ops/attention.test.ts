// What attention refuses, beyond the cases of the table.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attention } from '../../lib/ops/attention.ts'
import { scope, Tensor } from '../../lib/tensor.ts'

const zeros = (...shape: number[]) => Tensor.zeros(shape)

function attend(bias: Tensor, softcap = 0): void {
  const cu = Tensor.from(Int32Array.of(0, 4), [2])
  const options = { heads: 2, headDim: 3, maxLength: 4, rowStride: 4, bias, softcap }
  attention(zeros(4, 6), zeros(4, 6), zeros(4, 6), cu, options)
}

const refuses = (body: () => void, code: string, message: RegExp) =>
  assert.throws(
    () => scope(body),
    (error: { code: string; message: string }) => error.code === code && message.test(error.message),
  )

test('a position bias reaches the longest sequence', () => {
  refuses(() => attend(zeros(2, 5)), 'ERR_SHAPE', /bias \[2, 5\], expected \[2, 2L - 1\] with L at least 4/)
  refuses(() => attend(zeros(2, 8)), 'ERR_SHAPE', /bias \[2, 8\]/)
  scope(() => attend(zeros(2, 7)))
})

test('a soft-cap is no less than 0', () => refuses(() => attend(zeros(2, 7), -1), 'ERR_OPTION', /softcap -1/))

test.run()
