// The cache of the hub's files, laid out as Python's huggingface_hub lays it out, so that both use one:
// models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<file> → ../../blobs/<etag>}.

import { existsSync, readFileSync } from 'node:fs'
import { copyFile, readdir, rename, rm, statfs, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { check, fail, systemCode } from '../errors.ts'
import { sibling, writeFileAtomic } from '../io/atomic.ts'
import { ensureFolder } from '../io/folder.ts'
import { readWeightMap } from '../io/safetensors.ts'
import { isUsable, type Purpose } from './files.ts'
import { repositoryFolder } from './id.ts'
import type { HubSettings } from './settings.ts'

const COMMIT = /^[0-9a-f]{40}$/

/** The part of the cache that one model has. */
export class Repository {
  readonly id: string
  readonly folder: string
  /** Whoever writes into it holds this folder. */
  readonly lockFolder: string

  constructor(id: string, { cache }: HubSettings) {
    this.id = id
    this.folder = join(cache, repositoryFolder(id))
    this.lockFolder = join(cache, '.locks', repositoryFolder(id), 'lowrank')
  }

  /** Where a blob lies, by the etag that the hub gives it. @throws ERR_HUB for one that is no file name */
  blob(etag: string): string {
    check(/^\w[\w.-]*$/.test(etag), 'ERR_HUB', () => `hub: "${etag}" is no etag of a file; check HF_ENDPOINT`)
    return join(this.folder, 'blobs', etag)
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit)
  }

  /** The commit that a revision is known as; undefined where the cache does not know it. */
  commitOf(revision: string): string | undefined {
    if (COMMIT.test(revision)) return revision
    try {
      const commit = readFileSync(join(this.folder, 'refs', revision), 'utf8').trim()
      return COMMIT.test(commit) ? commit : undefined
    } catch {
      return undefined
    }
  }

  /** Keeps what a branch or tag stood for. */
  async remember(revision: string, commit: string): Promise<void> {
    if (revision !== commit && this.commitOf(revision) !== commit)
      await writeFileAtomic(join(this.folder, 'refs', revision), commit)
  }

  /** The snapshot of a commit where it has all that the purpose takes. */
  async usable(commit: string | undefined, purpose: Purpose): Promise<string | undefined> {
    if (commit === undefined) return undefined
    const folder = this.snapshot(commit)
    const names = await readdir(folder, { recursive: true }).catch((): string[] => [])
    const there = new Set(names.filter(name => existsSync(join(folder, name))))
    return (await isUsable(there, purpose, async index => shardsOf(join(folder, index)))) ? folder : undefined
  }

  /** Names a blob in a snapshot: by a link, or where the system has none by a copy. */
  async name(blob: string, commit: string, file: string): Promise<void> {
    const path = join(this.snapshot(commit), file)
    const temporary = sibling(path, 'tmp')
    ensureFolder(dirname(path))
    try {
      await symlink(relative(dirname(path), blob), temporary)
    } catch (error) {
      if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EINVAL', 'EOPNOTSUPP'].includes(systemCode(error) ?? '')) throw error
      await copyFile(blob, temporary)
    }
    await rename(temporary, path)
  }

  /** @throws ERR_HUB where less than `bytes` are free on the disk */
  async checkSpace(bytes: number): Promise<void> {
    ensureFolder(this.folder)
    const found = await statfs(this.folder).catch(() => undefined)
    if (found === undefined || found.blocks === 0) return
    const free = found.bavail * found.bsize
    if (bytes > free) fail('ERR_HUB', noSpace(this, bytes, free))
  }
}

/** What a disk that is too small is told as. */
export function noSpace({ id, folder }: Repository, bytes: number, free: number): string {
  const gigabytes = (count: number) => `${(count / 1e9).toFixed(count < 1e8 ? 3 : 1)} GB`
  return (
    `hub: ${id} takes ${gigabytes(bytes)} more, the disk of ${folder} has ${gigabytes(free)} free; ` +
    'free some, or name a folder on another disk with HF_HUB_CACHE'
  )
}

/** The shards that an index names. @throws ERR_CHECKPOINT */
export const shardsOf = (index: string): readonly string[] => [...new Set(readWeightMap(index).values())]

/** Models in the cache, by id. */
export async function cachedIds({ cache }: HubSettings): Promise<string[]> {
  const names = await readdir(cache).catch((): string[] => [])
  return names.flatMap(name => /^models--(.+)$/.exec(name)?.[1]?.replace('--', '/') ?? [])
}

/** Removes a file that may not be there. */
export const discard = (path: string): Promise<void> => rm(path, { force: true })
