// Names of models on a hub, and the folders of its cache that they lie in.

import { basename, resolve } from 'node:path'

/** A model of the hub: `org/name`, with the branch, tag or commit that was asked for. */
export interface HubId {
  readonly id: string
  readonly revision: string | undefined
  /** A GGUF file of it. */
  readonly file?: string | undefined
}

const FILES = /\.(gguf|safetensors|bin|pt|json|jsonl|csv|tsv|txt|ya?ml|html)$/i
const LONGEST_ID = 96

/**
 * Reads `name`, `org/name`, a GGUF file in one as `org/name/file.gguf`, or any with `@revision`; undefined for what can
 * be no id of the hub, as a path.
 */
export function hubIdOf(name: string): HubId | undefined {
  const [, model, file, tag = ''] = /^([\w.-]+\/[\w.-]+)\/((?:[\w.-]+\/)*[\w.-]+\.gguf)(@.+)?$/i.exec(name) ?? []
  if (model !== undefined && file !== undefined) {
    const found = hubIdOf(`${model}${tag}`)
    return found && !file.split('/').some(part => /^\.+$/.test(part)) ? { ...found, file } : undefined
  }
  const [, id = '', revision] = /^((?:[\w.-]+\/)?[\w.-]+)(?:@([\w.][\w./-]*))?$/.exec(name) ?? []
  const isId = id.length > 0 && id.length <= LONGEST_ID && !/--|\.\.|(^|\/)[.-]|[.-](\/|$)/.test(id) && !FILES.test(id)
  if (!isId || revision?.split('/').some(part => part === '' || part === '..' || part === '.')) return undefined
  return { id, revision }
}

/** Folder of a model within the cache. */
export const repositoryFolder = (id: string): string => `models--${id.replace('/', '--')}`

/** Model and commit whose snapshot a folder of the cache is, or a GGUF file lies in; undefined for any other path. */
export function hubOrigin(path: string): { readonly id: string; readonly revision: string } | undefined {
  const [, name, revision, file] =
    /[\\/]models--([^\\/]+)[\\/]snapshots[\\/]([0-9a-f]{40})(?:[\\/](.+\.gguf))?$/i.exec(resolve(path)) ?? []
  if (name === undefined || revision === undefined) return undefined
  const id = name.replace('--', '/')
  return { id: file === undefined ? id : `${id}/${file.replaceAll('\\', '/')}`, revision }
}

/** How a folder is named where it is not: a snapshot by its id on the hub, any other by its path. */
export const portableName = (folder: string): string => hubOrigin(folder)?.id ?? folder

/** A model's name for people: its id on the hub, else that of its folder. */
export const shortName = (folder: string): string => hubOrigin(folder)?.id ?? basename(folder)
