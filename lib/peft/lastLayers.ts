// The last layers of the model train, with what follows them: the classic way of freezing the rest.

import { check } from '../errors.ts'
import type { Parameter } from '../nn/module.ts'
import type { Field } from './fields.ts'
import { KEEP_FIELD, ownParameters, trainingThemselves } from './full.ts'
import { type Host, type Method, type MethodKind, methodOfKind } from './method.ts'
import { layerNumber } from './targets.ts'

/** Options of {@link lastLayers}. */
export interface LastLayersOptions {
  /** How many of the numbered layers train, counted from the last; of each stack. Default 1. */
  lastLayers?: number
  /** Keep the original weights, for setActive and detach to put back. Default false. */
  keepOriginal?: boolean
}

const fields: readonly Field<keyof LastLayersOptions>[] = [
  {
    name: 'lastLayers',
    kind: 'integer',
    default: 1,
    min: 1,
    help: 'How many layers train, from the last',
    search: { values: [1, 2, 4] },
  },
  KEEP_FIELD,
]

export const LAST_LAYERS: MethodKind<LastLayersOptions> = {
  type: 'last-layers',
  title: 'the last layers',
  help: 'all weights of the last layers and of the head, the rest frozen',
  lr: 1e-4,
  fields,
  place: (host, options) => trainingThemselves(chosen(host, options), options.keepOriginal),
}

/** The last layers train, and what follows them; saved as a whole model folder. docs/methods.md. */
export function lastLayers(options: LastLayersOptions = {}): Method {
  return methodOfKind(LAST_LAYERS, options)
}

/**
 * Embeddings come before the layers, in the order of the model; norms, poolers and heads after them. An
 * encoder-decoder has two stacks, each with last layers of its own.
 */
function chosen(host: Host, { lastLayers, keepOriginal }: Required<LastLayersOptions>): Parameter[] {
  const all = ownParameters(host, 'last-layers', keepOriginal)
  const counts = new Map<string, number>()
  for (const { name } of all) counts.set(stackOf(name), Math.max(counts.get(stackOf(name)) ?? 0, placeOf(name) + 1))
  counts.delete('')
  const fewest = Math.min(...counts.values())
  check(lastLayers <= fewest, 'ERR_OPTION', () => {
    return `lastLayers: ${lastLayers}, and the model has ${fewest}; take full`
  })
  const first = all.findIndex(({ name }) => stackOf(name) !== '')
  return all.filter(({ name }, i) => {
    const count = counts.get(stackOf(name))
    return count === undefined ? i > first : placeOf(name) >= count - lastLayers
  })
}

const placeOf = (name: string): number => layerNumber(name) ?? -1

/** What comes before the number of a layer in a name; '' where there is none. */
const stackOf = (name: string): string => /^(.*?)\.\d+\./.exec(name)?.[1] ?? ''
