// The header of a safetensors file: an object from tensor name to dtype, shape and byte range, and `__metadata__`.
// The data follow without padding, so the header and the file size must explain each other to the byte.

import { check, fail } from '../errors.ts'
import { isStorageDtype, type StorageDtype, storageBits } from './dtype.ts'
import { isObject, type PyJson, shown } from './json.ts'
import { JsonError, parseExact } from './parseJson.ts'

/** One tensor of a file. `begin` and `end` count bytes from the start of the data, not of the file. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: StorageDtype
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

/** The library refuses longer headers, and so do we: 100 MB of JSON is no model. */
export const maxHeaderBytes = 100_000_000

/** What a header holds. */
interface Header {
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, TensorInfo>
}

/**
 * Parses and checks a header of a file with `dataBytes` bytes after it. Every fault is an `ERR_CHECKPOINT` that
 * names `path`, the tensor and the values that disagree.
 */
export function parseHeader(path: string, header: Uint8Array, dataBytes: number): Header {
  check(header[0] === 0x7b, 'ERR_CHECKPOINT', () => {
    return `${path}: header starts with byte ${header[0]}, not with "{"; this is not a safetensors file`
  })
  const entries = parseEntries(path, header)
  const metadata = parseMetadata(path, entries.__metadata__)
  const tensors = new Map<string, TensorInfo>()
  for (const [name, entry] of Object.entries(entries))
    if (name !== '__metadata__') tensors.set(name, parseTensor(path, name, entry))
  checkLayout(path, [...tensors.values()], dataBytes)
  return { metadata, tensors }
}

/** The bytes before the data: header length, compact JSON, spaces up to a multiple of 8. Tensors in file order. */
export function buildHeader(
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>> | undefined,
): Uint8Array {
  const members = tensors.map(({ name, dtype, shape, begin, end }) => {
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`
  })
  // The library writes metadata in the random order of a hash map; ours are sorted, so equal content is equal bytes.
  const sorted = Object.entries(metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  if (metadata)
    members.unshift(`"__metadata__":{${sorted.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`)}}`)
  const json = Buffer.from(`{${members.join(',')}}`, 'utf8')
  const length = Math.ceil(json.byteLength / 8) * 8
  check(length <= maxHeaderBytes, 'ERR_CHECKPOINT', () => {
    return `safetensors: header of ${length} bytes is past the format's ${maxHeaderBytes}; write fewer tensors a file`
  })
  const bytes = Buffer.alloc(8 + length, ' ')
  bytes.writeBigUInt64LE(BigInt(length), 0)
  json.copy(bytes, 8)
  return bytes
}

/** Bytes of a tensor, or undefined where a product passes 2^53 or elements do not fill whole bytes. */
export function byteSize(dtype: StorageDtype, shape: readonly number[]): number | undefined {
  let elements = 1
  for (const dimension of shape) {
    elements *= dimension
    if (!Number.isSafeInteger(elements)) return undefined
  }
  const bits = elements * storageBits[dtype]
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined
}

function parseEntries(path: string, header: Uint8Array): { readonly [name: string]: PyJson } {
  let text: string
  try {
    // ignoreBOM keeps a mark as a character, so that it is refused like any other foreign one.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
  } catch (error) {
    fail('ERR_CHECKPOINT', `${path}: header is not valid UTF-8; the file is damaged`, error)
  }
  try {
    const value = parseExact(text, { unique: true })
    if (isObject(value)) return value
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    fail('ERR_CHECKPOINT', `${path}: header ${error.message} (byte ${8 + error.at}); the file is damaged`, error)
  }
  fail('ERR_CHECKPOINT', `${path}: header is no JSON object; this is not a safetensors file`)
}

function parseMetadata(path: string, value: PyJson | undefined): Record<string, string> {
  if (value === undefined || value === null) return {}
  check(isObject(value), 'ERR_CHECKPOINT', () => `${path}: __metadata__ is ${shown(value)}, not an object of strings`)
  for (const [key, text] of Object.entries(value))
    check(
      typeof text === 'string',
      'ERR_CHECKPOINT',
      () => `${path}: __metadata__ "${key}" is ${shown(text)}, not a string`,
    )
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]))
}

function parseTensor(path: string, name: string, entry: PyJson): TensorInfo {
  const where = () => `${path}: tensor ${shown(name)}`
  check(isObject(entry), 'ERR_CHECKPOINT', () => `${where()} is ${shown(entry)}, not an object`)
  const { dtype, shape, data_offsets: offsets } = entry
  check(isStorageDtype(dtype), 'ERR_CHECKPOINT', () => {
    return `${where()} has dtype ${shown(dtype)}, not one of ${Object.keys(storageBits).join(', ')}`
  })
  check(isCounts(shape), 'ERR_CHECKPOINT', () => `${where()} has shape ${shown(shape)}, not a list of whole numbers`)
  check(isCounts(offsets) && offsets.length === 2, 'ERR_CHECKPOINT', () => {
    return `${where()} has data_offsets ${shown(offsets)}, not two whole numbers`
  })
  const [begin = 0, end = 0] = offsets
  const size = byteSize(dtype, shape)
  check(size !== undefined, 'ERR_CHECKPOINT', () => {
    return `${where()} of ${dtype} [${shape}] has no whole number of bytes below 2^53; the file is damaged`
  })
  check(end - begin === size, 'ERR_CHECKPOINT', () => {
    return `${where()} of ${dtype} [${shape}] takes ${size} bytes, its data_offsets [${begin},${end}] ${end - begin}`
  })
  return { name, dtype, shape, begin, end }
}

/** The byte ranges must follow one another from 0 to the end of the file. */
function checkLayout(path: string, tensors: TensorInfo[], dataBytes: number): void {
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let at = 0
  let before = 'the start of the data'
  for (const { name, begin, end } of tensors) {
    check(begin === at, 'ERR_CHECKPOINT', () => {
      const fault = begin < at ? `overlaps ${before}` : `leaves a hole after ${before}`
      return `${path}: tensor ${shown(name)} begins at byte ${begin}, not ${at}: it ${fault}`
    })
    at = end
    before = `tensor ${shown(name)}`
  }
  check(at === dataBytes, 'ERR_CHECKPOINT', () => {
    const fault = at > dataBytes ? 'the file is truncated; fetch or copy it again' : 'bytes follow that no tensor owns'
    return `${path}: tensors end at byte ${at} of the data, the file holds ${dataBytes}: ${fault}`
  })
}

function isCounts(value: PyJson | undefined): value is readonly number[] {
  return Array.isArray(value) && value.every(item => typeof item === 'number' && item >= 0 && !Object.is(item, -0))
}
