// Ops on numbers whose results can be worked out by hand: whether the addon computes at all on this machine.

import { Tape } from '../autograd/tape.ts'
import { activation } from '../ops/activation.ts'
import { attention } from '../ops/attention.ts'
import { crossEntropy } from '../ops/crossEntropy.ts'
import { layerNorm } from '../ops/layerNorm.ts'
import { loraLinear } from '../ops/loraLinear.ts'
import { type Device, scope, Tensor } from '../tensor.ts'

/** One op on known numbers. */
export interface SelfTest {
  readonly op: string
  readonly ok: boolean
  /** Largest absolute error. */
  readonly error: number
}

interface Case {
  readonly op: string
  readonly expected: readonly number[]
  readonly run: (t: Make) => Tensor
}
type Make = (data: readonly number[], shape: readonly number[]) => Tensor

const cases: readonly Case[] = [
  {
    // x Wᵀ + b + 2 · x Aᵀ Bᵀ with x = (1, 2), W = (1 2; 3 4), b = (1, 1), A = (1 1), B = (1; −1)
    op: 'lora_linear',
    expected: [12, 6],
    run: t =>
      loraLinear(t([1, 2], [1, 2]), t([1, 2, 3, 4], [2, 2]), t([1, 1], [2]), {
        a: t([1, 1], [1, 2]),
        b: t([1, -1], [2, 1]),
        scale: 2,
        dropout: 0,
        site: 0,
      }),
  },
  {
    op: 'layer_norm',
    expected: [-1, 1],
    run: t => layerNorm({ x: t([3, 5], [1, 2]), weight: t([1, 1], [2]), bias: t([0, 0], [2]), eps: 1e-12 }),
  },
  {
    op: 'gelu',
    expected: [0, 0.8413447460685429, -0.15865525393145707],
    run: t => activation(t([0, 1, -1], [1, 3]), 'gelu'),
  },
  {
    // Equal keys: every token sees the mean of the values.
    op: 'attention',
    expected: [2, 2],
    run: t => {
      const cuSeqlens = Tensor.from(Int32Array.of(0, 2), [2], { device: t([0], [1]).device })
      const options = { heads: 1, headDim: 1, maxLength: 2, rowStride: 2 }
      return attention(t([1, 1], [2, 1]), t([1, 1], [2, 1]), t([1, 3], [2, 1]), cuSeqlens, options)
    },
  },
]

/** Runs every case, and a loss with its gradient, on a device. */
export async function selfTest(device: Device): Promise<SelfTest[]> {
  const make: Make = (data, shape) => Tensor.from(Float32Array.from(data), shape, { device })
  const results: SelfTest[] = []
  for (const { op, expected, run } of cases)
    results.push(judge(op, await scope(() => ({ done: run(make) })).done.data(), expected))
  const logits = make([0, 0], [1, 2]).keep()
  logits.requiresGrad = true
  logits.grad = make([0, 0], [1, 2]).keep()
  const loss = scope(() => {
    const labels = Tensor.from(Int32Array.of(1), [1], { device })
    const tape = new Tape()
    const result = tape.run(() => crossEntropy(logits, labels, { scale: 1 }))
    tape.backward(result)
    return result
  })
  results.push(judge('cross_entropy', await loss.data(), [Math.LN2]))
  results.push(judge('cross_entropy, gradient', await logits.grad.data(), [0.5, -0.5]))
  for (const tensor of [loss, logits.grad, logits]) tensor.dispose()
  return results
}

function judge(op: string, found: ArrayLike<number>, expected: readonly number[]): SelfTest {
  const error = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? Number.NaN))), 0)
  return { op, ok: error < 1e-5 && found.length === expected.length, error }
}
