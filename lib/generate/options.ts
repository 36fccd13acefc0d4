// How tokens are chosen: the options of generation, each once, and their defaults.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../errors.ts'
import { isJsonObject, type Json, readJson, shown } from '../io/json.ts'
import type { Model } from '../model.ts'
import { checkIdle, checkSignal, type FilledOf, filled, type OptionRow, type OptionsOf } from '../options.ts'
import { isCount, keysOf, marked } from '../tuple.ts'
import type { CacheOptions } from './kvCache.ts'

/** The numbers among them: flags, checks and docs follow from here. */
export const GENERATE_OPTIONS = {
  maxNewTokens: { kind: 'integer', default: 256, help: 'Most tokens to generate', min: 1 },
  temperature: { kind: 'number', default: 0, help: '0 takes the likeliest token each time', min: 0, max: 100 },
  topK: { kind: 'integer', default: 0, help: 'Draw among so many of the likeliest; 0: all', min: 0 },
  topP: {
    kind: 'number',
    default: 1,
    help: 'Draw among the fewest that together have this probability',
    min: 1e-6,
    max: 1,
  },
  minP: {
    kind: 'number',
    default: 0,
    help: 'Draw among those that have at least this share of the probability of the likeliest',
    min: 0,
    max: 1,
  },
  repetitionPenalty: {
    kind: 'number',
    default: 1,
    help: 'Divides the logits of tokens that are there already, prompt included',
    min: 0.01,
    max: 100,
  },
  frequencyPenalty: {
    kind: 'number',
    default: 0,
    help: 'Taken from the logit of a token each time it was generated',
    min: -100,
    max: 100,
  },
  presencePenalty: {
    kind: 'number',
    default: 0,
    help: 'Taken from the logit of a token that was generated',
    min: -100,
    max: 100,
  },
  noRepeatNgram: { kind: 'integer', default: 0, help: 'No run of so many tokens comes twice; 0: any may', min: 0 },
  beams: { kind: 'integer', default: 1, help: 'Beams of a beam search; 1 is none', min: 1, max: 64 },
  lengthPenalty: {
    kind: 'number',
    default: 1,
    help: 'Exponent of the length that the score of a beam is divided by',
    min: -10,
    max: 10,
  },
  seed: { kind: 'integer', default: 0, help: 'The same seed draws the same tokens', min: 0 },
} as const satisfies Readonly<Record<string, OptionRow>>

/** How keys and values of earlier tokens are kept. */
export const CACHE_OPTIONS = {
  cacheType: {
    kind: 'choice',
    choices: ['f32', 'bf16'],
    default: 'f32',
    help: 'Type of the keys and values of earlier tokens; f32: as they are made, bf16: half the memory',
  },
  reuse: {
    kind: 'integer',
    default: 4096,
    help: 'Most tokens of texts whose keys and values are kept for others that begin alike; 0: none',
    min: 0,
  },
} as const satisfies Readonly<Record<string, OptionRow>>

/** @throws ERR_OPTION for a value out of range */
export function cacheOptions(given: CacheOptions): FilledOf<typeof CACHE_OPTIONS> {
  return filled(CACHE_OPTIONS, given, 'generate')
}

/** Names of {@link TokenOptions}. */
export const TOKEN_OPTIONS: OptionsOf<TokenOptions> = {
  ...marked(GENERATE_OPTIONS),
  ...{ endIds: true, sample: true, signal: true },
}

/** The numbers of generation, each with its default. */
export type TokenNumbers = FilledOf<typeof GENERATE_OPTIONS>

/** How tokens are chosen. */
export interface TokenOptions extends Partial<{ readonly [K in keyof TokenNumbers]: TokenNumbers[K] | undefined }> {
  /** Ids that end a text. Default: those of generation_config.json or config.json. */
  readonly endIds?: readonly number[] | undefined
  /** Which of several samples of one prompt and seed: each draws anew. Default 0. */
  readonly sample?: number | undefined
  /** Stops between tokens, with its reason thrown. */
  readonly signal?: AbortSignal | undefined
}

/** Options with every default. */
export interface Decoding extends TokenNumbers {
  readonly ends: ReadonlySet<number>
  readonly sample: number
  readonly signal: AbortSignal | undefined
}

/** @throws ERR_OPTION for an unknown option, or a value out of range */
export function choiceOf(model: Model, { endIds, sample = 0, signal, ...options }: TokenOptions): Decoding {
  const numbers = filled(GENERATE_OPTIONS, options, 'generate')
  checkEffects(numbers)
  check(Number.isSafeInteger(sample) && sample >= 0, 'ERR_OPTION', () => `sample: ${sample}, expected 0 or more`)
  check(endIds === undefined || (Array.isArray(endIds) && endIds.every(id => isCount(id))), 'ERR_OPTION', () => {
    return `endIds: ${shown(endIds)} is no list of ids of tokens`
  })
  checkSignal(signal)
  return { ...numbers, ends: new Set(endIds ?? endIdsOf(model)), sample, signal }
}

/** @throws ERR_OPTION for what draws or searches where nothing is drawn or searched */
function checkEffects({ temperature, beams, lengthPenalty, ...numbers }: TokenNumbers): void {
  const { topK, topP, minP } = numbers
  const draws = { topK, topP, minP }
  const other = keysOf(draws).find(name => draws[name] !== GENERATE_OPTIONS[name].default)
  if (other && temperature === 0)
    checkIdle(other, draws[other], () => 'at temperature 0, which draws nothing', 'give a temperature, say 1')
  if (beams > 1 && temperature > 0) checkIdle('temperature', temperature, () => `on ${beams} beams, which draw nothing`)
  const { default: usual } = GENERATE_OPTIONS.lengthPenalty
  if (beams === 1 && lengthPenalty !== usual) checkIdle('lengthPenalty', lengthPenalty, () => 'without beams')
}

const endsIn = (config: Json) => (isJsonObject(config) ? config.eos_token_id : undefined)

/** `eos_token_id` of generation_config.json, else of config.json: one id or several. */
function endIdsOf({ path, config }: Pick<Model, 'path' | 'config'>): number[] {
  const file = path === undefined ? '' : join(path, 'generation_config.json')
  const own = existsSync(file) ? endsIn(readJson(file)) : undefined
  const ids = own ?? config.values.eos_token_id ?? []
  return [ids].flat().filter(id => typeof id === 'number')
}
