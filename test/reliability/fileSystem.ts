// Sees every change that this process makes to a folder before it is made: to kill there, to fail there, or to look.

import fs, { type PathLike } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join, resolve, sep } from 'node:path'

/** A change that is about to be made. `bytes` are those to be appended, which a kill may cut. */
export interface Operation {
  readonly name: string
  readonly path: string
  readonly bytes?: Uint8Array
}

type Before = (operation: Operation) => void
type Call = (...args: never[]) => unknown

/**
 * Calls `before` with every change below `root` that goes through node:fs, in order; what it throws, the change throws.
 * Returns a function that ends this. Recursive removals are made entry by entry, since a kill can cut them.
 * With `reads`, files that are opened to be read are told too.
 */
export function watchChanges(root: string, before: Before, { reads = false } = {}): () => void {
  const inside = (path: unknown): path is PathLike => `${resolve(String(path))}${sep}`.startsWith(`${root}${sep}`)
  const tell = (name: string, path: unknown, bytes?: Uint8Array): void => {
    if (inside(path)) before({ name, path: resolve(String(path)), ...(bytes ? { bytes } : {}) })
  }
  const undo: (() => void)[] = []
  const replace = <T extends object>(owner: T, name: keyof T & string, make: (original: Call) => Call): void => {
    const original = owner[name] as Call
    owner[name] = make(original) as T[typeof name]
    undo.push(() => {
      owner[name] = original as T[typeof name]
    })
  }
  watchSync(replace, tell, inside)
  watchPromises(replace, tell, inside)
  if (reads) watchReads(replace, tell)
  syncBuiltinESMExports()
  return () => {
    for (const one of undo.reverse()) one()
    syncBuiltinESMExports()
  }
}

type Replace = <T extends object>(owner: T, name: keyof T & string, make: (original: Call) => Call) => void
type Tell = (name: string, path: unknown, bytes?: Uint8Array) => void
type Inside = (path: unknown) => boolean

const CHANGES = ['mkdir', 'rename', 'unlink', 'rmdir', 'utimes', 'symlink'] as const
/** The place that is written is the second argument. */
const SECOND = ['link', 'copyFile'] as const
const writes = (flags: unknown) => /[wa+]/.test(String(flags ?? 'r'))
const bytesOf = (data: unknown): Uint8Array => (typeof data === 'string' ? Buffer.from(data) : (data as Uint8Array))
const caller = (original: Call, args: unknown[]) => original(...(args as never[]))

function watchSync(replace: Replace, tell: Tell, inside: Inside): void {
  for (const name of CHANGES)
    replace(fs, `${name}Sync`, original => (...args) => {
      tell(name, name === 'symlink' ? args[1] : args[0])
      return caller(original, args)
    })
  for (const name of SECOND)
    replace(fs, `${name}Sync`, original => (...args) => {
      tell(name, args[1])
      return caller(original, args)
    })
  replace(fs, 'writeFileSync', original => (...args) => {
    tell('open', args[0])
    tell('write', args[0], bytesOf(args[1]))
    return caller(original, args)
  })
  const opened = new Map<unknown, unknown>()
  replace(fs, 'openSync', original => (...args) => {
    if (writes(args[1])) tell('open', args[0])
    const file = caller(original, args)
    if (writes(args[1])) opened.set(file, args[0])
    return file
  })
  replace(fs, 'closeSync', original => (...args) => {
    opened.delete(args[0])
    return caller(original, args)
  })
  replace(fs, 'writeSync', original => (...args) => {
    const [file, bytes, offset = 0] = args as unknown as [number, Uint8Array, number?]
    if (opened.has(file)) tell('write', opened.get(file), bytes.subarray(offset))
    return caller(original, args)
  })
  replace(fs, 'rmSync', original => (...args) => {
    if (!inside(args[0])) return caller(original, args)
    removeEach(String(args[0]), args[1] as fs.RmOptions | undefined)
    return undefined
  })
}

function watchPromises(replace: Replace, tell: Tell, inside: Inside): void {
  const { promises } = fs
  for (const name of CHANGES)
    replace(promises, name, original => async (...args) => {
      tell(name, args[0])
      return caller(original, args)
    })
  replace(promises, 'rm', original => async (...args) => {
    if (!inside(args[0])) return caller(original, args)
    removeEach(String(args[0]), args[1] as fs.RmOptions | undefined)
  })
  replace(promises, 'open', original => async (...args) => {
    const [path, flags] = args as unknown as [PathLike, unknown]
    if (writes(flags)) tell('open', path)
    const file = (await caller(original, args)) as FileHandle
    if (!inside(path)) return file
    const { write, sync } = file
    file.write = (async (bytes: Uint8Array) => {
      tell('write', path, bytes)
      return write.call(file, bytes as never)
    }) as unknown as FileHandle['write']
    file.sync = async (): Promise<void> => {
      tell('sync', path)
      return sync.call(file)
    }
    return file
  })
}

function watchReads(replace: Replace, tell: Tell): void {
  for (const [owner, name] of [
    [fs, 'readFileSync'],
    [fs, 'openSync'],
    [fs.promises, 'open'],
  ] as const)
    replace(owner, name as never, original => (...args) => {
      if (name !== 'readFileSync' && writes(args[1])) return caller(original, args)
      if (name !== 'open') {
        tell('read', args[0])
        return caller(original, args)
      }
      // What a function that returns a promise throws, the promise is rejected with.
      return (async () => {
        tell('read', args[0])
        return caller(original, args)
      })()
    })
}

/** `rm` as single changes; `unlinkSync` and `rmdirSync` tell of themselves. */
function removeEach(path: string, { recursive = false, force = false }: fs.RmOptions = {}): void {
  const found = fs.lstatSync(path, { throwIfNoEntry: false })
  if (!found && force) return
  if (!found?.isDirectory()) {
    fs.unlinkSync(path)
    return
  }
  if (!recursive) throw Object.assign(new Error(`EISDIR: ${path}`), { code: 'ERR_FS_EISDIR' })
  for (const name of fs.readdirSync(path)) removeEach(join(path, name), { recursive, force })
  fs.rmdirSync(path)
}

/** Files below a folder by path, folders as null. */
export type Tree = ReadonlyMap<string, Buffer | null>

export function readTree(root: string, under = ''): Map<string, Buffer | null> {
  const tree = new Map<string, Buffer | null>()
  for (const entry of fs.readdirSync(join(root, under), { withFileTypes: true })) {
    const path = join(under, entry.name)
    if (entry.isDirectory()) {
      tree.set(path, null)
      for (const [name, content] of readTree(root, path)) tree.set(name, content)
    } else tree.set(path, fs.readFileSync(join(root, path)))
  }
  return tree
}

/** Makes a folder be a tree, and nothing else. */
export function writeTree(root: string, tree: Tree): void {
  fs.rmSync(root, { recursive: true, force: true })
  fs.mkdirSync(root, { recursive: true })
  for (const [name, content] of tree) {
    if (content === null) fs.mkdirSync(join(root, name))
    else fs.writeFileSync(join(root, name), content)
  }
}
