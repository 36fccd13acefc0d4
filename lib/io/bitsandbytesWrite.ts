// Matrices as bitsandbytes stores them, made of floats as its own PyTorch code makes them: each block of 64 elements by
// its largest, then the nearest of 16 values; or each row by its largest, in 127 steps either way.

import { under } from '../tuple.ts'
import { pyFloat, stringifyPython } from './json.ts'
import type { FloatDtype, TensorInMemory } from './safetensors.ts'

/** How matrices are written for bitsandbytes. */
export const CODE_TYPES = ['nf4', 'fp4', 'int8'] as const

/** A way of writing matrices for bitsandbytes. */
export type CodeType = (typeof CODE_TYPES)[number]

const BLOCK = 64
const NESTED_BLOCK = 256

// NF4 (Dettmers et al. 2023): quantiles of a normal distribution. FP4: sign, two bits of exponent, one of mantissa.
const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
]
const FP4 = [0, 0.0052083334885537624, 0.6666666865348816, 1, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25]
const MAPS = { nf4: Float32Array.from(NF4), fp4: Float32Array.from([...FP4, ...FP4.map(value => 0 - value)]) } as const

/** Names of dtypes as PyTorch has them. */
const TORCH: Readonly<Record<string, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** PyTorch's name of a dtype that such a matrix may stand for. */
export const torchDtype = (dtype: FloatDtype): string => under(TORCH, dtype)

/** A sorted map and what lies halfway between its values; `codes`: which code each place has. */
class Nearest {
  readonly #bounds: Float32Array
  readonly #codes: Uint8Array

  constructor(map: Float32Array) {
    const codes = [...map.keys()].sort((a, b) => (map[a] ?? 0) - (map[b] ?? 0) || a - b)
    const at = (i: number) => map[codes[i] ?? 0] ?? 0
    this.#codes = Uint8Array.from(codes)
    this.#bounds = Float32Array.from({ length: map.length - 1 }, (_, i) => Math.fround(at(i) + at(i + 1)) / 2)
  }

  /** The code of the value that is nearest; halfway, of the lower. */
  of(x: number): number {
    const bounds = this.#bounds
    let [low, high] = [0, bounds.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((bounds[middle] ?? 0) < x) low = middle + 1
      else high = middle
    }
    return this.#codes[low] ?? 0
  }
}

const nearest = { nf4: new Nearest(MAPS.nf4), fp4: new Nearest(MAPS.fp4) }

/** Dynamic 8-bit numbers (Dettmers et al. 2022): fractions finer, and exponents fewer, the larger the number. */
const DYNAMIC = dynamicMap()
const nearestDynamic = new Nearest(DYNAMIC)

function dynamicMap(): Float32Array {
  const values = [0, 1]
  for (let i = 0; i < 7; i++) {
    const items = 2 ** i
    const step = Math.fround(Math.fround(0.9) / items)
    // The upper half of PyTorch's linspace counts from its end.
    const bound = (k: number) => {
      const isLow = k < (items + 1) / 2
      return Math.fround(isLow ? Math.fround(0.1) + step * k : 1 - step * (items - k))
    }
    for (let k = 0; k < items; k++) {
      const mean = Math.fround(bound(k) + bound(k + 1)) / 2
      const value = Math.fround(Math.fround(10 ** (i - 6)) * mean)
      values.push(value, -value)
    }
  }
  return Float32Array.from(values).sort()
}

/** The largest magnitude of each stretch of `length` values. */
function largestOf(values: Float32Array, length: number): Float32Array {
  const found = new Float32Array(Math.ceil(values.length / length))
  for (let i = 0, block = 0; i < values.length; i += length, block++) {
    let most = 0
    for (let k = i; k < Math.min(i + length, values.length); k++) most = Math.max(most, Math.abs(values[k] ?? 0))
    found[block] = most
  }
  return found
}

/** The code of each value over the largest of its block. */
function coded(values: Float32Array, largest: Float32Array, length: number, map: Nearest): Uint8Array {
  const codes = new Uint8Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const scale = Math.max(largest[Math.floor(i / length)] ?? 0, 1e-38)
    const x = Math.fround((values[i] ?? 0) * Math.fround(1 / scale))
    codes[i] = map.of(Math.min(1, Math.max(-1, x)))
  }
  return codes
}

interface Matrix {
  /** Name of the weight. */
  readonly name: string
  readonly shape: readonly number[]
  /** In rows. */
  readonly values: Float32Array
  /** What it stands for. */
  readonly dtype: FloatDtype
}

const tensor = (name: string, dtype: TensorInMemory['dtype'], data: ArrayBufferView & { length: number }) => ({
  ...{ name, dtype, data },
  shape: [data.length],
})

/** The tensors of a matrix in codes of 4 bits; `isNested`: its scales are codes of 8 bits. */
export function fourBitTensors(
  { name, shape, values, dtype }: Matrix,
  type: Exclude<CodeType, 'int8'>,
  isNested: boolean,
): TensorInMemory[] {
  const scales = largestOf(values, BLOCK)
  const codes = coded(values, scales, BLOCK, nearest[type])
  const zero = nearest[type].of(0)
  const packed = Uint8Array.from({ length: Math.ceil(values.length / 2) }, (_, i) => {
    return ((codes[2 * i] ?? 0) << 4) | (codes[2 * i + 1] ?? zero)
  })
  const nested = isNested ? nestedScales(name, scales) : undefined
  const state = {
    ...{ quant_type: type, blocksize: BLOCK, dtype: torchDtype(dtype), shape: [...shape] },
    ...nested?.state,
  }
  const text = stringifyPython(state, { indent: 0, sortKeys: false })
  return [
    { name, dtype: 'U8', shape: [packed.length, 1], data: packed },
    tensor(`${name}.quant_map`, 'F32', MAPS[type]),
    tensor(`${name}.quant_state.bitsandbytes__${type}`, 'U8', new TextEncoder().encode(text)),
    ...(nested?.tensors ?? [tensor(`${name}.absmax`, 'F32', scales)]),
  ]
}

function nestedScales(name: string, scales: Float32Array) {
  const offset = Math.fround(scales.reduce((sum, scale) => sum + scale, 0) / scales.length)
  const moved = scales.map(scale => scale - offset)
  const largest = largestOf(moved, NESTED_BLOCK)
  return {
    state: { nested_blocksize: NESTED_BLOCK, nested_dtype: 'float32', nested_offset: pyFloat(offset) },
    tensors: [
      tensor(`${name}.absmax`, 'U8', coded(moved, largest, NESTED_BLOCK, nearestDynamic)),
      tensor(`${name}.nested_absmax`, 'F32', largest),
      tensor(`${name}.nested_quant_map`, 'F32', DYNAMIC),
    ],
  }
}

/** The tensors of a matrix in codes of 8 bits. */
export function eightBitTensors({ name, shape, values }: Omit<Matrix, 'dtype'>): TensorInMemory[] {
  const columns = shape[1] ?? 1
  const scales = largestOf(values, columns)
  const codes = new Int8Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const scale = scales[Math.floor(i / columns)] ?? 0
    codes[i] = scale === 0 ? 0 : evenly(Math.fround((values[i] ?? 0) * Math.fround(127 / scale)))
  }
  const module = name.replace(/\.weight$/, '')
  return [
    { name, dtype: 'I8', shape, data: codes },
    tensor(`${module}.SCB`, 'F32', scales),
    { name: `${module}.weight_format`, dtype: 'U8', shape: [], data: Uint8Array.of(0) },
  ]
}

/** Rounded, halves to the even number. */
function evenly(x: number): number {
  const rounded = Math.round(x)
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}
