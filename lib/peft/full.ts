// Full fine-tuning: the weights of the model themselves train.

import { check } from '../errors.ts'
import { isQuantized, type Parameter } from '../nn/module.ts'
import { must } from '../tuple.ts'
import type { Field } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type Placement } from './method.ts'
import { layerNumber } from './targets.ts'

/** Options of {@link fullFineTuning}. */
export interface FullOptions {
  /** Leave word, position and segment embeddings (and their norm) as they are. Default false. */
  freezeEmbeddings?: boolean
  /** Of the numbered layers train only these, counted from 0. What lies in no layer trains. Default: all. */
  layers?: number | readonly number[] | undefined
  /** Keep the original weights, for setActive and detach to put back: one more copy of the model. Default false. */
  keepOriginal?: boolean
}

export const KEEP_FIELD: Field<'keepOriginal'> = {
  name: 'keepOriginal',
  kind: 'boolean',
  default: false,
  help: 'Keep the original weights, to be put back',
}

const fields: readonly Field<keyof FullOptions>[] = [
  { name: 'freezeEmbeddings', kind: 'boolean', default: false, help: 'Leave the embeddings as they are' },
  { name: 'layers', kind: 'integers', help: 'Of the numbered layers train only these, from 0', found: 'all' },
  KEEP_FIELD,
]

export const FULL: MethodKind<FullOptions> = {
  type: 'full',
  title: 'full fine-tuning',
  help: 'all weights of the model',
  lr: 5e-5,
  fields,
  place: (host, options) => trainingThemselves(chosen(host, options), options.keepOriginal),
}

/**
 * Every parameter trains, or those that the options leave; a base stored as bf16 becomes f32. It is saved as a whole
 * model folder. Without `keepOriginal` the training is the model's own: detaching leaves it trained.
 *
 * Throws ERR_OPTION for an unknown option; `attach` for a layer that is not there, or where nothing would train.
 */
export function fullFineTuning(options: FullOptions = {}): Method {
  return methodOfKind(FULL, options)
}

/** Parameters of the model that train themselves, in place or beside their originals. */
export function trainingThemselves(whole: readonly Parameter[], keepOriginal: boolean): Placement {
  return { linear: new Map(), whole, inPlace: !keepOriginal, matched: [] }
}

/** All parameters. @throws ERR_OPTION where the base, or an adapter, does not let them train themselves */
export function ownParameters(host: Host, what: string, keepOriginal: boolean): Parameter[] {
  check(!isQuantized(host.storage), 'ERR_OPTION', () => {
    return `${what}: the base is stored as ${host.storage}, and its own weights are gone; load it with storage f32 or bf16`
  })
  const all = [...host.parameters.values()]
  const covered = all.find(parameter => parameter.isCovered)
  check(keepOriginal || !covered, 'ERR_OPTION', () => {
    return `${what}: an adapter has its own ${must(covered, 'covered').name}; merge or detach it first`
  })
  return all
}

function chosen(host: Host, { freezeEmbeddings, layers, keepOriginal }: Required<FullOptions>): Parameter[] {
  const all = ownParameters(host, 'full', keepOriginal)
  const wanted = layers === undefined ? undefined : typeof layers === 'number' ? [layers] : layers
  const there = new Set(all.map(({ name }) => layerNumber(name)))
  for (const layer of wanted ?? [])
    check(there.has(layer), 'ERR_OPTION', () => {
      const last = Math.max(...[...there].map(n => n ?? -1))
      return `layers: there is no layer ${layer}; the model has 0 to ${last}`
    })
  const found = all.filter(({ name }) => {
    const layer = layerNumber(name)
    const isFrozen = freezeEmbeddings && name.split('.').includes('embeddings')
    return !isFrozen && (wanted === undefined || layer === undefined || wanted.includes(layer))
  })
  check(found.length > 0, 'ERR_OPTION', () => 'full: the options leave nothing to train; choose layers')
  return found
}
