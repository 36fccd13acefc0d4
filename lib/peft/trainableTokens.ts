// Trainable tokens: a few rows of the word embeddings train, and nothing else. PEFT's TRAINABLE_TOKENS.

import { check } from '../errors.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import { isTexts } from '../tuple.ts'
import type { Field } from './fields.ts'
import { layersOf } from './layers.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { nameMatcher } from './targets.ts'
import { groupsOf, placeRows, wordsPath } from './tokenRows.ts'

/** Options of {@link trainableTokens}. */
export interface TrainableTokensOptions {
  /** Ids of the tokens whose rows train. */
  tokenIndices?: readonly number[]
  /** Tables and output layers, as of LoRA. Default: the word embeddings, and an output layer that is tied to them. */
  targetModules?: string | readonly string[] | undefined
  /** Whether rows begin as they are; else random, so that the output changes at once. Default true. */
  initWeights?: boolean
}

const fields: readonly Field<keyof TrainableTokensOptions>[] = [
  {
    name: 'tokenIndices',
    peft: 'token_indices',
    kind: 'integers',
    default: [],
    help: 'Ids of the tokens whose rows train',
  },
  {
    name: 'targetModules',
    peft: 'target_modules',
    kind: 'pattern',
    help: 'Names or path ends, all-linear, or one regular expression',
    found: "the family's (query, value for BERT)",
    encode: (value, { targets }) => {
      const [first = ''] = targets
      return isTexts(value) || typeof value === 'string' ? value : first
    },
  },
  {
    name: 'initWeights',
    peft: 'init_weights',
    kind: 'boolean',
    default: true,
    help: 'Whether rows begin as they are; else random',
  },
]

export const TRAINABLE_TOKENS: MethodKind<TrainableTokensOptions> = {
  type: 'token-rows',
  peftType: 'TRAINABLE_TOKENS',
  title: 'trainable token rows',
  help: 'rows of the word embeddings for a few tokens',
  lr: 1e-3,
  fields,
  place,
}

/** Rows of the word embeddings train, for tokens that are new to the model. docs/methods.md. */
export function trainableTokens(options: TrainableTokensOptions = {}): Method {
  return methodOfKind(TRAINABLE_TOKENS, options)
}

const KEY = 'trainable_tokens_delta'

function place(host: Host, options: Required<TrainableTokensOptions>, context: PlaceContext): Placement {
  const { tokenIndices, targetModules, initWeights: startsSame } = options
  // PEFT has no place for a head here: one that is new trains all the same, and its file is read there.
  const { file } = context
  const whole = [...host.parameters.values()].filter(({ name, isNew }) => {
    return file ? file.has(`base_model.model.${name}`) : isNew
  })
  const words = wordsPath(host)
  const named = targetModules === undefined ? [words] : chosen(host, targetModules, words)
  const groups = groupsOf(host, Object.fromEntries(named.map(path => [path, tokenIndices])), 'tokenIndices')
  const linear = new Map<string, LinearAdapter>()
  const matched = groups.map(group => {
    return { ...placeRows(host, group, linear, context, { key: KEY, startsSame }), path: group.path }
  })
  // PEFT writes the rows of each layer that has them.
  const copies = groups.flatMap(({ path, layers }) => {
    const others = layers.filter(layer => layer.path !== path)
    return others.map(layer => [keyAt(layer.path), { of: keyAt(path), isTransposed: false }] as const)
  })
  return { linear, whole, matched, copies: new Map(copies) }
}

const keyAt = (path: string) => `base_model.model.${path}.${KEY}`

function chosen(host: Host, targets: string | readonly string[], words: string): string[] {
  const isNamed = nameMatcher(targets, 'targetModules')
  const paths = [...new Set([words, ...layersOf(host).map(({ path }) => path)])]
  const found = paths.filter(isNamed)
  check(found.length > 0, 'ERR_OPTION', () => {
    return `targetModules: ${JSON.stringify(targets)} matches no table and no output layer; name some of ${words}, ${host.output?.path ?? words}`
  })
  return found
}
