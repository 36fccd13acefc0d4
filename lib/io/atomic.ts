import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { check, fail, systemCode } from '../errors.ts'
import { ensureFolder } from './folder.ts'
import { isRunning, startOf } from './process.ts'
import { coded, explained } from './systemError.ts'

/** For tests: called before each write (path, bytes) and before a checkpoint is removed; what they throw fails it. */
export const faults: {
  write?: ((path: string, bytes: number) => void) | undefined
  remove?: ((path: string) => void) | undefined
} = {}

/** Takes bytes in order; the file behind it appears at its path only when all of them are on the disk. */
interface ByteSink {
  /** Where the bytes lie until then. */
  readonly path: string
  write(bytes: Uint8Array): Promise<void>
}

/**
 * Writes a file so that its path holds either the old content or the whole new one, whenever the process dies:
 * a temporary file in the same folder, fsync, rename, fsync of the folder. Folders on the way are made.
 *
 * Errors: `ERR_OPTION` where the path cannot be written, `ERR_CHECKPOINT` where the disk is full or fails.
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content
  await streamFileAtomic(path, sink => sink.write(bytes))
}

/** Names of what is being written, or was moved aside. */
const ASIDE = /^\.(.+)\.(tmp|old)-(\d+)-([0-9a-f]{4})[0-9a-f]{4}$/

/** The name that a file has, or is to have once it is written. */
export function nameWhenWhole(path: string): string {
  const name = basename(path)
  return ASIDE.exec(name)?.[1] ?? name
}

/** {@link writeFileAtomic} for content that is produced piece by piece, so it never lies in memory as a whole. */
export async function streamFileAtomic(path: string, fill: (sink: ByteSink) => Promise<void>): Promise<void> {
  const target = resolve(path)
  const temporary = sibling(target, 'tmp')
  try {
    ensureFolder(dirname(target))
    const file = await open(temporary, 'wx', 0o644)
    try {
      // The mode given to open is cut by the umask; files of a model are for everybody who may enter the folder.
      await file.chmod(0o644)
      await fill({ path: temporary, write: bytes => writeAll(file, target, bytes) })
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, target)
    await syncFolder(dirname(target))
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw explained(target, error)
  }
}

/** How {@link writeFolderAtomic} treats a folder that is there already. */
interface ReplaceOptions {
  /** Tells which entries of an existing folder may be replaced; a foreign one is an error. Default: all. */
  owns?: (name: string) => boolean
}

/**
 * Makes a folder that is complete whenever it is there: `fill` writes into a temporary folder beside it, everything
 * in it is synced, then it is renamed into place. An existing folder is moved aside first and deleted last; should
 * the process die between the two renames, {@link recoverFolder} puts the old one back.
 *
 * Errors: as {@link writeFileAtomic}; `ERR_OPTION` too where `dir` holds entries that are not `owns`, or holds the
 * working directory. What `fill` throws is passed on, and the old folder stays as it was.
 */
export async function writeFolderAtomic(
  dir: string,
  fill: (tmpDir: string) => Promise<void> | void,
  options: ReplaceOptions = {},
): Promise<void> {
  const target = resolve(dir)
  check(relative(target, process.cwd()).startsWith('..'), 'ERR_OPTION', () => {
    return `output: ${dir} holds the working directory, so it cannot be replaced; name a folder of its own`
  })
  await recoverFolder(target)
  await checkReplaceable(target, options.owns)
  await recoverFolder(dirname(target), name => name === basename(target))
  const temporary = sibling(target, 'tmp')
  try {
    ensureFolder(temporary)
    await fill(temporary)
    await syncTree(temporary)
    await swapIn(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
    throw explained(target, error)
  }
}

/**
 * Cleans what a killed writer left in `folder`: a folder that was moved aside and not yet replaced goes back to its
 * name, temporary files and folders are removed. Leftovers of a process that still runs are not touched, nor those of
 * names that are not `owns`. Returns the names of the entries put back. Errors: as {@link writeFileAtomic}.
 */
export function recoverFolder(folder: string, owns = (_name: string) => true): Promise<string[]> {
  return coded(folder, () => recover(folder, owns))
}

async function recover(folder: string, owns: (name: string) => boolean): Promise<string[]> {
  const restored: string[] = []
  const names = await readdir(folder).catch((): string[] => [])
  for (const name of names) {
    const leftover = ASIDE.exec(name)
    if (!leftover) continue
    const [, original = '', , pid = '', stamp = ''] = leftover
    if (!owns(original) || isWriting(Number(pid), stamp)) continue
    if (leftover[2] === 'old' && !(await exists(join(folder, original)))) {
      await rename(join(folder, name), join(folder, original))
      restored.push(original)
    } else {
      await rm(join(folder, name), { recursive: true, force: true })
    }
  }
  if (restored.length > 0) await syncFolder(folder)
  return restored
}

/** SHA-256 of a file's bytes, in lower-case hexadecimal; reads a mebibyte at a time. Missing file: `ERR_CHECKPOINT`. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    const file = await open(path, 'r')
    try {
      const piece = Buffer.allocUnsafe(1 << 20)
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, piece.length)
        if (bytesRead === 0) return hash.digest('hex')
        hash.update(piece.subarray(0, bytesRead))
      }
    } finally {
      await file.close()
    }
  } catch (error) {
    fail('ERR_CHECKPOINT', `hash: ${path} cannot be read (${systemCode(error) ?? error})`, error)
  }
}

/**
 * A hidden name beside `target` for what is to take its place ('tmp') or was moved from it ('old'). No listing of
 * checkpoints sees it; id and stamp tell {@link recoverFolder} which process' it is.
 */
export function sibling(target: string, kind: 'tmp' | 'old'): string {
  const unique = stampOf('self') + randomBytes(2).toString('hex')
  return join(dirname(target), `.${basename(target)}.${kind}-${process.pid}-${unique}`)
}

/** When a process began, as four hexadecimal digits; zeros where that cannot be known. */
function stampOf(pid: number | 'self'): string {
  const start = startOf(pid)
  return start === undefined ? '0000' : createHash('sha256').update(start).digest('hex').slice(0, 4)
}

/** Whether the process that named a temporary file still runs: ids come again, in containers at once. */
function isWriting(pid: number, stamp: string): boolean {
  if (!isRunning(pid)) return false
  const now = stampOf(pid)
  return now === '0000' || stamp === '0000' || now === stamp
}

async function writeAll(file: FileHandle, target: string, bytes: Uint8Array): Promise<void> {
  // One write takes at most 2 GiB, and a long one would keep a thread of the pool busy.
  const most = 64 << 20
  for (let at = 0; at < bytes.byteLength; ) {
    const piece = bytes.subarray(at, at + most)
    faults.write?.(target, piece.byteLength)
    const { bytesWritten } = await file.write(piece)
    at += bytesWritten
  }
}

async function swapIn(temporary: string, target: string): Promise<void> {
  const aside = sibling(target, 'old')
  const replaces = await exists(target)
  if (replaces) await rename(target, aside)
  try {
    await rename(temporary, target)
  } catch (error) {
    if (replaces) await rename(aside, target)
    throw error
  }
  await syncFolder(dirname(target))
  // The new folder stands: what cannot be removed of the old one costs space, not the result.
  if (replaces) await rm(aside, { recursive: true, force: true }).catch(() => undefined)
}

async function checkReplaceable(target: string, owns: ((name: string) => boolean) | undefined): Promise<void> {
  const existing = await stat(target).catch(() => undefined)
  if (!existing) return
  check(existing.isDirectory(), 'ERR_OPTION', () => `output: ${target} is a file; name a folder`)
  const foreign = owns && (await readdir(target)).find(name => !owns(name))
  check(foreign === undefined, 'ERR_OPTION', () => {
    return `output: ${target} holds "${foreign}", which would be lost; name an empty or a new folder`
  })
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await syncTree(path)
    else if (entry.isFile()) await syncPath(path, constants.O_RDONLY)
  }
  await syncFolder(folder)
}

async function syncFolder(folder: string): Promise<void> {
  try {
    await syncPath(folder, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0))
  } catch (error) {
    // Some file systems and Windows refuse to sync a folder; there the rename itself has to do.
    if (!['EINVAL', 'EPERM', 'EISDIR', 'EACCES', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  }
}

async function syncPath(path: string, flags: number): Promise<void> {
  const file = await open(path, flags)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
