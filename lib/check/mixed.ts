// Cases as training and generation have them, which the op table lacks since they have no f64: shapes that tensor cores
// take, factors in f32 beside bf16, quantised weights, and what has no gradient (that of a sum is checked then).

import { ggmlType } from '../io/gguf/types.ts'
import { BLOCKS, native } from '../native.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { embedding } from '../ops/embedding.ts'
import { linear } from '../ops/linear.ts'
import { linearCrossEntropy } from '../ops/linearCrossEntropy.ts'
import { loraLinear } from '../ops/loraLinear.ts'
import { loraLinearGroup } from '../ops/loraLinearGroup.ts'
import { multiply } from '../ops/multiply.ts'
import { dequantize, QUANTIZED, quantize } from '../ops/quantize.ts'
import { sample } from '../ops/sample.ts'
import { scale } from '../ops/scale.ts'
import { sumSquares } from '../ops/sum.ts'
import { Tensor } from '../tensor.ts'
import { mapTuple } from '../tuple.ts'
import { type CaseInput, ints, type OpCase, type Operands, operands, real, training } from './case.ts'
import { computeCases } from './compute.ts'

const [n, d, out, r] = [72, 64, 80, 16]
const constant = (shape: number[], phase: number): CaseInput => ({ ...real(shape, phase), grad: false })
const factor = (shape: number[], phase: number): CaseInput => ({ ...real(shape, phase), wide: true })
/** f32 on every device, and no gradient. */
const fixed = (shape: number[], phase: number): CaseInput => ({ ...real(shape, phase), grad: false, wide: true })

/** To run in f32 and in bf16. */
export const mixedCases = (): OpCase[] => [...productCases(), ...activatedCases(), ...quantizedCases(), ...blockCases()]

/** To run in f32 alone. */
export const plainCases = (): OpCase[] => [...dequantizeCases(), ...updateCases(), ...sampleCases(), ...computeCases()]

const factors = (dropout: number, [a, b]: Operands) => ({ a: a, b: b, scale: 1.5, dropout, site: 9 })

function productCases(): OpCase[] {
  return [
    {
      name: 'linear of whole tiles',
      inputs: [real([n, d]), constant([out, d], 1), constant([out], 2)],
      run: ([x, w, bias]) => linear(x, w, bias),
    },
    ...[0, 0.25].map(p => ({
      name: `loraLinear of whole tiles, dropout ${p}`,
      inputs: [real([n, d]), constant([out, d], 1), constant([out], 2), factor([r, d], 3), factor([out, r], 4)],
      run: training(([x, w, bias, ...ab]) => loraLinear(x, w, bias, factors(p, operands(ab)))),
    })),
    {
      name: 'loraLinearGroup of whole tiles, dropout 0.3',
      inputs: [
        real([n, d]),
        ...[1, 2].flatMap(i => [constant([out, d], i), factor([r, d], i + 0.4), factor([out, r], i + 0.6)]),
      ],
      run: training(([x, ...rest]) => {
        const layers = mapTuple([0, 3], at => {
          const [weight, ...ab] = operands(rest.slice(at))
          return { weight, bias: undefined, factors: factors(0.3, operands(ab)) }
        })
        const [q, k] = loraLinearGroup(x, layers)
        return multiply(q, k)
      }),
    },
    {
      name: 'linearCrossEntropy of whole tiles',
      inputs: [real([n, d]), constant([out, d], 1), ints(...Array.from({ length: n }, (_, i) => (i * 5) % out))],
      run: ([x, w, labels]) => linearCrossEntropy(x, w, labels, { scale: 1 / n }),
      tolerance: 5e-6,
    },
  ]
}

/** The last of its readers gives h's gradient to what h is an activation of. */
function activatedCases(): OpCase[] {
  return (['gelu', 'geluTanh'] as const).map((kind, more) => ({
    name: `loraLinear of ${1 + more} readers of a ${kind} of loraLinear`,
    inputs: [
      ...[real([n, d]), constant([out, d], 1), factor([r, d], 3), factor([out, r], 4)],
      ...[constant([d, out], 2), factor([r, out], 5), factor([d, r], 6)],
    ],
    run: training(([x, weight, a, b, w, ...ab]) => {
      const layer = { weight, bias: undefined, factors: factors(0.25, operands([a, b])) }
      const [h] = loraLinearGroup(x, [layer] as const, 'f32', undefined, kind)
      const read = () => loraLinear(h, w, undefined, factors(0.25, operands(ab)))
      return more ? add(read(), read()) : read()
    }),
  }))
}

/** Many rows meet a dequantised weight, few rows the codes themselves; backward multiplies from the other side. */
function quantizedCases(): OpCase[] {
  return QUANTIZED.flatMap(dtype => [
    ...[n, 4].map(rows => ({
      name: `linear of ${dtype} weights, ${rows} rows`,
      inputs: [real([rows, d]), fixed([out, d], 1)],
      run: ([x, w]: Operands) => linear(x, quantize(w, dtype), undefined),
    })),
    {
      name: `loraLinear of ${dtype} weights`,
      inputs: [real([n, d]), fixed([out, d], 1), factor([r, d], 3), factor([out, r], 4)],
      run: ([x, w, a, b]: Operands) =>
        loraLinear(x, quantize(w, dtype), undefined, { a: a, b: b, scale: 1.5, dropout: 0, site: 9 }),
    },
  ])
}

const WIDTH = 256 // of the widest blocks

/** Weights [rows, 256] of blocks: all bytes but those that make a scale large, or no number. */
function blocks(like: Tensor, dtype: (typeof BLOCKS)[number], rows: number): Tensor {
  const w = Tensor.empty([rows, WIDTH], { device: like.device, dtype })
  const { bytes = 1, scales = [] } = ggmlType(dtype.toUpperCase()) ?? {}
  const data = Uint8Array.from({ length: w.byteLength }, (_, i) => {
    return scales.includes((i % bytes) - 1) ? 0x18 + (i % 5) : (i * 2654435761) >>> 13
  })
  w.upload(data, dtype)
  return w
}

/** Products, forward and backward, and lookups, of each format. */
function blockCases(): OpCase[] {
  return BLOCKS.flatMap(dtype => [
    ...[n, 4].map(rows => ({
      name: `linear of ${dtype} blocks, ${rows} rows`,
      inputs: [real([rows, WIDTH])],
      run: ([x]: Operands) => linear(x, blocks(x, dtype, out), undefined),
    })),
    {
      name: `embedding and loraLinear of ${dtype} blocks`,
      inputs: [real([3, WIDTH]), ints(5, 0, out - 1), factor([r, WIDTH], 3), factor([out, r], 4)],
      run: ([x, ids, a, b]: Operands) => {
        const w = blocks(x, dtype, out)
        return loraLinear(add(x, embedding(w, ids, x.dtype)), w, undefined, { a, b, scale: 1.5, dropout: 0, site: 9 })
      },
    },
  ])
}

function dequantizeCases(): OpCase[] {
  return QUANTIZED.map(dtype => ({
    name: `dequantize of ${dtype} weights`,
    inputs: [real([out, d], 2), constant([out, d], 1)],
    run: ([x, w]) => add(x, dequantize(quantize(w, dtype))),
  }))
}

/** Parameters after a step of each optimizer. */
function updateCases(): OpCase[] {
  const size = 1000
  // begin, end, scale of the learning rate, decay
  const slices = Float64Array.of(0, 600, 1, 1, 600, size, 0.5, 0)
  const options = Float64Array.of(0.01, 0.9, 0.999, 1e-8, 0.01, 1, 1)
  return [false, true].map(narrow => ({
    name: narrow ? 'adamw with 8-bit moments' : 'adamw',
    inputs: [real([size], 3), constant([size], 1), constant([size], 2)],
    run: ([x, start, grads]) => {
      const { device } = x
      const zeros = (dtype: 'f32' | 'u8', length = size) => Tensor.zeros([length], { device, dtype })
      const table = Tensor.from(slices, [2, 4], { device })
      const params = scale(start, 1)
      const [p, g, norm] = [params.handle, grads.handle, sumSquares(grads).handle]
      if (narrow) {
        const [m, v, mScale, vScale] = [zeros('u8'), zeros('u8'), zeros('f32', 4), zeros('f32', 4)]
        native.adamw8(p, g, m.handle, v.handle, mScale.handle, vScale.handle, table.handle, norm, options)
      } else native.adamw(p, g, zeros('f32').handle, zeros('f32').handle, table.handle, norm, options)
      return add(x, params)
    },
  }))
}

/** The token of each row as a number: another one is an error of at least 1 of 129. */
function sampleCases(): OpCase[] {
  const rows = 6
  return [{ temperature: 0 }, { temperature: 0.8, topK: 20, topP: 0.9 }].map(options => ({
    name: `sample at temperature ${options.temperature}`,
    inputs: [real([rows], 1), { ...real([rows, 129], 2, 4), grad: false }],
    run: ([x, logits]) => add(x, cast(sample(logits, { ...options, seed: 7, step: 3 }), 'f32')),
  }))
}
