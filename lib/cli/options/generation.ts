// The options of generation as the command line has them.

import type { CacheOptions } from '../../generate/kvCache.ts'
import { CACHE_OPTIONS, GENERATE_OPTIONS, type TokenNumbers } from '../../generate/options.ts'
import { keysOf, pick } from '../../tuple.ts'

const { seed: _, ...numbers } = GENERATE_OPTIONS

/** All but the seed, which training has too. */
export const GENERATION_OPTIONS = { ...numbers, ...CACHE_OPTIONS }

/** The part of the settings that says how tokens are chosen. */
export function generationOf(settings: TokenNumbers & { readonly stop?: readonly string[] | undefined }) {
  return { ...pick<TokenNumbers, keyof TokenNumbers>(settings, keysOf(GENERATE_OPTIONS)), stop: settings.stop }
}

/** The part of the settings that says how keys and values are kept. */
export function cacheOf({ cacheType, reuse }: Required<CacheOptions>): CacheOptions {
  return { cacheType, reuse }
}
