// The one place that turns what a user names into a folder of this machine: a path, or a model of the hub.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check, fail, LowrankError, nearest } from '../errors.ts'
import { isObject, objectIn, shown } from '../io/json.ts'
import { waitForLock } from '../io/lock.ts'
import { cachedIds, Repository, shardsOf } from './cache.ts'
import { describe, download, type RemoteFile } from './download.ts'
import { type Purpose, wantedFiles } from './files.ts'
import { type HubId, hubIdOf } from './id.ts'
import { tell } from './news.ts'
import { accepted, persistently, request, Unreachable } from './request.ts'
import { type HubSettings, hubSettings } from './settings.ts'

/** How {@link localFolder} finds a folder. */
interface FolderOptions {
  /** The option in whose name errors speak, `model` say. */
  readonly option: string
  readonly purpose: Purpose
  /** Branch, tag or commit, where the name does not say one. Default main. */
  readonly revision?: string | undefined
  /** What else to do where neither a folder nor a model of the hub is meant. */
  readonly cure: string
}

/**
 * The folder of a path that exists, else that of a model of the hub, whose missing files are fetched into the cache
 * that Python uses too. HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean there.
 * @throws ERR_CONFIG for what is neither, ERR_OPTION for a revision of a folder, ERR_HUB where the hub does not give it
 */
export async function localFolder(name: string, options: FolderOptions): Promise<string> {
  const { option, revision, cure } = options
  check(typeof name === 'string', 'ERR_CONFIG', () => `${option}: ${name} is no path of a folder; ${cure}`)
  if (existsSync(name)) {
    check(revision === undefined, 'ERR_OPTION', () => {
      return `revision: ${option} is the folder ${name}, which has no revisions; leave ${revision} out`
    })
    return name
  }
  check(!/^file:/i.test(name), 'ERR_CONFIG', () => `${option}: ${name} is a URL; give its path, fileURLToPath(url)`)
  const found = hubIdOf(name)
  check(found, 'ERR_CONFIG', () => `${option}: there is no folder ${name}; ${cure}`)
  check(revision === undefined || found.revision === undefined || found.revision === revision, 'ERR_OPTION', () => {
    return `revision: ${revision}, and ${option} names ${found.revision}; keep one of them`
  })
  const { id, file } = found
  const wanted = { id, revision: found.revision ?? revision }
  const purpose = file === undefined ? options.purpose : { gguf: file }
  const settings = hubSettings()
  try {
    const folder = await snapshot(wanted, purpose, settings)
    return file === undefined ? folder : join(folder, file)
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== 'ERR_HUB') throw error
    const near = nearest(found.id, await cachedIds(settings))
    fail('ERR_HUB', `${option}: there is no folder ${name}${near}, and ${error.message}`, error)
  }
}

async function snapshot({ id, revision = 'main' }: HubId, purpose: Purpose, settings: HubSettings) {
  const repository = new Repository(id, settings)
  const known = repository.commitOf(revision)
  const cached = await repository.usable(known, purpose)
  if (cached !== undefined && settings.isOffline) return cached
  // A commit never changes: what is here of it is all there is, unless somebody fetched no tokenizer.
  const isWhole = typeof purpose === 'object' || (await repository.usable(known, 'tokenizer'))
  if (cached !== undefined && known === revision && isWhole) return cached
  const advice = `fetch it where there is a network, by \`hf download ${id}\` or this command, or name a folder`
  if (settings.isOffline)
    fail(
      'ERR_HUB',
      `hub: HF_HUB_OFFLINE is set and ${repository.folder} does not hold it (${revision}); unset it, or ${advice}`,
    )
  try {
    const listing = await list(id, revision, settings)
    const folder = await complete(repository, listing, purpose, settings)
    await repository.remember(revision, listing.commit)
    return folder
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error
    const proxy = process.env.HTTPS_PROXY ?? process.env.https_proxy
    const viaProxy =
      proxy && !process.env.NODE_USE_ENV_PROXY ? ', set NODE_USE_ENV_PROXY=1 for HTTPS_PROXY to count' : ''
    if (cached === undefined)
      fail('ERR_HUB', `hub: ${settings.endpoint} cannot be reached (${error.message})${viaProxy}; ${advice}`, error)
    tell({ type: 'notice', id, text: `hub: ${error.message}; taking ${id} from the cache, as of commit ${known}` })
    return cached
  }
}

interface Listing {
  readonly commit: string
  readonly files: readonly string[]
}

/** Commit and files of a revision. */
async function list(id: string, revision: string, settings: HubSettings): Promise<Listing> {
  const url = `${settings.endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}`
  const what = `model ${id} at revision ${revision}`
  const ask = async () => {
    const { response } = await accepted(await request(url, settings, { what }), id, settings, what)
    return await response.text()
  }
  const text = await persistently(ask, undefined, true)
  const { sha, siblings } = objectIn(text) ?? {}
  const names = Array.isArray(siblings) ? siblings.map(each => (isObject(each) ? each.rfilename : undefined)) : []
  const files = names.filter(name => typeof name === 'string')
  check(typeof sha === 'string' && /^[0-9a-f]{40}$/.test(sha) && Array.isArray(siblings), 'ERR_HUB', () => {
    return `hub: ${url} answers with something else than a model's commit and files (${shown(text)}); check HF_ENDPOINT, or log in to the network`
  })
  return { commit: sha, files: files.filter(isPlain) }
}

/** Names come from strangers: none may lead out of the folder. */
function isPlain(name: string): boolean {
  return !/[\\:\0]|^\//.test(name) && name.split('/').every(part => part !== '' && part !== '.' && part !== '..')
}

/** Fetches what a snapshot lacks; one process at a time. */
async function complete(
  repository: Repository,
  { commit, files }: Listing,
  purpose: Purpose,
  settings: HubSettings,
): Promise<string> {
  const folder = repository.snapshot(commit)
  const isHere = (file: string) => existsSync(join(folder, file))
  const { id } = repository
  const readIndex = async (file: string) => {
    if (!isHere(file)) await fetchAll(repository, commit, [file], settings)
    return shardsOf(join(folder, file))
  }
  const waiting = (pid: number) =>
    tell({ type: 'notice', id, text: `hub: process ${pid} is fetching ${id} too; waiting for it` })
  const lock = await waitForLock(repository.lockFolder, waiting)
  try {
    const wanted = await wantedFiles(files, purpose, readIndex)
    check(
      wanted.length > 0,
      'ERR_HUB',
      () => `hub: ${id} at ${commit} holds ${missingOf(purpose, files)}; check the name at ${settings.endpoint}/${id}`,
    )
    await fetchAll(
      repository,
      commit,
      wanted.filter(file => !isHere(file)),
      settings,
    )
    return folder
  } finally {
    lock.release()
  }
}

/** What a repository lacks; GGUF files are named where that is what it has. */
function missingOf(purpose: Purpose, files: readonly string[]): string {
  if (typeof purpose === 'object') return `no ${purpose.gguf}${nearest(purpose.gguf, files)}`
  const gguf = files.find(file => /\.gguf$/i.test(file))
  if (gguf === undefined) return 'no file of a model'
  return `no folder of a model, but GGUF files: name one, as in owner/name/${gguf}`
}

async function fetchAll(repository: Repository, commit: string, files: readonly string[], settings: HubSettings) {
  const remote: RemoteFile[] = []
  for (const file of files) remote.push(await describe(repository, commit, file, settings))
  const missing = remote.filter(({ etag }) => !existsSync(repository.blob(etag)))
  const bytes = missing.reduce((sum, { size }) => sum + size, 0)
  await repository.checkSpace(bytes)
  for (const file of remote) {
    if (!existsSync(repository.blob(file.etag))) await download(repository, file, settings)
    await repository.name(repository.blob(file.etag), commit, file.path)
  }
  if (missing.length > 0) tell({ type: 'done', id: repository.id, files: missing.length, bytes })
}
