// Quantised weights: the codes and scales of bitsandbytes, and what may be done with them.

import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { wave } from '../../lib/check/case.ts'
import { native } from '../../lib/native.ts'
import { linear } from '../../lib/ops/linear.ts'
import { loraLinear } from '../../lib/ops/loraLinear.ts'
import type { Compute } from '../../lib/ops/matmul.ts'
import { dequantize, QUANTIZED, quantize } from '../../lib/ops/quantize.ts'
import { Device, dtypeCode, scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'

interface Golden {
  shape: [number, number]
  seed: number
  nf4: { codes: string; scales: string; nested: string; offset: string; dequantized?: string }
  int8: { codes: string; absmax: string; dequantized?: string }
}
const folder = new URL('../golden/quantized/', import.meta.url)
const cases = (JSON.parse(readFileSync(new URL('weights.json', folder), 'utf8')) as { cases: Golden[] }).cases

/** The numbers of make.py. */
function weight([out, width]: [number, number], seed: number): Float32Array {
  let state = seed
  return Float32Array.from({ length: out * width }, (_, i) => {
    let total = 0
    for (let k = 0; k < 4; k++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      total += (state >>> 8) / 2 ** 24 - 0.5
    }
    return i >= 64 && i < 128 ? 0 : total * (i % 577 === 0 ? 1.5 : 0.0625)
  })
}

const hex = (bytes: Uint8Array | ArrayBuffer) => Buffer.from(bytes as ArrayBuffer).toString('hex')
const floats = (text: string) => new Float32Array(new Uint8Array(Buffer.from(text, 'hex')).buffer)

/** Reads the parts of a tensor one by one; each begins at a multiple of 16 bytes. */
async function partsOf(tensor: Tensor): Promise<(length: number) => string> {
  const bytes = new Uint8Array(await tensor.bytes())
  let at = 0
  return length => {
    const part = bytes.subarray(at, at + length)
    at = Math.ceil((at + length) / 16) * 16
    return hex(part)
  }
}

for (const { shape, seed, nf4, int8 } of cases) {
  const n = shape[0] * shape[1]
  const blocks = Math.ceil(n / 64)
  const x = () => Tensor.from(weight(shape, seed), shape)

  test(`nf4 of [${shape}] is that of bitsandbytes`, async () => {
    const w = quantize(x(), 'nf4')
    const next = await partsOf(w)
    assert.is(next(n / 2), nf4.codes)
    assert.is(next(blocks), nf4.scales)
    const nested = floats(next(Math.ceil(blocks / 256) * 4))
    const offset = next(4)
    // The offset is a mean, which PyTorch sums in f32 in an order of its own; the nested scales follow it.
    compare('offset', floats(offset), floats(nf4.offset), { relative: 2 ** -23 })
    compare('nested', nested, floats(nf4.nested), { relative: 2 ** -22 })
    if (!nf4.dequantized) return
    const got = await dequantize(w).data()
    if (offset === nf4.offset) assert.is(hex(got.buffer as ArrayBuffer), nf4.dequantized)
    compare('dequantized', got, floats(nf4.dequantized), { relative: 2 ** -22 })
  })

  test(`int8 of [${shape}] is that of bitsandbytes`, async () => {
    const w = quantize(x(), 'int8')
    const next = await partsOf(w)
    assert.is(next(n), int8.codes)
    assert.is(next(shape[0] * 4), int8.absmax)
    if (int8.dequantized) assert.is(hex(await dequantize(w).bytes()), int8.dequantized)
  })
}

test('memory: codes and scales, each part at a multiple of 16 bytes', () => {
  for (const device of ['cpu', 'meta'].map(name => Device.get(name))) {
    assert.is(Tensor.empty([96, 64], { dtype: 'int8', device }).byteLength, 96 * 64 + 96 * 4)
    assert.is(Tensor.empty([96, 64], { dtype: 'nf4', device }).byteLength, 96 * 32 + 96 + 16 + 4)
    assert.is(Tensor.empty([3, 5], { dtype: 'nf4', device }).byteLength, 16 + 16 + 16 + 4)
  }
})

test('casts and uploads quantise, and data() gives floats again', async () => {
  const values = Float32Array.from(wave(6 * 40))
  for (const dtype of QUANTIZED) {
    const expected = await quantize(Tensor.from(values, [6, 40]), dtype).bytes()
    const uploaded = Tensor.from(values, [6, 40], { dtype })
    const wide = Tensor.from(Float64Array.from(values), [6, 40])
    const cast = new Tensor(native.cast(wide.handle, dtypeCode(dtype)))
    const again = new Tensor(native.cast(cast.handle, dtypeCode(dtype)))
    for (const tensor of [uploaded, cast, again]) assert.is(hex(await tensor.bytes()), hex(expected))
    compare(dtype, await uploaded.data(), values, { absolute: dtype === 'nf4' ? 0.16 : 0.004 })
    for (const to of ['bf16', 'f16', 'f64'] as const) {
      const narrow = await dequantize(uploaded, to).data()
      const through = new Tensor(native.cast(dequantize(uploaded).handle, dtypeCode(to)))
      assert.equal([...narrow], [...(await through.data())])
    }
  }
})

/** y, dx, da and db of a layer. */
async function layer(w: Tensor, n: number, isAdapted: boolean, compute: Compute): Promise<Float32Array[]> {
  const [out, width] = [w.shape[0]!, w.shape[1]!]
  const tensors = scope(() => {
    const leaf = (shape: number[], phase: number) => {
      const tensor = Tensor.from(Float32Array.from(wave(shape[0]! * shape[1]!, phase)), shape)
      tensor.requiresGrad = true
      return tensor
    }
    const [x, a, b] = [leaf([n, width], 1), leaf([3, width], 2), leaf([out, 3], 3)]
    const bias = Tensor.from(Float32Array.from(wave(out, 4)), [out])
    const tape = new Tape()
    const factors = { a, b, scale: 1.5, dropout: 0, site: 9 }
    const y = tape.run(() => (isAdapted ? loraLinear(x, w, bias, factors, compute) : linear(x, w, bias, compute)))
    const grads = tape.backward(y, Tensor.from(Float32Array.from(wave(n * out, 5)), [n, out]))
    return [y, ...[x, a, b].flatMap(t => grads.get(t) ?? [])]
  })
  const values = []
  for (const tensor of tensors) values.push((await tensor.data()) as Float32Array)
  for (const tensor of new Set(tensors)) tensor.dispose()
  return values
}

test('products read a quantised weight as the floats it stands for', async () => {
  for (const dtype of QUANTIZED)
    for (const [n, out, width] of [
      [5, 7, 6],
      [67, 83, 96],
      [40, 130, 33],
      [3, 20, 800],
    ] as const)
      for (const isAdapted of [false, true])
        for (const compute of ['f32', 'bf16'] as const) {
          const w = quantize(Tensor.from(Float32Array.from(wave(out * width)), [out, width]), dtype)
          const got = await layer(w, n, isAdapted, compute)
          const expected = await layer(dequantize(w), n, isAdapted, compute)
          const what = `${dtype} [${n}, ${out}, ${width}] ${compute} ${isAdapted ? 'adapted' : 'plain'}`
          // Few rows keep f32 accuracy where they read w as it is stored, which whole blocks of NF4 alone allow.
          const close = compute === 'bf16' && n <= 16 ? { relative: 2 ** -7 } : { relative: 1e-6, absolute: 1e-7 }
          got.forEach((values, i) => {
            compare(`${what}: ${i}`, values, expected[i]!, close)
          })
        }
})

test('what has no meaning is refused', () => {
  const w = Tensor.from(new Float32Array(12), [3, 4], { dtype: 'nf4' })
  const refused: [string, RegExp, () => unknown][] = [
    ['ERR_SHAPE', /\[12\] as nf4, expected two dimensions/, () => Tensor.empty([12], { dtype: 'nf4' })],
    ['ERR_DTYPE', /^fill: a tensor of nf4/, () => Tensor.zeros([3, 4], { dtype: 'nf4' })],
    ['ERR_DTYPE', /^quantize: x is f64, expected f32/, () => quantize(Tensor.from(Float64Array.of(1), [1, 1]), 'int8')],
    ['ERR_DTYPE', /^dequantize: w is f32, expected a quantised weight/, () => dequantize(Tensor.zeros([1, 1]))],
    ['ERR_DTYPE', /no conversion from nf4 to i32/, () => native.cast(w.handle, dtypeCode('i32'))],
    ['ERR_DTYPE', /no product of nf4/, () => native.matmul(w.handle, Tensor.zeros([4, 3]).handle, false, false, 0, 0)],
    [
      'ERR_DTYPE',
      /^linear: weight is nf4, activations are f64/,
      () => linear(Tensor.zeros([1, 4], { dtype: 'f64' }), w, undefined),
    ],
    ['ERR_DTYPE', /^add: a is nf4/, () => native.add(w.handle, w.handle)],
    ['ERR_UNSUPPORTED', /^view: \[1, 4\] of \[3, 4\] as nf4/, () => w.view(0, [1, 4])],
    [
      'ERR_SHAPE',
      /^copyInto: \[3, 4\] as nf4 into \[4, 3\]/,
      () => native.copyInto(Tensor.zeros([4, 3]).handle, w.handle),
    ],
  ]
  for (const [code, message, call] of refused) {
    const error = assertThrows(call)
    assert.is(error.code, code)
    assert.match(error.message, message)
  }
  w.view(0, [3, 4])
})

function assertThrows(call: () => unknown): { code?: string; message: string } {
  try {
    call()
  } catch (error) {
    return error as { code?: string; message: string }
  }
  throw new Error('expected an error')
}

test.run()
