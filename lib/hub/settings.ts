// Where the hub is, who asks, and where what came from it is kept: the variables that Python's huggingface_hub reads.

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** What the environment says of the hub. */
export interface HubSettings {
  /** Address of the hub or a mirror of it (HF_ENDPOINT), without a slash at its end. */
  readonly endpoint: string
  /** HF_TOKEN, else the file that `hf auth login` writes. */
  readonly token: string | undefined
  /** Folder of the cache (HF_HUB_CACHE, else HF_HOME/hub), which Python uses too. */
  readonly cache: string
  /** HF_HUB_OFFLINE: only the cache is asked. */
  readonly isOffline: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads the environment anew at each call. */
export function hubSettings(env: Environment = process.env): HubSettings {
  const first = (...names: string[]) => names.map(name => env[name]?.trim()).find(value => value)
  const caches = first('XDG_CACHE_HOME') ?? join(homedir(), '.cache')
  const home = expanded(first('HF_HOME') ?? join(caches, 'huggingface'))
  const tokenFile = expanded(first('HF_TOKEN_PATH') ?? join(home, 'token'))
  return {
    endpoint: (first('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, ''),
    token: first('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ?? tokenIn(tokenFile),
    cache: expanded(first('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    isOffline: ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].some(name => /^(1|on|yes|true)$/i.test(first(name) ?? '')),
  }
}

const expanded = (path: string): string => path.replace(/^~(?=$|\/)/, homedir())

function tokenIn(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined // nobody is logged in
  }
}
