import { fail } from '../errors.ts'
import { isOneOf, keysOf } from '../tuple.ts'
import { areFiniteBlocks, ggmlType } from './gguf/types.ts'

/**
 * Bits of one element of every dtype a safetensors file may name. The order is the writer's: tensors of an earlier
 * dtype come first in a file (source: safetensors 0.8.0, checked against its files).
 */
export const storageBits = {
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
  F32: 32,
  U32: 32,
  I32: 32,
  BF16: 16,
  F16: 16,
  U16: 16,
  I16: 16,
  F8_E5M2FNUZ: 8,
  F8_E4M3FNUZ: 8,
  F8_E8M0: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  I8: 8,
  U8: 8,
  F6_E3M2: 6,
  F6_E2M3: 6,
  F4: 4,
  BOOL: 8,
} as const

/** The name of an element type in a safetensors file. */
export type StorageDtype = keyof typeof storageBits

/** The floating types that can be read as, and written from, f32. */
export type FloatDtype = 'F64' | 'F32' | 'BF16' | 'F16'

/** Whether a name is one of {@link StorageDtype}. */
export function isStorageDtype(name: unknown): name is StorageDtype {
  return typeof name === 'string' && Object.hasOwn(storageBits, name)
}

/**
 * Little-endian elements as f32, in memory of its own. F64 is rounded to nearest even; other types are exact.
 * The bytes may start anywhere. Anything but F64, F32, BF16, F16: `ERR_DTYPE`.
 */
export function decodeF32(bytes: Uint8Array, dtype: StorageDtype): Float32Array {
  switch (dtype) {
    case 'F32':
      return new Float32Array(copied(bytes).buffer)
    case 'F64':
      return decodeF64(aligned(bytes, 8))
    case 'BF16':
      return decodeBf16(words(bytes))
    case 'F16':
      return decodeF16(words(bytes))
    default:
      fail('ERR_DTYPE', `decodeF32: ${dtype} is no floating type that can be read as F32; use F64, F32, BF16 or F16`)
  }
}

/** Exponents of NaN and infinity, all ones, in the highest 16 bits of an element. */
const notFinite: Readonly<Record<FloatDtype, number>> = { F64: 0x7ff0, F32: 0x7f80, BF16: 0x7f80, F16: 0x7c00 }

/** Whether every little-endian element, or scale of a block, is a number and finite; the bytes may start anywhere. */
export function isFiniteData(data: ArrayBufferView, dtype: string): boolean {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const blocks = ggmlType(dtype)
  if (blocks?.scales) return areFiniteBlocks(bytes, blocks)
  if (!isOneOf(keysOf(notFinite), dtype)) return true // integers are
  const mask = notFinite[dtype] >>> 8
  const rest = notFinite[dtype] & 0xff
  const width = storageBits[dtype] / 8
  for (let end = width; end <= bytes.length; end += width)
    if ((bytes[end - 1]! & mask) === mask && (bytes[end - 2]! & rest) === rest) return false
  return true
}

/** f32 values as little-endian elements of a floating type, rounded to nearest even, NaN kept NaN. */
export function encodeF32(values: Float32Array, dtype: FloatDtype): Uint8Array {
  switch (dtype) {
    case 'F32':
      return new Uint8Array(values.slice().buffer)
    case 'F64':
      return new Uint8Array(Float64Array.from(values).buffer)
    case 'BF16':
      return new Uint8Array(encodeBf16(values).buffer)
    case 'F16':
      return new Uint8Array(encodeF16(values).buffer)
  }
}

function decodeF64(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8))
}

function decodeBf16(from: Uint16Array): Float32Array {
  const bits = new Uint32Array(from.length)
  for (let i = 0; i < from.length; i++) bits[i] = from[i]! << 16
  return new Float32Array(bits.buffer)
}

let f16Table: Uint32Array | undefined

function decodeF16(from: Uint16Array): Float32Array {
  // All 65,536 values at once: a load an element instead of a branch on the exponent.
  f16Table ??= Uint32Array.from({ length: 65536 }, (_, half) => f16ToF32Bits(half))
  const table = f16Table
  const bits = new Uint32Array(from.length)
  for (let i = 0; i < from.length; i++) bits[i] = table[from[i]!]!
  return new Float32Array(bits.buffer)
}

function f16ToF32Bits(half: number): number {
  const sign = (half & 0x8000) << 16
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 31) return (sign | 0x7f800000 | (fraction << 13)) >>> 0
  if (exponent > 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0
  // Subnormal: fraction · 2^-24, a normal f32.
  return (sign | f32Bits(fraction * 2 ** -24)) >>> 0
}

function encodeBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(bits.length)
  for (let i = 0; i < bits.length; i++) {
    const u = bits[i]!
    const notNumber = (u & 0x7fffffff) > 0x7f800000
    out[i] = notNumber ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16
  }
  return out
}

function encodeF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(bits.length)
  for (let i = 0; i < bits.length; i++) out[i] = f32ToF16Bits(bits[i]!)
  return out
}

function f32ToF16Bits(u: number): number {
  const sign = (u >>> 16) & 0x8000
  const magnitude = u & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520, half-way from the largest F16 to the next power of two, rounds to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  if (magnitude <= 0x33000000) return sign
  // Subnormal: the fraction with its hidden bit, shifted to units of 2^-24; ties go to the even neighbour.
  const shift = 126 - (magnitude >>> 23)
  const fraction = (magnitude & 0x7fffff) | 0x800000
  const kept = fraction >>> shift
  const rest = fraction & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0))
}

function f32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!
}

function words(bytes: Uint8Array): Uint16Array {
  const whole = aligned(bytes, 2)
  return new Uint16Array(whole.buffer, whole.byteOffset, whole.byteLength / 2)
}

/** The same bytes where a typed array of this element size may start. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : copied(bytes)
}

/** A copy in memory of its own; `slice` of a Buffer would be a view of a shared pool. */
function copied(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
