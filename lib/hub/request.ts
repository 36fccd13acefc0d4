// Requests to the hub: redirects followed by hand, so that the token stays with the hub; what may pass is tried again.

import { setTimeout as sleep } from 'node:timers/promises'
import { fail, messageOf, systemCode } from '../errors.ts'
import type { HubSettings } from './settings.ts'

/** The hub gives no answer: no network, a time-out, or errors of its own again and again. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
  /** There was an answer, though one of no use. */
  readonly hasAnswered: boolean

  constructor(message: string, { cause, hasAnswered = false }: { cause?: unknown; hasAnswered?: boolean } = {}) {
    super(message, { cause })
    this.hasAnswered = hasAnswered
  }
}

/** An answer, and the headers of the hub's own answer before a redirect to elsewhere. */
interface HubAnswer {
  readonly response: Response
  readonly headers: Headers
}

interface RequestOptions {
  readonly method?: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  /** Default: {@link PATIENCE} for the whole of it. */
  readonly signal?: AbortSignal
  /** What is asked for, in words. */
  readonly what: string
}

const MOST_HOPS = 5
/** Times that are tried before the hub counts as unreachable, and milliseconds before the second, doubled each time. */
const ATTEMPTS = 5
const FIRST_WAIT = 250
/** Milliseconds until an answer, or the next bytes of one, has to come. */
export const PATIENCE = 15_000

/** One request, redirects followed. A HEAD ends where it would leave the hub. @throws Unreachable, ERR_HUB */
export async function request(url: string, settings: HubSettings, options: RequestOptions): Promise<HubAnswer> {
  const { method = 'GET', what } = options
  const hub = new URL(settings.endpoint)
  let at = new URL(url)
  let headers: Headers | undefined
  for (let hop = 0; hop <= MOST_HOPS; hop++) {
    const response = await once(at, hub, settings, options)
    if (at.host === hub.host) headers = response.headers
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || location === null)
      return { response, headers: headers ?? response.headers }
    const next = new URL(location, at)
    await response.body?.cancel()
    if (at.protocol === 'https:' && next.protocol !== 'https:')
      fail(
        'ERR_HUB',
        `hub: ${at.host} redirects ${what} to ${next.protocol}//${next.host}, which is not encrypted; take another HF_ENDPOINT`,
      )
    if (method === 'HEAD' && next.host !== hub.host) return { response, headers: headers ?? response.headers }
    at = next
  }
  return fail(
    'ERR_HUB',
    `hub: ${settings.endpoint} redirects ${what} more than ${MOST_HOPS} times, last to ${at.host}; check HF_ENDPOINT`,
  )
}

async function once(at: URL, hub: URL, { token }: HubSettings, { method, headers, signal }: RequestOptions) {
  const authorization = token !== undefined && at.host === hub.host ? { authorization: `Bearer ${token}` } : {}
  const own = { 'accept-encoding': 'identity', 'user-agent': 'lowrank', ...headers, ...authorization }
  try {
    const patience = signal ?? AbortSignal.timeout(PATIENCE)
    return await fetch(at, { method: method ?? 'GET', headers: own, redirect: 'manual', signal: patience })
  } catch (error) {
    throw new Unreachable(`${at.host}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Why a request failed, in a few words. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (error instanceof Error && /Timeout|Abort/.test(error.name)) return `no answer within ${PATIENCE / 1000} s`
  return systemCode(cause) ?? messageOf(cause)
}

/**
 * Repeats what ends in {@link Unreachable}, after growing pauses; as long as `progress` grows, without an end. Where
 * nothing answers at a first contact there is no network, and no use in waiting for one.
 */
export async function persistently<T>(body: () => Promise<T>, progress = () => 0, isFirst = false): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const before = progress()
    try {
      return await body()
    } catch (error) {
      if (progress() > before) attempt = 1
      if (!(error instanceof Unreachable) || attempt >= ATTEMPTS || (isFirst && !error.hasAnswered)) throw error
      await sleep(FIRST_WAIT * 2 ** (attempt - 1))
    }
  }
}

/** The answer if it is one; else what it says as an error. @throws Unreachable where asking again may help, ERR_HUB */
export async function accepted(answer: HubAnswer, id: string, settings: HubSettings, what: string): Promise<HubAnswer> {
  const { response } = answer
  const { status } = response
  if (status < 400) return answer
  await response.body?.cancel()
  const { host } = new URL(response.url || settings.endpoint)
  if (status === 408 || status === 429 || status >= 500)
    throw new Unreachable(`${host}: HTTP ${status} for ${what}`, { hasAnswered: true })
  return refused(status, response.headers, id, settings, what)
}

function refused(status: number, headers: Headers, id: string, { endpoint, token }: HubSettings, what: string): never {
  const reason = headers.get('x-error-code') ?? ''
  const page = `${endpoint}/${id}`
  const known = token === undefined ? 'no token is set' : 'the token that is set does not do'
  const login = 'set HF_TOKEN, or run `hf auth login`'
  if (reason === 'GatedRepo' || status === 403)
    fail(
      'ERR_HUB',
      `hub: ${id} is only for those who accepted its terms (HTTP ${status}, ${known}); accept them at ${page}, then ${login}`,
    )
  if (status === 401)
    fail(
      'ERR_HUB',
      `hub: ${endpoint} does not show ${id} (HTTP 401, ${known}): there is no such model, or it is private; check the name at ${page}, or ${login}`,
    )
  if (reason === 'RevisionNotFound')
    fail(
      'ERR_HUB',
      `hub: ${id} has no such revision (${what}); see ${page}/tree/main for its branches, or leave it out`,
    )
  fail('ERR_HUB', `hub: ${endpoint} has no ${what} (HTTP ${status}); see ${page}`)
}
