// The methods by name. A new one is a file and a line here.

import { fail, nearest } from '../errors.ts'
import type { Checkpoint } from '../io/safetensors.ts'
import type { AdapterConfig, LoraOptions } from './config.ts'
import { type FullOptions, fullFineTuning } from './full.ts'
import { lora, loraFromFile } from './lora.ts'
import type { Attached, Host, Method } from './method.ts'

/** One kind of method. */
export interface MethodKind {
  /** Our name: 'lora'. */
  readonly type: string
  /** PEFT's name in adapter_config.json; undefined where there is no such file. */
  readonly peftType: string | undefined
  /** The method with its settings, which it checks itself. */
  readonly create: (options: object) => Method
  /** Attaches what a folder describes; its tensors still wait for their values. */
  readonly fromFile?: (
    host: Host,
    config: AdapterConfig,
    file: Checkpoint,
    options: { name: string; trainable: boolean },
  ) => Attached
}

export const METHODS: readonly MethodKind[] = [
  { type: 'lora', peftType: 'LORA', create: options => lora(options as LoraOptions), fromFile: loraFromFile },
  { type: 'full', peftType: undefined, create: options => fullFineTuning(options as FullOptions) },
]

/** A kind by our name or PEFT's. Throws ERR_OPTION naming the known ones. */
export function methodOf(type: string): MethodKind {
  const types = METHODS.map(kind => kind.type)
  return (
    METHODS.find(kind => kind.type === type || kind.peftType === type) ??
    fail('ERR_OPTION', `method: "${type}" is unknown${nearest(type, types)}; known are ${types.join(', ')}`)
  )
}
