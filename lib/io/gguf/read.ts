// GGUF files: a header of counts, metadata as typed keys and values, the names, shapes, types and offsets of tensors,
// then their data. Everything is little-endian. Source: the specification in ggml's docs/gguf.md.

import { check, fail } from '../../errors.ts'
import { GgufCursor } from './cursor.ts'
import { GGML_TYPES, type GgmlType, nameOfType } from './types.ts'

/** A value of the metadata. Whole numbers past 2^53 are bigint. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[]

/** One tensor. */
export interface GgufTensor {
  readonly name: string
  readonly type: GgmlType
  /** Rows first, as everywhere here: the file lists dimensions from the innermost on. */
  readonly shape: readonly number[]
  /** In the file. */
  readonly position: number
  readonly bytes: number
}

/** What stands before the data. */
export interface GgufHeader {
  readonly version: number
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** Where each entry of the metadata lies in the file, key and type included: first byte, and that behind the last. */
  readonly places: ReadonlyMap<string, readonly [begin: number, end: number]>
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

const MAGIC = 0x46554747 // GGUF
const VERSIONS = [2, 3]
const MOST_DIMENSIONS = 4
const LONGEST_KEY = 65_535
const DEEPEST_ARRAY = 4
/** A tensor is a name, a number of dimensions, a type and an offset; a value is a key, a type and a byte. */
const LEAST_TENSOR = 24
const LEAST_VALUE = 13

/** Scalars of metadata by number: bytes, and how they are read. */
const SCALARS: Readonly<Record<number, readonly [bytes: number, read: (at: Buffer) => GgufValue]>> = {
  0: [1, at => at.readUInt8()],
  1: [1, at => at.readInt8()],
  2: [2, at => at.readUInt16LE()],
  3: [2, at => at.readInt16LE()],
  4: [4, at => at.readUInt32LE()],
  5: [4, at => at.readInt32LE()],
  6: [4, at => at.readFloatLE()],
  7: [1, at => at.readUInt8() !== 0],
  10: [8, at => narrow(at.readBigUInt64LE())],
  11: [8, at => narrow(at.readBigInt64LE())],
  12: [8, at => at.readDoubleLE()],
}
const TEXT = 8
const ARRAY = 9

function narrow(value: bigint): GgufValue {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value
}

/**
 * Reads and checks everything before the data of a GGUF file of `size` bytes: every count, length and offset against
 * the size, before memory is taken for it.
 * @throws ERR_CHECKPOINT for a damaged file, ERR_UNSUPPORTED for versions, byte orders and types not read here
 */
export function readGgufHeader(path: string, file: number, size: number): GgufHeader {
  const cursor = new GgufCursor(path, file, size)
  check(size >= 24, 'ERR_CHECKPOINT', () => `${path}: has ${size} bytes, a GGUF file at least 24; it is truncated`)
  check(
    cursor.u32('the magic') === MAGIC,
    'ERR_CHECKPOINT',
    () => `${path}: does not begin with "GGUF"; is it a model?`,
  )
  const version = readVersion(cursor)
  const tensorCount = cursor.count('the number of tensors')
  const valueCount = cursor.count('the number of metadata')
  cursor.expect(tensorCount * LEAST_TENSOR + valueCount * LEAST_VALUE, `${tensorCount} tensors, ${valueCount} metadata`)
  const metadata = new Map<string, GgufValue>()
  const places = new Map<string, readonly [number, number]>()
  for (let i = 0; i < valueCount; i++) {
    const begin = cursor.position
    const key = nameAt(cursor, 'a metadata key')
    check(!metadata.has(key), 'ERR_CHECKPOINT', () => `${path}: metadata "${key}" comes twice; the file is damaged`)
    metadata.set(key, readValue(cursor, cursor.u32(`the type of ${key}`), key, 0))
    places.set(key, [begin, cursor.position])
  }
  const drafts = Array.from({ length: tensorCount }, () => readTensor(cursor))
  return { version, metadata, places, tensors: placed(cursor, drafts, alignmentOf(path, metadata)) }
}

function readVersion(cursor: GgufCursor): number {
  const version = cursor.u32('the version')
  check((version & 0xffff) !== 0, 'ERR_UNSUPPORTED', () => {
    return `${cursor.path}: is a big-endian GGUF file; convert it with gguf_convert_endian.py of llama.cpp`
  })
  check(VERSIONS.includes(version), 'ERR_UNSUPPORTED', () => {
    return `${cursor.path}: is GGUF version ${version}, read are ${VERSIONS.join(' and ')}; convert the model again`
  })
  return version
}

function nameAt(cursor: GgufCursor, what: string): string {
  const length = cursor.count(`the length of ${what}`)
  check(length > 0 && length <= LONGEST_KEY, 'ERR_CHECKPOINT', () => {
    return `${cursor.path}: ${what} has ${length} bytes at byte ${cursor.position}, expected 1 to ${LONGEST_KEY}`
  })
  return cursor.bytes(length, what).toString('utf8')
}

function readValue(cursor: GgufCursor, type: number, key: string, depth: number): GgufValue {
  if (type === TEXT) return cursor.text(key)
  if (type === ARRAY) return readArray(cursor, key, depth)
  const scalar = SCALARS[type]
  if (!scalar) fail('ERR_CHECKPOINT', `${cursor.path}: ${key} has the unknown type ${type}; the file is damaged`)
  return scalar[1](cursor.bytes(scalar[0], key))
}

function readArray(cursor: GgufCursor, key: string, depth: number): readonly GgufValue[] {
  check(depth < DEEPEST_ARRAY, 'ERR_CHECKPOINT', () => `${cursor.path}: ${key} holds arrays ${depth} deep`)
  const type = cursor.u32(`the type of ${key}`)
  const count = cursor.count(`the length of ${key}`)
  const least = type === TEXT ? 8 : type === ARRAY ? 12 : (SCALARS[type]?.[0] ?? 1)
  cursor.expect(count * least, `${key}, an array of ${count},`)
  const values: GgufValue[] = []
  for (let i = 0; i < count; i++) values.push(readValue(cursor, type, key, depth + 1))
  return values
}

interface Draft extends Omit<GgufTensor, 'position'> {
  readonly offset: number
}

function readTensor(cursor: GgufCursor): Draft {
  const { path } = cursor
  const name = nameAt(cursor, 'a tensor name')
  const rank = cursor.u32(`the dimensions of ${name}`)
  check(rank <= MOST_DIMENSIONS, 'ERR_CHECKPOINT', () => {
    return `${path}: tensor "${name}" has ${rank} dimensions, at most ${MOST_DIMENSIONS} are allowed`
  })
  const shape = Array.from({ length: rank }, () => cursor.count(`a dimension of ${name}`)).reverse()
  const number = cursor.u32(`the type of ${name}`)
  const type = GGML_TYPES.get(number)
  check(type, 'ERR_UNSUPPORTED', () => {
    const known = [...GGML_TYPES.values()].filter(({ name }) => !name.startsWith('I')).map(({ name }) => name)
    return `${path}: tensor "${name}" has the type ${nameOfType(number)}; read are ${known.join(', ')}`
  })
  return { name, type, shape, bytes: bytesOf(path, name, type, shape), offset: cursor.count(`the offset of ${name}`) }
}

function bytesOf(path: string, name: string, type: GgmlType, shape: readonly number[]): number {
  const columns = shape.at(-1) ?? 1
  check(columns % type.elements === 0, 'ERR_CHECKPOINT', () => {
    return `${path}: tensor "${name}" has rows of ${columns} elements, ${type.name} holds multiples of ${type.elements}`
  })
  const elements = shape.reduce((product, n) => product * n, 1)
  check(Number.isSafeInteger(elements * type.bytes), 'ERR_CHECKPOINT', () => {
    return `${path}: tensor "${name}" cannot have the shape [${shape.join(', ')}]`
  })
  return (elements / type.elements) * type.bytes
}

function alignmentOf(path: string, metadata: ReadonlyMap<string, GgufValue>): number {
  const value = metadata.get('general.alignment') ?? 32
  const isPower = typeof value === 'number' && value >= 1 && Number.isInteger(Math.log2(value)) && value <= 1 << 30
  if (!isPower) fail('ERR_CHECKPOINT', `${path}: general.alignment is ${value}, expected a power of two`)
  return value
}

/** Tensors with their places: aligned, within the file, without overlap. */
function placed(cursor: GgufCursor, drafts: readonly Draft[], alignment: number): ReadonlyMap<string, GgufTensor> {
  const { path, size } = cursor
  const start = Math.ceil(cursor.position / alignment) * alignment
  const tensors = new Map<string, GgufTensor>()
  for (const { offset, ...draft } of drafts) {
    const { name, bytes } = draft
    const position = start + offset
    check(!tensors.has(name), 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" comes twice; the file is damaged`)
    check(offset % alignment === 0, 'ERR_CHECKPOINT', () => {
      return `${path}: tensor "${name}" begins at ${offset}, not at a multiple of ${alignment}`
    })
    check(position + bytes <= size, 'ERR_CHECKPOINT', () => {
      const end = position + bytes
      return `${path}: tensor "${name}" ends at byte ${end}, the file at ${size}; the file is truncated, fetch it again`
    })
    tensors.set(name, { ...draft, position })
  }
  const order = [...tensors.values()].filter(({ bytes }) => bytes > 0).sort((a, b) => a.position - b.position)
  let [before, end] = ['', 0]
  for (const { name, position, bytes } of order) {
    const [other, from] = [before, end]
    check(position >= from, 'ERR_CHECKPOINT', () => {
      return `${path}: tensors "${other}" and "${name}" overlap; the file is damaged`
    })
    before = name
    end = position + bytes
  }
  return tensors
}
