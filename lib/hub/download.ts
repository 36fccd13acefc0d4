// One file of a model into the cache: resumed where an earlier attempt ended, and named only when its hash is right.

import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { check, fail, systemCode } from '../errors.ts'
import { faults } from '../io/atomic.ts'
import { ensureFolder } from '../io/folder.ts'
import { explained } from '../io/systemError.ts'
import { discard, noSpace, type Repository } from './cache.ts'
import { tell } from './news.ts'
import { accepted, PATIENCE, persistently, reasonOf, request, Unreachable } from './request.ts'
import type { HubSettings } from './settings.ts'

/** A file as the hub describes it. */
export interface RemoteFile {
  readonly path: string
  readonly url: string
  /** SHA-256 of a large file, git's SHA-1 of a small one; the name of its blob. */
  readonly etag: string
  /** Bytes. */
  readonly size: number
}

/** What the hub says of a file of a commit. @throws Unreachable, ERR_HUB */
export async function describe(
  { id }: Repository,
  commit: string,
  path: string,
  settings: HubSettings,
): Promise<RemoteFile> {
  const url = `${settings.endpoint}/${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`
  const what = `${path} of ${id}`
  const { headers } = await persistently(async () => {
    return await accepted(await request(url, settings, { method: 'HEAD', what }), id, settings, what)
  })
  const etag = (headers.get('x-linked-etag') ?? headers.get('etag'))?.replace(/^W\//, '').replace(/"/g, '')
  const size = Number(headers.get('x-linked-size') ?? headers.get('content-length') ?? Number.NaN)
  if (etag === undefined || !Number.isSafeInteger(size))
    fail(
      'ERR_HUB',
      `hub: ${settings.endpoint} tells no ${etag === undefined ? 'etag' : 'size'} of ${what}; check HF_ENDPOINT`,
    )
  return { path, url, etag, size }
}

/** Fetches a file's bytes to its blob. @throws Unreachable; ERR_HUB for other bytes than promised, and a full disk */
export async function download(repository: Repository, file: RemoteFile, settings: HubSettings): Promise<void> {
  const blob = repository.blob(file.etag)
  const partial = `${blob}.lowrank-incomplete`
  ensureFolder(dirname(blob))
  const here = () => sizeOf(partial)
  const isResumed = here() > 0
  try {
    await persistently(() => receive(repository.id, file, partial, settings), here)
    if (await isSound(partial, file)) return await rename(partial, blob)
  } catch (error) {
    if (systemCode(error) === 'ENOSPC') fail('ERR_HUB', noSpace(repository, file.size - here(), 0), error)
    throw explained(partial, error)
  }
  await discard(partial)
  // What an earlier attempt left may have been another file's.
  if (isResumed) return await download(repository, file, settings)
  fail(
    'ERR_HUB',
    `hub: ${file.path} of ${repository.id} came with other bytes than its hash ${file.etag}; fetch it again, and check HF_ENDPOINT or the proxy if it stays so`,
  )
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** Adds to the partial file what it lacks. */
async function receive(id: string, file: RemoteFile, partial: string, settings: HubSettings): Promise<void> {
  const what = `${file.path} of ${id}`
  if (sizeOf(partial) > file.size) await discard(partial)
  const offset = sizeOf(partial)
  if (offset === file.size && offset > 0) return
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), PATIENCE)
  const headers = offset > 0 ? { range: `bytes=${offset}-` } : {}
  try {
    const answer = await request(file.url, settings, { headers, signal: patience.signal, what })
    const { response } = await accepted(answer, id, settings, what)
    const isPart = response.status === 206
    const begins = Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? Number.NaN)
    check(!isPart || begins === offset, 'ERR_HUB', () => {
      return `hub: asked for ${what} from byte ${offset}, was answered from byte ${begins}; check HF_ENDPOINT or the proxy`
    })
    const target = await open(partial, isPart ? 'a' : 'w', 0o644)
    try {
      await pour(response, target, partial, received => {
        timer.refresh()
        tell({ type: 'file', id, file: file.path, received: (isPart ? offset : 0) + received, size: file.size })
      })
    } finally {
      await target.close()
    }
  } finally {
    clearTimeout(timer)
  }
  const now = sizeOf(partial)
  if (now < file.size) throw new Unreachable(`${what} broke off at byte ${now} of ${file.size}`)
}

async function pour(
  response: Response,
  target: FileHandle,
  path: string,
  progress: (received: number) => void,
): Promise<void> {
  let received = 0
  const reader = response.body?.getReader()
  for (;;) {
    const piece = await reader?.read().catch((error: unknown) => {
      throw new Unreachable(`the connection broke (${reasonOf(error)})`, { cause: error })
    })
    if (piece?.value === undefined) break
    faults.write?.(path, piece.value.byteLength)
    await target.writeFile(piece.value)
    received += piece.value.byteLength
    progress(received)
  }
  await target.sync()
}

/** Whether bytes are those that their etag names; an etag that is no hash leaves their number. */
async function isSound(path: string, { etag, size }: RemoteFile): Promise<boolean> {
  if (sizeOf(path) !== size) return false
  const isSha256 = /^[0-9a-f]{64}$/.test(etag)
  if (!isSha256 && !/^[0-9a-f]{40}$/.test(etag)) return true
  const hash = createHash(isSha256 ? 'sha256' : 'sha1')
  // Git hashes a blob with its length before it.
  if (!isSha256) hash.update(`blob ${size}\0`)
  for await (const bytes of createReadStream(path)) hash.update(bytes)
  return hash.digest('hex') === etag
}
