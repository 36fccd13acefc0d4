// The options of generation as the command line has them.

import { GENERATE_OPTIONS, type TokenNumbers } from '../../generate/options.ts'
import { keysOf, pick } from '../../tuple.ts'

const { seed: _, ...numbers } = GENERATE_OPTIONS

/** All but the seed, which training has too. */
export const GENERATION_OPTIONS = numbers

/** The part of the settings that says how tokens are chosen. */
export function generationOf(settings: TokenNumbers & { readonly stop?: readonly string[] | undefined }) {
  return { ...pick<TokenNumbers, keyof TokenNumbers>(settings, keysOf(GENERATE_OPTIONS)), stop: settings.stop }
}
