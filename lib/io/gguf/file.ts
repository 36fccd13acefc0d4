import { closeSync, fstatSync, statSync } from 'node:fs'
import { check } from '../../errors.ts'
import { under } from '../../tuple.ts'
import { checkUnchanged, type FileRange, openFile, readAt } from '../safetensors.ts'
import { type GgufHeader, readGgufHeader } from './read.ts'

/** Whether a path names a GGUF file: by its ending, since what stands in it is only looked at when it is read. */
export function isGguf(path: string | undefined): path is string {
  return path !== undefined && /\.gguf$/i.test(path) && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? false)
}

/** An open GGUF file. */
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

/** Opens a GGUF file, its header checked. @throws ERR_CHECKPOINT, ERR_UNSUPPORTED */
export function openGguf(path: string): GgufFile {
  const file = openFile(path)
  try {
    const { size, mtimeMs, ino } = fstatSync(file)
    const stamp = `${size} ${mtimeMs} ${ino}`
    const isKnown = last?.path === path && last.stamp === stamp
    const header = isKnown && last ? last.header : readGgufHeader(path, file, size)
    last = { path, stamp, header }
    return fileOf(path, file, size, header)
  } catch (error) {
    closeSync(file)
    throw error
  }
}

/** The header alone. @throws as {@link openGguf} */
export function readGguf(path: string): GgufHeader {
  const file = openGguf(path)
  file.close()
  return file
}

function fileOf(path: string, file: number, size: number, header: GgufHeader): GgufFile {
  let isOpen = true
  const locate = (name: string): FileRange => {
    check(isOpen, 'ERR_DISPOSED', () => `${path}: is closed, so "${name}" cannot be read`)
    const { position, bytes } = under(header.tensors, name)
    return { file, position, bytes, fileSize: size }
  }
  return {
    ...header,
    path,
    locate,
    entry(key) {
      const [begin, end] = under(header.places, key)
      return readAt(path, file, begin, end - begin)
    },
    read(name) {
      const { position, bytes } = locate(name)
      checkUnchanged(path, file, size)
      return readAt(path, file, position, bytes)
    },
    close() {
      if (isOpen) closeSync(file)
      isOpen = false
    },
  }
}
