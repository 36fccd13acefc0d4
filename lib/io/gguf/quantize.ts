// Q8_0 and Q4_0 as gguf-py quantises them, bit for bit: f32 arithmetic, each operation rounded.

import { nth } from '../../tuple.ts'
import { encodeF32 } from '../dtype.ts'

const { fround } = Math
const BLOCK = 32

/** What floats can be written as. */
export const GGUF_TYPES = ['f32', 'f16', 'q8_0', 'q4_0'] as const

/** A type that floats can be written as. */
export type GgufType = (typeof GGUF_TYPES)[number]

/** f32 values, whole blocks of 32 where that is asked for, as little-endian elements or blocks. */
export function encodeGguf(values: Float32Array, type: GgufType): Uint8Array {
  if (type === 'f32') return encodeF32(values, 'F32')
  if (type === 'f16') return encodeF32(values, 'F16')
  const width = type === 'q8_0' ? 34 : 18
  const out = new Uint8Array((values.length / BLOCK) * width)
  const scales = new Float32Array(values.length / BLOCK)
  const fill = type === 'q8_0' ? fillQ8 : fillQ4
  for (let block = 0; block < scales.length; block++) {
    const x = values.subarray(block * BLOCK, (block + 1) * BLOCK)
    scales[block] = fill(x, out.subarray(block * width + 2, (block + 1) * width))
  }
  const halves = encodeF32(scales, 'F16')
  for (let block = 0; block < scales.length; block++) out.set(halves.subarray(2 * block, 2 * block + 2), block * width)
  return out
}

/** Writes the codes and returns the scale. Halves go away from zero. */
function fillQ8(x: Float32Array, codes: Uint8Array): number {
  let most = 0
  for (const value of x) most = Math.max(most, Math.abs(value))
  const scale = fround(most / 127)
  const factor = scale === 0 ? 0 : fround(1 / scale)
  for (let i = 0; i < BLOCK; i++) {
    const value = fround(nth(x, i) * factor)
    const size = Math.abs(value)
    const whole = Math.floor(size)
    codes[i] = Math.sign(value) * (whole + Math.floor(2 * (size - whole)))
  }
  return scale
}

/** The first value of the largest magnitude becomes −8. */
function fillQ4(x: Float32Array, codes: Uint8Array): number {
  let most = nth(x, 0)
  for (const value of x) if (Math.abs(value) > Math.abs(most)) most = value
  const scale = fround(most / -8)
  const factor = scale === 0 ? 0 : fround(1 / scale)
  const code = (i: number) => Math.min(15, Math.trunc(fround(fround(nth(x, i) * factor) + 8.5)))
  for (let i = 0; i < BLOCK / 2; i++) codes[i] = code(i) | (code(i + BLOCK / 2) << 4)
  return scale
}
