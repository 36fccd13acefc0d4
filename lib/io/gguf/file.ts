import { closeSync, existsSync, fstatSync, statSync } from 'node:fs'
import { check } from '../../errors.ts'
import { nth, under } from '../../tuple.ts'
import { nameWhenWhole } from '../atomic.ts'
import { checkUnchanged, type FileRange, openDescriptor, readAt } from '../safetensors.ts'
import { piecesOf } from './pieces.ts'
import { type GgufHeader, type GgufTensor, readGgufHeader } from './read.ts'

/** Whether a path names a GGUF file: by its ending, since what stands in it is only looked at when it is read. */
export function isGguf(path: string | undefined): path is string {
  const isNamed = path !== undefined && /\.gguf$/i.test(nameWhenWhole(path))
  return isNamed && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? false)
}

/** An open GGUF file, or all pieces of one. */
export interface GgufFile extends GgufHeader {
  readonly path: string
  /** An entry of the metadata as it stands in the file. */
  entry(key: string): Uint8Array<ArrayBuffer>
  /** Bytes of a tensor, in memory of their own. */
  read(name: string): Uint8Array<ArrayBuffer>
  locate(name: string): FileRange
  close(): void
}

interface Seen {
  readonly path: string
  readonly stamp: string
  readonly header: GgufHeader
}
/** A vocabulary takes a while to read, and config, tokenizer and weights each want the header of the same file. */
let last: Seen | undefined

/** One file on the disk: the model, or a piece of it. */
interface Piece {
  readonly path: string
  readonly file: number
  readonly size: number
  readonly header: GgufHeader
}

/**
 * Opens a GGUF file, its header checked. A model in several files (`-00001-of-00003.gguf`) is named by the first, which
 * has its metadata, and is one here. @throws ERR_CHECKPOINT, ERR_UNSUPPORTED
 */
export function openGguf(path: string): GgufFile {
  const pieces = [openPiece(path, true)]
  try {
    for (const other of otherPieces(path, nth(pieces, 0).header)) pieces.push(openPiece(other, false))
    return fileOf(path, pieces)
  } catch (error) {
    for (const { file } of pieces) closeSync(file)
    throw error
  }
}

/** The header alone. @throws as {@link openGguf} */
export function readGguf(path: string): GgufHeader {
  const file = openGguf(path)
  file.close()
  return file
}

function openPiece(path: string, isFirst: boolean): Piece {
  const file = openDescriptor(path)
  try {
    const { size, mtimeMs, ino } = fstatSync(file)
    const stamp = `${size} ${mtimeMs} ${ino}`
    const isKnown = last?.path === path && last.stamp === stamp
    const header = isKnown && last ? last.header : readGgufHeader(path, file, size)
    if (isFirst) last = { path, stamp, header }
    return { path, file, size, header }
  } catch (error) {
    closeSync(file)
    throw error
  }
}

/** Paths of the pieces behind the first. @throws ERR_CHECKPOINT for a later one, or where one is missing */
function otherPieces(path: string, { metadata }: GgufHeader): string[] {
  const count = Number(metadata.get('split.count') ?? 1)
  if (count <= 1) return []
  const pieces = piecesOf(path)
  check(pieces.length === count, 'ERR_CHECKPOINT', () => {
    return `${path}: is one of ${count} pieces, and not named -00001-of-${String(count).padStart(5, '0')}.gguf; rename it as it was`
  })
  check(
    pieces[0] === path,
    'ERR_CHECKPOINT',
    () => `${path}: is a later piece of a model; name the first, ${pieces[0]}`,
  )
  const missing = pieces.filter(piece => !existsSync(piece))
  check(missing.length === 0, 'ERR_CHECKPOINT', () => {
    return `${path}: ${missing.length} of its ${count} pieces are not here (${missing[0]}); put them into one folder`
  })
  return pieces.slice(1)
}

function tensorsOf(path: string, pieces: readonly Piece[]): Map<string, Placed> {
  const tensors = new Map<string, Placed>()
  for (const piece of pieces)
    for (const tensor of piece.header.tensors.values()) {
      check(!tensors.has(tensor.name), 'ERR_CHECKPOINT', () => {
        return `${piece.path}: tensor "${tensor.name}" stands in another piece too; fetch the model again`
      })
      tensors.set(tensor.name, { tensor, piece })
    }
  const wanted = nth(pieces, 0).header.metadata.get('split.tensors.count')
  check(wanted === undefined || Number(wanted) === tensors.size, 'ERR_CHECKPOINT', () => {
    return `${path}: its ${pieces.length} pieces hold ${tensors.size} tensors, it says ${wanted}; fetch the model again`
  })
  return tensors
}

interface Placed {
  readonly tensor: GgufTensor
  readonly piece: Piece
}

function fileOf(path: string, pieces: readonly Piece[]): GgufFile {
  const tensors = tensorsOf(path, pieces)
  const first = nth(pieces, 0)
  let isOpen = true
  const find = (name: string): Placed => {
    check(isOpen, 'ERR_DISPOSED', () => `${path}: is closed, so "${name}" cannot be read`)
    return under(tensors, name)
  }
  return {
    ...first.header,
    tensors: new Map(Array.from(tensors, ([name, { tensor }]) => [name, tensor])),
    path,
    locate(name) {
      const { tensor, piece } = find(name)
      return { file: piece.file, position: tensor.position, bytes: tensor.bytes, fileSize: piece.size }
    },
    entry(key) {
      const [begin, end] = under(first.header.places, key)
      return readAt(path, first.file, begin, end - begin)
    },
    read(name) {
      const { tensor, piece } = find(name)
      checkUnchanged(piece.path, piece.file, piece.size)
      return readAt(piece.path, piece.file, tensor.position, tensor.bytes)
    },
    close() {
      if (isOpen) for (const { file } of pieces) closeSync(file)
      isOpen = false
    },
  }
}
