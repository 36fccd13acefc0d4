// Full fine-tuning: the weights of the model themselves train.

import { check, fail } from '../errors.ts'
import { isQuantized, type Parameter } from '../nn/module.ts'
import type { Attached, Host, Method } from './method.ts'
import { cast, Substitution, trainedDType } from './whole.ts'

export interface FullOptions {
  /** Leave word, position and segment embeddings (and their norm) as they are. Default false. */
  freezeEmbeddings?: boolean
  /** Of the numbered layers train only these, counted from 0. What lies in no layer trains. Default: all. */
  layers?: number | readonly number[] | undefined
  /** Keep the original weights, for setActive and detach to put back: one more copy of the model. Default false. */
  keepOriginal?: boolean
}

/**
 * Every parameter trains, or those that the options leave; a base stored as bf16 becomes f32. It is saved as a whole
 * model folder. Without `keepOriginal` the training is the model's own: detaching leaves it trained.
 *
 * Throws ERR_OPTION for an unknown option; `attach` for a layer that is not there, or where nothing would train.
 */
export function fullFineTuning(options: FullOptions = {}): Method {
  const known = ['freezeEmbeddings', 'layers', 'keepOriginal']
  for (const key of Object.keys(options))
    check(known.includes(key), 'ERR_OPTION', () => `full: there is no option "${key}"; known are ${known.join(', ')}`)
  const method: Method = {
    type: 'full',
    attach: (host, name = 'default') => new FullAttached(method, host, name, chosen(host, options), options),
  }
  return method
}

function chosen(host: Host, { freezeEmbeddings = false, layers }: FullOptions): Parameter[] {
  check(!isQuantized(host.storage), 'ERR_OPTION', () => {
    return `full: the base is stored as ${host.storage}, and its own weights are gone; load it with storage f32 or bf16`
  })
  const wanted = layers === undefined ? undefined : typeof layers === 'number' ? [layers] : layers
  const all = [...host.parameters.values()]
  const there = new Set(all.map(({ name }) => layerOf(name)))
  for (const layer of wanted ?? [])
    check(there.has(layer), 'ERR_OPTION', () => {
      const last = Math.max(...[...there].map(n => n ?? -1))
      return `layers: there is no layer ${layer}; the model has 0 to ${last}`
    })
  const found = all.filter(({ name }) => {
    const layer = layerOf(name)
    const isFrozen = freezeEmbeddings && name.split('.').includes('embeddings')
    return !isFrozen && (wanted === undefined || layer === undefined || wanted.includes(layer))
  })
  check(found.length > 0, 'ERR_OPTION', () => 'full: the options leave nothing to train; choose layers')
  return found
}

/** The number in the first numbered segment of a tensor's name. */
function layerOf(name: string): number | undefined {
  const number = /\.(\d+)\./.exec(name)?.[1]
  return number === undefined ? undefined : Number(number)
}

class FullAttached implements Attached {
  readonly method: Method
  readonly host: Host
  readonly name: string
  readonly matched = []
  readonly regularizer = undefined
  readonly isMerged = false
  readonly fileDtypes = new Map<string, never>()
  readonly trainable: readonly Parameter[]
  readonly #kept: Substitution | undefined

  constructor(method: Method, host: Host, name: string, parameters: readonly Parameter[], options: FullOptions) {
    this.method = method
    this.host = host
    this.name = name
    this.trainable = parameters
    const dtype = trainedDType(host.storage)
    if (options.keepOriginal) this.#kept = new Substitution(parameters, name, p => cast(p.tensor, dtype))
    else for (const p of parameters) if (p.tensor.dtype !== dtype) p.replace(cast(p.tensor, dtype))
  }

  get isActive(): boolean {
    return this.#kept?.isOn ?? true
  }

  tensors(): Iterable<[string, Parameter]> {
    return this.host.parameters
  }

  config(): undefined {
    return undefined
  }

  setActive(active: boolean): void {
    check(active || this.#kept, 'ERR_OPTION', () => {
      return 'setActive: full fine-tuning changed the weights themselves; attach it with keepOriginal to switch it off'
    })
    this.#kept?.set(active)
  }

  deltaWeight(): never {
    return fail('ERR_UNSUPPORTED', 'deltaWeight: full fine-tuning has no low-rank change; compare the weights')
  }

  merge(): never {
    return fail('ERR_UNSUPPORTED', 'merge: full fine-tuning trains the weights themselves; there is nothing to merge')
  }

  unmerge(): never {
    return fail('ERR_UNSUPPORTED', 'unmerge: full fine-tuning trains the weights themselves; nothing is merged')
  }

  detach({ keep = false }: { keep?: boolean } = {}): void {
    const held = this.trainable.find(parameter => parameter.trains)
    check(!held, 'ERR_OPTION', () => `detach: an optimizer still trains ${held!.name}; dispose its arena first`)
    this.#kept?.end(keep)
  }
}
