// What attention refuses, beyond the cases of the table.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
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

const HEADS = 2
const STARTS = Int32Array.of(0, 37, 59, 150)

/** Output and gradients of q, k and v, which are alike, of three packed sequences. */
async function outcomes(values: Float32Array, dim: number, causal: boolean): Promise<(readonly number[])[]> {
  const found = scope(() => {
    const shape = [STARTS.at(-1)!, HEADS * dim]
    const inputs = [0, 1, 2].map(() => Tensor.from(values, shape))
    for (const x of inputs) x.requiresGrad = true
    const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
    const tape = new Tape()
    const cu = Tensor.from(STARTS, [STARTS.length])
    const o = tape.run(() =>
      attention(q, k, v, cu, { heads: HEADS, headDim: dim, maxLength: 91, rowStride: 91, causal }),
    )
    const grads = tape.backward(o, Tensor.from(values, shape))
    return [o, ...inputs.map(x => grads.get(x)!)]
  })
  return Promise.all(found.map(async t => [...(await t.data())]))
}

test('a sequence that holds NaN or infinity changes no bit of those packed beside it', async () => {
  for (const dim of [5, 16, 64, 128])
    for (const causal of [false, true]) {
      const width = HEADS * dim
      const sound = Float32Array.from({ length: STARTS.at(-1)! * width }, (_, i) => Math.sin(i * 0.37))
      const inside = (i: number) => i >= STARTS[1]! * width && i < STARTS[2]! * width
      const broken = sound.map((x, i) => (inside(i) ? [Number.NaN, Number.POSITIVE_INFINITY][i % 2]! : x))
      const [expected, got] = [await outcomes(sound, dim, causal), await outcomes(broken, dim, causal)]
      for (const [n, values] of expected.entries()) {
        const changed = values.findIndex((x, i) => !inside(i) && !Object.is(x, got[n]![i]))
        assert.is(changed, -1, `dim ${dim}, causal ${causal}, tensor ${n}`)
      }
    }
})

test.run()
