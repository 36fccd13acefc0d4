// Writing GGUF files, version 3, byte for byte as gguf-py's writer lays them out.

import { check } from '../../errors.ts'
import { streamFileAtomic } from '../atomic.ts'
import { ggmlType, typeNumber } from './types.ts'

/** A value of the metadata with its type; `raw` is a whole entry, key and type included, of another file. */
export type GgufEntry = readonly [
  key: string,
  value:
    | { readonly u32: number }
    | { readonly f32: number }
    | { readonly bool: boolean }
    | { readonly text: string }
    | { readonly texts: readonly string[] }
    | { readonly f32s: readonly number[] }
    | { readonly i32s: readonly number[] }
    | { readonly raw: Uint8Array },
]

/** One tensor to write; `data` is called when its turn comes, so that not all need lie in memory. */
export interface GgufTensorToWrite {
  readonly name: string
  /** As ggml spells it: F32, F16, Q8_0. */
  readonly type: string
  /** Rows first. */
  readonly shape: readonly number[]
  readonly data: () => Promise<Uint8Array>
}

const ALIGNMENT = 32
const LONGEST_NAME = 63

/**
 * Writes a GGUF file atomically.
 * @throws ERR_CHECKPOINT for a name that is too long for ggml or comes twice, and data of another length than the shape
 */
export async function writeGguf(
  path: string,
  metadata: readonly GgufEntry[],
  tensors: readonly GgufTensorToWrite[],
  verify?: (written: string) => Promise<void>,
): Promise<void> {
  const names = new Set<string>()
  for (const { name } of tensors) {
    check(Buffer.byteLength(name) <= LONGEST_NAME, 'ERR_CHECKPOINT', () => {
      return `${path}: tensor name "${name}" is longer than ggml's ${LONGEST_NAME} bytes`
    })
    check(!names.has(name), 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" comes twice`)
    names.add(name)
  }
  const sizes = tensors.map(each => bytesOf(path, each))
  await streamFileAtomic(path, async sink => {
    const header = headerOf(metadata, tensors, sizes)
    await sink.write(padded(header))
    for (const [i, { name, data }] of tensors.entries()) {
      const bytes = await data()
      check(bytes.byteLength === sizes[i], 'ERR_CHECKPOINT', () => {
        return `${path}: tensor "${name}" has ${bytes.byteLength} bytes of data, its shape takes ${sizes[i]}`
      })
      await sink.write(padded(bytes))
    }
    await verify?.(sink.path)
  })
}

function bytesOf(path: string, { name, type, shape }: GgufTensorToWrite): number {
  const found = ggmlType(type)
  const columns = shape.at(-1) ?? 1
  check(found && columns % found.elements === 0, 'ERR_CHECKPOINT', () => {
    return `${path}: tensor "${name}" [${shape.join(', ')}] cannot be ${type}`
  })
  return (shape.reduce((product, n) => product * n, 1) / found.elements) * found.bytes
}

function padded(bytes: Uint8Array): Uint8Array {
  const rest = bytes.byteLength % ALIGNMENT
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(ALIGNMENT - rest)])
}

function headerOf(
  metadata: readonly GgufEntry[],
  tensors: readonly GgufTensorToWrite[],
  sizes: readonly number[],
): Buffer {
  const parts: Uint8Array[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length)]
  for (const [key, value] of metadata) parts.push(...('raw' in value ? [value.raw] : [text(key), typed(value)]))
  let offset = 0
  for (const [i, { name, type, shape }] of tensors.entries()) {
    const dimensions = [...shape].reverse().map(u64)
    parts.push(text(name), u32(shape.length), ...dimensions, u32(typeNumber(type) ?? 0), u64(offset))
    offset += Math.ceil((sizes[i] ?? 0) / ALIGNMENT) * ALIGNMENT
  }
  return Buffer.concat(parts)
}

function typed(value: Exclude<GgufEntry[1], { raw: Uint8Array }>): Buffer {
  if ('u32' in value) return Buffer.concat([u32(4), u32(value.u32)])
  if ('f32' in value) return Buffer.concat([u32(6), f32s([value.f32])])
  if ('bool' in value) return Buffer.concat([u32(7), Buffer.of(value.bool ? 1 : 0)])
  if ('text' in value) return Buffer.concat([u32(8), text(value.text)])
  if ('f32s' in value) return Buffer.concat([u32(9), u32(6), u64(value.f32s.length), f32s(value.f32s)])
  if ('i32s' in value) {
    const bytes = Buffer.from(Int32Array.from(value.i32s).buffer)
    return Buffer.concat([u32(9), u32(5), u64(value.i32s.length), bytes])
  }
  return Buffer.concat([u32(9), u32(8), u64(value.texts.length), ...value.texts.map(text)])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

const f32s = (values: readonly number[]): Buffer => Buffer.from(Float32Array.from(values).buffer)

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8')
  return Buffer.concat([u64(bytes.byteLength), bytes])
}
