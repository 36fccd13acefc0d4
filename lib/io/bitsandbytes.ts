// Matrices as bitsandbytes stores them, beside floats in one file: 4-bit codes (NF4, FP4; their scales plain or
// quantised again) and 8-bit codes with a scale a row. They are read as the floats that bitsandbytes makes of them.

import { check } from '../errors.ts'
import { isOneOf, nth } from '../tuple.ts'
import type { CodeType } from './bitsandbytesWrite.ts'
import { isJsonObject, type Json } from './json.ts'
import { decodeF32, encodeF32, type FloatDtype } from './safetensors.ts'
import type { WeightsFile } from './weightsFile.ts'

const STATE = /^(.+)\.quant_state\.bitsandbytes__(?:nf4|fp4)$/
const DTYPES: Readonly<Record<string, FloatDtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' }
/** What 127 steps of an 8-bit code come to, as bitsandbytes multiplies. */
const INT8_STEP = Math.fround(1 / 127)

/** Dtypes of its parts. */
const STORED = ['U8', 'I8', 'F32', 'F16', 'BF16'] as const

interface Decoded {
  readonly dtype: FloatDtype
  readonly shape: readonly number[]
  readonly bits: 4 | 8
  readonly type: CodeType
  readonly isNested: boolean
  /** Codes of a layer that files hold as [in, out] are made of [out, in]. */
  readonly isUpright: true
  /** The values, in f32. */
  readonly decode: () => Float32Array
  /** Its parts in the file. */
  readonly parts: readonly string[]
}

/** The file with floats in place of such matrices; itself where it has none. @throws ERR_CHECKPOINT */
export function withoutCodes(file: WeightsFile): WeightsFile {
  const names = file.names()
  const decoded = new Map<string, Decoded>()
  for (const name of names) {
    const weight = STATE.exec(name)?.[1]
    if (weight !== undefined) decoded.set(weight, fourBit(file, weight, name))
    const module = /^(.+)\.SCB$/.exec(name)?.[1]
    if (module !== undefined) decoded.set(`${module}.weight`, eightBit(file, module))
  }
  if (decoded.size === 0) return file
  const hidden = new Set([...decoded.values()].flatMap(({ parts }) => parts))
  const bits = [...new Set([...decoded.values()].map(each => each.bits))].join(' and ')
  return {
    ...file,
    note:
      `${decoded.size} matrices are ${bits}-bit codes of bitsandbytes: they are decoded, and kept as the storage says ` +
      '(with storage nf4 or int8 they are encoded anew)',
    names: () => names.filter(name => !hidden.has(name)),
    has: name => !hidden.has(name) && file.has(name),
    info: name => decoded.get(name) ?? file.info(name),
    read(name) {
      const found = decoded.get(name)
      return found ? encodeF32(found.decode(), found.dtype) : file.read(name)
    },
    locate: name => (decoded.has(name) ? undefined : file.locate(name)),
    codesOf(name) {
      const found = decoded.get(name)
      if (!found) return undefined
      const tensors = [name, ...found.parts].map(part => {
        const { dtype, shape } = file.info(part)
        check(isOneOf(STORED, dtype), 'ERR_CHECKPOINT', () => `${file.path}: "${part}" is ${dtype}; fetch it again`)
        return { name: part, dtype, shape, data: file.read(part) }
      })
      return { type: found.type, isNested: found.isNested, tensors }
    },
  }
}

/** w = map[code] · absmax of its block; absmax = nested map[code] · nested absmax + offset where it has codes too. */
function fourBit(file: WeightsFile, name: string, stateName: string): Decoded {
  const state = stateOf(file, stateName)
  const size = state.shape.reduce((product, length) => product * length, 1)
  const part = (key: string) => `${name}.${key}`
  const lengthOf = (key: string) => (file.has(key) ? file.info(key).shape.reduce((a, b) => a * b, 1) : 0)
  const blocks = Math.ceil(size / state.blocksize)
  const isSound =
    lengthOf(name) === Math.ceil(size / 2) && lengthOf(part('absmax')) === blocks && lengthOf(part('quant_map')) === 16
  check(isSound, 'ERR_CHECKPOINT', () => {
    return `${file.path}: the parts of "${name}" do not have the sizes of ${size} codes in blocks of ${state.blocksize}; fetch it again`
  })
  const nestedParts = state.nested ? [part('nested_absmax'), part('nested_quant_map')] : []
  return {
    dtype: state.dtype,
    shape: state.shape,
    bits: 4,
    type: stateName.endsWith('__fp4') ? 'fp4' : 'nf4',
    isNested: state.nested !== undefined,
    isUpright: true,
    parts: [stateName, part('absmax'), part('quant_map'), ...nestedParts],
    decode() {
      const map = floats(file, part('quant_map'))
      const scales = state.nested ? nestedScales(file, name, state.nested) : floats(file, part('absmax'))
      const codes = file.read(name)
      return Float32Array.from({ length: size }, (_, i) => {
        const byte = nth(codes, i >> 1)
        return nth(map, i % 2 === 0 ? byte >> 4 : byte & 15) * nth(scales, Math.floor(i / state.blocksize))
      })
    },
  }
}

interface Nested {
  readonly blocksize: number
  readonly offset: number
}

function nestedScales(file: WeightsFile, name: string, { blocksize, offset }: Nested): Float32Array {
  const map = floats(file, `${name}.nested_quant_map`)
  const absmax = floats(file, `${name}.nested_absmax`)
  const step = Math.fround(offset)
  // Rounded to f32 after the product and after the sum.
  return Float32Array.from(file.read(`${name}.absmax`), (code, i) => {
    return Math.fround(nth(map, code) * nth(absmax, Math.floor(i / blocksize))) + step
  })
}

function stateOf(file: WeightsFile, name: string) {
  const text = new TextDecoder().decode(file.read(name))
  const value = parsed(text)
  const {
    shape,
    blocksize,
    dtype,
    nested_blocksize: nestedSize,
    nested_offset: offset,
  } = isJsonObject(value) ? value : {}
  const isShape =
    Array.isArray(shape) && shape.every(length => typeof length === 'number' && Number.isSafeInteger(length))
  const type = typeof dtype === 'string' ? DTYPES[dtype] : undefined
  check(isShape && typeof blocksize === 'number' && blocksize > 0 && type !== undefined, 'ERR_CHECKPOINT', () => {
    return `${file.path}: "${name}" is no state of bitsandbytes (${text.slice(0, 80)}); fetch it again`
  })
  const isNested = typeof nestedSize === 'number' && nestedSize > 0 && typeof offset === 'number'
  const nested: Nested | undefined = isNested ? { blocksize: nestedSize, offset } : undefined
  return { shape: shape.filter(length => typeof length === 'number'), blocksize, dtype: type, nested }
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** w = code · scale of its row / 127. */
function eightBit(file: WeightsFile, module: string): Decoded {
  const [name, scale, format] = [`${module}.weight`, `${module}.SCB`, `${module}.weight_format`]
  const layout = file.has(format) ? nth(file.read(format), 0) : 0
  check(layout === 0, 'ERR_UNSUPPORTED', () => {
    return `${file.path}: "${name}" has weight_format ${layout}, rows (0) are read; save it with a newer bitsandbytes`
  })
  const { shape, dtype } = file.has(name) ? file.info(name) : { shape: [], dtype: 'none' }
  const [rows = 0, columns = 0] = shape
  check(dtype === 'I8' && file.info(scale).shape.join() === String(rows), 'ERR_CHECKPOINT', () => {
    return `${file.path}: "${name}" is ${dtype} [${shape.join(', ')}], its scales [${file.info(scale).shape.join(', ')}]; fetch it again`
  })
  return {
    dtype: 'F32',
    shape,
    bits: 8,
    type: 'int8',
    isNested: false,
    isUpright: true,
    parts: file.has(format) ? [scale, format] : [scale],
    decode() {
      const codes = new Int8Array(file.read(name).slice().buffer)
      const scales = floats(file, scale)
      return Float32Array.from(codes, (code, i) => {
        return Math.fround(code * nth(scales, Math.floor(i / columns))) * INT8_STEP
      })
    },
  }
}

function floats(file: WeightsFile, name: string): Float32Array {
  const { dtype } = file.info(name)
  check(dtype === 'F32' || dtype === 'F16' || dtype === 'BF16', 'ERR_CHECKPOINT', () => {
    return `${file.path}: "${name}" is ${dtype}, floats were expected; fetch it again`
  })
  return decodeF32(file.read(name), dtype)
}
