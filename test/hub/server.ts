// A hub on this machine: models as Hugging Face's serves them, large files from another host, and faults on order.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const COMMIT = 'c0ffee'.padEnd(40, '0')

/** A request as it came. */
export interface Seen {
  readonly host: 'hub' | 'cdn'
  readonly method: string
  readonly path: string
  readonly token: string | undefined
  readonly range: string | undefined
}

/** Takes the place of an answer; false: the usual one after all. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean

export type Files = Readonly<Record<string, Uint8Array>>

const isLarge = (name: string): boolean => /\.(safetensors|bin|gguf)$/.test(name)

/** The name of a blob: SHA-256 of a large file, git's SHA-1 of a small one. */
export function etagOf(name: string, bytes: Uint8Array): string {
  if (isLarge(name)) return createHash('sha256').update(bytes).digest('hex')
  return createHash('sha1').update(`blob ${bytes.byteLength}\0`).update(bytes).digest('hex')
}

export class HubServer {
  readonly models = new Map<string, Files>()
  readonly seen: Seen[] = []
  /** Where a request for `METHOD end-of-path` fails: the first fault of its list, which is then used up. */
  readonly faults = new Map<string, Fault[]>()
  /** The etags that are told in place of the true ones. */
  readonly etags = new Map<string, string>()
  readonly #hub: Server
  readonly #cdn: Server

  private constructor() {
    this.#hub = createServer((request, response) => this.#take('hub', request, response))
    this.#cdn = createServer((request, response) => this.#take('cdn', request, response))
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer()
    for (const each of [server.#hub, server.#cdn]) await once(each.listen(0, '127.0.0.1'), 'listening')
    return server
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get cdn(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`
  }

  fail(key: string, ...faults: Fault[]): void {
    this.faults.set(key, faults)
  }

  /** `METHOD path` of what was asked since the last call. */
  asked(): string[] {
    return this.seen.splice(0).map(({ method, path }) => `${method} ${path}`)
  }

  close(): void {
    for (const server of [this.#hub, this.#cdn]) {
      server.close()
      server.closeAllConnections()
    }
  }

  #take(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): unknown {
    const path = decodeURIComponent(request.url ?? '')
    const { method = '', headers } = request
    this.seen.push({ host, method, path, token: headers.authorization, range: headers.range })
    for (const [key, faults] of this.faults)
      if (`${method} ${path}`.endsWith(key.replace(/^(GET|HEAD) /, '')) && key.startsWith(method))
        if (faults.shift()?.(request, response)) return
    const [, id = '', file = ''] =
      /^\/(?:api\/models\/)?([^/]+(?:\/[^/]+)?)\/(?:resolve\/[^/]+|revision)\/(.+)$/.exec(path) ?? []
    const files = this.models.get(id)
    if (!files) return answer(response, 401, 'RepoNotFound')
    if (path.startsWith('/api/')) return this.#list(id, file, files, response)
    const bytes = files[file]
    if (!bytes) return answer(response, 404, 'EntryNotFound')
    return host === 'hub' ? this.#describe(file, bytes, request, response) : send(bytes, request, response)
  }

  #list(id: string, revision: string, files: Files, response: ServerResponse): unknown {
    if (!['main', 'v1', COMMIT].includes(revision)) return answer(response, 404, 'RevisionNotFound')
    const siblings = Object.keys(files).map(rfilename => ({ rfilename }))
    response.writeHead(200, { 'content-type': 'application/json' })
    return response.end(JSON.stringify({ id, sha: COMMIT, siblings }))
  }

  /** A small file itself; of a large one its hash, and where it lies. */
  #describe(file: string, bytes: Uint8Array, request: IncomingMessage, response: ServerResponse): void {
    const etag = this.etags.get(file) ?? etagOf(file, bytes)
    response.setHeader('x-repo-commit', COMMIT)
    if (isLarge(file)) {
      response.setHeader('x-linked-etag', `"${etag}"`)
      response.setHeader('x-linked-size', bytes.byteLength)
      response.writeHead(302, { location: `${this.cdn}${request.url}` })
      response.end()
      return
    }
    response.setHeader('etag', `W/"${etag}"`)
    send(bytes, request, response)
  }
}

export function answer(response: ServerResponse, status: number, code?: string): void {
  response.writeHead(status, code === undefined ? {} : { 'x-error-code': code })
  response.end()
}

function send(bytes: Uint8Array, { method, headers }: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
  const size = bytes.byteLength
  if (from > 0) response.setHeader('content-range', `bytes ${from}-${size - 1}/${size}`)
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': size - from })
  response.end(method === 'HEAD' ? undefined : bytes.subarray(from))
}
