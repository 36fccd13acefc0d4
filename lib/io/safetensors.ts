import { constants } from 'node:buffer'
import { closeSync, existsSync, fstatSync, openSync, read as readCallback, readSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { check, fail, LowrankError, systemCode } from '../errors.ts'
import { nth, under } from '../tuple.ts'
import { streamFileAtomic } from './atomic.ts'
import { decodeF32, isStorageDtype, type StorageDtype, storageBits } from './dtype.ts'
import { isObject, type Json, readJson, shown } from './json.ts'
import { buildHeader, byteSize, maxHeaderBytes, parseHeader, type TensorInfo } from './safetensorsHeader.ts'
import { readTorchTensors } from './torchFile.ts'

export { decodeF32, encodeF32, type FloatDtype, isFiniteData, type StorageDtype } from './dtype.ts'
export { byteSize, type TensorInfo } from './safetensorsHeader.ts'

/** Named tensors on disk: one file, or all shards of a model. */
export interface Checkpoint {
  /** The file or folder, for messages. */
  readonly path: string
  /** All tensor names. */
  names(): string[]
  has(name: string): boolean
  /** Dtype, shape and byte range. Unknown name: `ERR_CHECKPOINT`. */
  info(name: string): TensorInfo
  /** The raw little-endian bytes in memory of their own. Unknown name, or a file cut since: `ERR_CHECKPOINT`. */
  read(name: string): Uint8Array
  /** Where the bytes lie, for who maps the file. Unknown name: `ERR_CHECKPOINT`. */
  locate(name: string): FileRange
  /** {@link read}, decoded. Not F64, F32, BF16 or F16: `ERR_DTYPE`. */
  readF32(name: string): Float32Array
  /** Closes the files; reading after it is `ERR_DISPOSED`. */
  close(): void
}

/** A stretch of an open file, in bytes; `fileSize` as it was when the header was checked. */
export interface FileRange {
  readonly file: number
  readonly position: number
  readonly bytes: number
  readonly fileSize: number
}

/** One open safetensors file. */
export interface SafetensorsFile extends Checkpoint {
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** Where the data begin in the file; `begin` and `end` of a tensor count from here. Bytes. */
  readonly dataStart: number
}

/**
 * Opens a safetensors file and checks its whole header against its size before anything is read: truncated,
 * oversized, overlapping, with holes, wrong byte counts, duplicate names and the like are `ERR_CHECKPOINT`.
 */
export function openSafetensors(path: string): SafetensorsFile {
  const file = openDescriptor(path)
  try {
    const { size } = fstatSync(file)
    const header = readHeader(path, file, size)
    const dataStart = 8 + header.byteLength
    const parsed = parseHeader(path, header, size - dataStart)
    return fileOf(path, file, { ...parsed, dataStart, size })
  } catch (error) {
    closeSync(file)
    throw error
  }
}

/**
 * {@link openSafetensors}, with every tensor read into memory, off the event loop, and the file closed: for files as
 * small as adapters are. `open`: for files of another format. A file that changes meanwhile: `ERR_CHECKPOINT`.
 */
export async function readSafetensors(path: string, open = openSafetensors): Promise<SafetensorsFile> {
  const file = open(path)
  try {
    const bytes = new Map<string, Uint8Array<ArrayBuffer>>()
    for (const name of file.names()) bytes.set(name, await readRange(path, file.locate(name)))
    const read = (name: string) => under(bytes, file.info(name).name)
    return { ...file, read, readF32: name => decodeNamed(path, file.info(name), read) }
  } finally {
    file.close()
  }
}

/**
 * Opens a state dictionary that torch.save wrote (pytorch_model.bin), read in place; its pickle runs nothing.
 * Files of before torch 1.6 and objects that are no weights: `ERR_UNSUPPORTED`; broken files: `ERR_CHECKPOINT`.
 */
export function openTorchFile(path: string): SafetensorsFile {
  const file = openDescriptor(path)
  try {
    const { size } = fstatSync(file)
    const tensors = readTorchTensors(path, size, (position, length) => readAt(path, file, position, length))
    return fileOf(path, file, { metadata: {}, tensors, dataStart: 0, size })
  } catch (error) {
    closeSync(file)
    throw error
  }
}

/**
 * Opens the weights of a model folder: `model.safetensors`, or the shards `model.safetensors.index.json` names; without
 * them `pytorch_model.bin` or the shards of `pytorch_model.bin.index.json`.
 * A missing shard, a tensor that its shard lacks, a shard outside the folder: `ERR_CHECKPOINT`.
 */
export function openCheckpoint(dir: string): Checkpoint {
  const single = join(dir, 'model.safetensors')
  if (existsSync(single)) return openSafetensors(single)
  const index = join(dir, 'model.safetensors.index.json')
  if (existsSync(index)) return openShards(dir, index, openSafetensors)
  const torch = join(dir, 'pytorch_model.bin')
  if (existsSync(torch)) return openTorchFile(torch)
  if (existsSync(`${torch}.index.json`)) return openShards(dir, `${torch}.index.json`, openTorchFile)
  fail(
    'ERR_CHECKPOINT',
    `${dir}: holds neither model.safetensors, nor its index, nor pytorch_model.bin; name a model folder`,
  )
}

/** One tensor to write. `data` may be a function, called when its turn comes, so that not all need lie in memory. */
export interface TensorToWrite {
  readonly name: string
  readonly dtype: StorageDtype
  readonly shape: readonly number[]
  /** Little-endian elements in C order. */
  readonly data: ArrayBufferView | (() => ArrayBufferView | Promise<ArrayBufferView>)
}

/** One that is read already. */
export interface TensorInMemory extends TensorToWrite {
  readonly data: ArrayBufferView
}

/**
 * Writes a safetensors file byte for byte as the Python library does (tensors ordered by dtype, then by the bytes of
 * their names), atomically. PEFT and transformers expect the metadata `{ format: 'pt' }`.
 *
 * Errors: `ERR_CHECKPOINT` for a name that comes twice or a wrong byte count, and those of `writeFileAtomic`.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const { order, infos } = layOut(path, tensors)
  const header = buildHeader(infos, metadata)
  await streamFileAtomic(path, async sink => {
    await sink.write(header)
    for (const [i, { data }] of order.entries()) {
      const view = typeof data === 'function' ? await data() : data
      const { name, begin, end } = nth(infos, i)
      check(view.byteLength === end - begin, 'ERR_CHECKPOINT', () => {
        return `${path}: tensor "${name}" has ${view.byteLength} bytes of data, its shape takes ${end - begin}`
      })
      await sink.write(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    }
  })
}

const dtypeRank = new Map(Object.keys(storageBits).map((dtype, i) => [dtype, i]))

function layOut(path: string, tensors: Iterable<TensorToWrite>): { order: TensorToWrite[]; infos: TensorInfo[] } {
  const named = new Map<string, { tensor: TensorToWrite; bytes: Buffer }>()
  for (const tensor of tensors) {
    const { name, dtype } = tensor
    check(!/\p{Surrogate}/u.test(name), 'ERR_CHECKPOINT', () => `${path}: tensor name ${shown(name)} is no text`)
    check(name !== '__metadata__' && !named.has(name), 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" comes twice`)
    check(isStorageDtype(dtype), 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" has the unknown dtype ${dtype}`)
    named.set(name, { tensor, bytes: Buffer.from(name, 'utf8') })
  }
  const sorted = [...named.values()].sort((a, b) => {
    return under(dtypeRank, a.tensor.dtype) - under(dtypeRank, b.tensor.dtype) || Buffer.compare(a.bytes, b.bytes)
  })
  const order = sorted.map(({ tensor }) => tensor)
  let at = 0
  const infos = order.map(({ name, dtype, shape }) => {
    const size = shape.every(n => Number.isSafeInteger(n) && n >= 0) ? byteSize(dtype, shape) : undefined
    check(size !== undefined, 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" cannot have the shape [${shape}]`)
    const begin = at
    at += size
    return { name, dtype, shape, begin, end: at }
  })
  return { order, infos }
}

/** @throws ERR_CHECKPOINT where there is no file to read */
export function openDescriptor(path: string): number {
  try {
    check(!statSync(path).isDirectory(), 'ERR_CHECKPOINT', () => `${path}: is a folder; name a safetensors file`)
    return openSync(path, 'r')
  } catch (error) {
    if (error instanceof LowrankError) throw error
    const code = systemCode(error) ?? error
    const what = code === 'ENOENT' ? 'there is no such file; check the path' : `cannot be opened (${code})`
    fail('ERR_CHECKPOINT', `${path}: ${what}`, error)
  }
}

function readHeader(path: string, file: number, size: number): Uint8Array {
  check(size >= 8, 'ERR_CHECKPOINT', () => `${path}: has ${size} bytes, a safetensors file at least 8; it is truncated`)
  const length = new DataView(readAt(path, file, 0, 8).buffer).getBigUint64(0, true)
  check(length <= maxHeaderBytes, 'ERR_CHECKPOINT', () => {
    return `${path}: header of ${length} bytes is past the format's ${maxHeaderBytes}; this is not a safetensors file`
  })
  check(8 + Number(length) <= size, 'ERR_CHECKPOINT', () => {
    return `${path}: header of ${length} bytes does not fit a file of ${size}; the file is truncated`
  })
  check(length > 0, 'ERR_CHECKPOINT', () => `${path}: header has 0 bytes; this is not a safetensors file`)
  return readAt(path, file, 8, Number(length))
}

/** Bytes of an open file, in memory of their own. @throws ERR_CHECKPOINT where it ends before */
export function readAt(path: string, file: number, position: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const count = readSync(file, bytes, at, Math.min(MOST_OF_A_CALL, length - at), position + at)
    if (count === 0) cutShort(path, position + at, length - at)
    at += count
  }
  return bytes
}

const readLater = promisify(readCallback)

async function readRange(path: string, range: FileRange): Promise<Uint8Array<ArrayBuffer>> {
  const { file, position, bytes: length } = range
  checkUnchanged(path, file, range.fileSize)
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const { bytesRead } = await readLater(file, bytes, at, Math.min(MOST_OF_A_CALL, length - at), position + at)
    if (bytesRead === 0) cutShort(path, position + at, length - at)
    at += bytesRead
  }
  return bytes
}

/** One read call takes at most 2 GiB. */
const MOST_OF_A_CALL = 1 << 30

function cutShort(path: string, at: number, left: number): never {
  fail('ERR_CHECKPOINT', `${path}: ends at byte ${at}, ${left} more were promised`)
}

/** A file that shrinks under a reader gives short reads; one that is rewritten gives another model's bytes. */
export function checkUnchanged(path: string, file: number, size: number): void {
  const now = fstatSync(file).size
  check(now === size, 'ERR_CHECKPOINT', () => `${path}: had ${size} bytes when opened, has ${now} now; load it again`)
}

interface Opened {
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly dataStart: number
  readonly size: number
}

function fileOf(path: string, file: number, { metadata, tensors, dataStart, size }: Opened): SafetensorsFile {
  let open = true
  const info = (name: string): TensorInfo =>
    tensors.get(name) ?? fail('ERR_CHECKPOINT', `${path}: has no tensor "${name}" among its ${tensors.size}`)
  const read = (name: string): Uint8Array<ArrayBuffer> => {
    const { begin, end } = info(name)
    check(open, 'ERR_DISPOSED', () => `${path}: is closed, so "${name}" cannot be read`)
    checkUnchanged(path, file, size)
    check(end - begin <= constants.MAX_LENGTH, 'ERR_UNSUPPORTED', () => {
      return `${path}: tensor "${name}" has ${end - begin} bytes, an array here at most ${constants.MAX_LENGTH}`
    })
    return readAt(path, file, dataStart + begin, end - begin)
  }
  return {
    path,
    metadata,
    tensors,
    dataStart,
    names: () => [...tensors.keys()],
    has: name => tensors.has(name),
    info,
    read,
    locate: name => {
      const { begin, end } = info(name)
      check(open, 'ERR_DISPOSED', () => `${path}: is closed, so "${name}" cannot be read`)
      return { file, position: dataStart + begin, bytes: end - begin, fileSize: size }
    },
    readF32: name => decodeNamed(path, info(name), read),
    close: () => {
      if (open) closeSync(file)
      open = false
    },
  }
}

function decodeNamed(
  path: string,
  { name, dtype }: TensorInfo,
  read: (name: string) => Uint8Array<ArrayBuffer>,
): Float32Array {
  check(dtype === 'F32' || dtype === 'F64' || dtype === 'F16' || dtype === 'BF16', 'ERR_DTYPE', () => {
    return `${path}: tensor "${name}" is ${dtype}, which cannot be read as F32; F64, F32, BF16 and F16 can`
  })
  const bytes = read(name)
  // The bytes are already this reader's own, so f32 needs no second copy.
  return dtype === 'F32' ? new Float32Array(bytes.buffer) : decodeF32(bytes, dtype)
}

type OpenFile = (path: string) => SafetensorsFile

function openShards(dir: string, index: string, open: OpenFile): Checkpoint {
  const weightMap = readWeightMap(index)
  const shards = new Map<string, SafetensorsFile>()
  try {
    for (const [name, shardName] of weightMap) {
      if (!shards.has(shardName)) shards.set(shardName, openShard(dir, index, shardName, open))
      const shard = under(shards, shardName)
      check(shard.has(name), 'ERR_CHECKPOINT', () => `${index}: names "${name}" in ${shardName}, which lacks it`)
    }
  } catch (error) {
    for (const shard of shards.values()) shard.close()
    throw error
  }
  const shardOf = (name: string): SafetensorsFile =>
    shards.get(weightMap.get(name) ?? '') ?? fail('ERR_CHECKPOINT', `${index}: has no tensor "${name}"`)
  return {
    path: dir,
    names: () => [...weightMap.keys()],
    has: name => weightMap.has(name),
    info: name => shardOf(name).info(name),
    read: name => shardOf(name).read(name),
    locate: name => shardOf(name).locate(name),
    readF32: name => shardOf(name).readF32(name),
    close: () => {
      for (const shard of shards.values()) shard.close()
    },
  }
}

function openShard(dir: string, index: string, name: string, open: OpenFile): SafetensorsFile {
  // An index is somebody else's data: it must not make us open files anywhere else.
  check(name === basename(name) && !/[\\/]|^\.{0,2}$/.test(name), 'ERR_CHECKPOINT', () => {
    return `${index}: shard "${name}" is not a plain file name; shards lie beside their index`
  })
  const path = join(dir, name)
  check(existsSync(path), 'ERR_CHECKPOINT', () => `${index}: shard "${name}" is missing; fetch it into ${dir}`)
  return open(path)
}

/** The shard of each tensor, as an index tells it. @throws ERR_CHECKPOINT */
export function readWeightMap(index: string): Map<string, string> {
  const value: Json = readJson(index, 'ERR_CHECKPOINT')
  const map = isObject(value) ? value.weight_map : undefined
  check(isObject(map), 'ERR_CHECKPOINT', () => `${index}: has no object "weight_map"; remove the file, fetch it again`)
  const entries = Object.entries(map).map(([name, shard]) => {
    check(typeof shard === 'string', 'ERR_CHECKPOINT', () => {
      return `${index}: "${name}" names no shard but ${shown(shard)}`
    })
    return [name, shard] as const
  })
  return new Map(entries)
}
