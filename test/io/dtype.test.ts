import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { decodeF32, encodeF32, type FloatDtype, isFiniteData } from '../../lib/io/dtype.ts'
import { readJson } from '../../lib/io/json.ts'

const rounding = readJson(fileURLToPath(new URL('../golden/io/rounding.json', import.meta.url))) as {
  f32: number[]
  f16: number[]
  bf16: number[]
}

function u16(bytes: Uint8Array): number[] {
  return [...new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)]
}

test('rounds to F16 and BF16 as torch does', () => {
  const values = new Float32Array(Uint32Array.from(rounding.f32).buffer)
  assert.equal(u16(encodeF32(values, 'F16')), rounding.f16)
  assert.equal(u16(encodeF32(values, 'BF16')), rounding.bf16)
})

for (const dtype of ['F16', 'BF16'] as const)
  test(`all 65,536 values of ${dtype} survive decoding and encoding`, () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
    const values = decodeF32(new Uint8Array(all.buffer), dtype)
    const back = u16(encodeF32(values, dtype))
    const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80
    for (let i = 0; i < 65536; i++) {
      if ((i & 0x7fff) > infinity) assert.ok(Number.isNaN(values[i]!) && (back[i]! & 0x7fff) > infinity)
      else assert.is(back[i], i)
    }
  })

test('decodes known values, from any offset and from a Buffer of the pool', () => {
  const cases: [FloatDtype, number[], number[]][] = [
    ['F16', [0x00, 0x3c, 0x01, 0x00, 0xff, 0x7b, 0x00, 0xfc], [1, 2 ** -24, 65504, Number.NEGATIVE_INFINITY]],
    ['BF16', [0x80, 0x3f, 0x49, 0x40], [1, 3.140625]],
    ['F32', [0x00, 0x00, 0x80, 0x3f], [1]],
    ['F64', [...new Uint8Array(Float64Array.of(0.1, -2).buffer)], [Math.fround(0.1), -2]],
  ]
  for (const [dtype, bytes, values] of cases)
    for (const offset of [0, 1, 2, 3, 8]) {
      const padded = Uint8Array.from([...new Array<number>(offset).fill(7), ...bytes])
      assert.equal([...decodeF32(padded.subarray(offset), dtype)], values)
      assert.equal([...decodeF32(Buffer.from(padded).subarray(offset), dtype)], values)
    }
})

test('decoding does not share memory; other dtypes are ERR_DTYPE', () => {
  const bytes = new Uint8Array(4)
  decodeF32(bytes, 'F32')[0] = 1
  assert.equal([...bytes], [0, 0, 0, 0])
  const values = Float32Array.of(1)
  encodeF32(values, 'F32')[0] = 9
  assert.is(values[0], 1)
  assert.throws(
    () => decodeF32(bytes, 'I32'),
    (thrown: unknown) => thrown instanceof LowrankError && thrown.code === 'ERR_DTYPE',
  )
})

test('NaN and infinity are found in every float type, from any byte on', () => {
  for (const dtype of ['F64', 'F32', 'BF16', 'F16'] as const)
    for (const value of [0, -1.5, 65504, 1e-7, Number.NaN, Infinity, -Infinity]) {
      const bytes = encodeF32(Float32Array.of(1, value, -2), dtype)
      // 65504 is the largest of f16.
      assert.is(isFiniteData(bytes, dtype), Number.isFinite(value), `${value} as ${dtype}`)
      const shifted = new Uint8Array(bytes.length + 1)
      shifted.set(bytes, 1)
      assert.is(isFiniteData(shifted.subarray(1), dtype), Number.isFinite(value))
    }
  assert.ok(isFiniteData(new Uint8Array(Float64Array.of(1e300).buffer), 'F64'))
})

test.run()
