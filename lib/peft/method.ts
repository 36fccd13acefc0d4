// What a PEFT method is, what it attaches to, and what comes of attaching it.

import type { ModelConfig } from '../io/config.ts'
import type { PyObject } from '../io/json.ts'
import type { FloatDtype } from '../io/safetensors.ts'
import type { Linear } from '../nn/linear.ts'
import type { Parameter, Storage } from '../nn/module.ts'
import type { Device, Tensor } from '../tensor.ts'

/** A model as methods see it; `Model` of lib/heads is one. */
export interface Host {
  readonly config: ModelConfig
  /** 'sequence-classification', 'token-classification' or 'masked-lm'. */
  readonly task: string
  readonly head: { readonly problem: string }
  readonly labels: readonly string[]
  readonly device: Device
  readonly storage: Storage
  /** The folder it was loaded from; undefined for a model made from a config. */
  readonly path: string | undefined
  /** By Hugging Face module path. */
  readonly linears: ReadonlyMap<string, Linear>
  /** By Hugging Face tensor name. */
  readonly parameters: ReadonlyMap<string, Parameter>
  /** Modules of the task's head. */
  readonly headModules: readonly string[]
  /** Tensors that the checkpoint lacked. */
  readonly newTensors: readonly string[]
  /** Parameters that two layers use: tied embeddings. */
  readonly shared: ReadonlySet<Parameter>
}

/** A linear layer that carries low-rank factors. */
export interface Matched {
  readonly path: string
  readonly r: number
  /** What B A is multiplied by. */
  readonly scale: number
}

/** A penalty on the low-rank factors that training adds to the loss: see {@link penalty}. */
export interface Regularizer {
  readonly weight: number
  readonly kind: 'l2' | 'orth'
  /** A and B of every module, in this order. */
  readonly parameters: readonly Parameter[]
}

export interface AttachOptions {
  /** Keys the initial values; each tensor's depend on its name and this alone. Default 0. */
  seed?: number | undefined
}

/** A way of fine-tuning, with its settings: `lora({ r: 8 })`, `fullFineTuning()`. */
export interface Method {
  /** Its name here: 'lora', 'full'. */
  readonly type: string
  /**
   * Puts the method on a model. `name` (default 'default') tells several adapters of one model apart. Throws
   * ERR_OPTION where targets match nothing, nothing would train, or the name is taken.
   */
  attach(host: Host, name?: string, options?: AttachOptions): Attached
}

/** A method on a model. Nothing trains until an optimizer's arena takes `trainable` in. */
export interface Attached {
  readonly method: Method
  readonly name: string
  readonly host: Host
  /**
   * What an optimizer is to train, always in this order: factors (A, then B) by module as the model lists its linear
   * layers, parameters trained whole as the model lists them, then biases alike. Empty where it was loaded frozen.
   */
  readonly trainable: readonly Parameter[]
  readonly matched: readonly Matched[]
  readonly regularizer: Regularizer | undefined
  readonly isActive: boolean
  readonly isMerged: boolean
  /** Dtypes that its tensors had in the file it was loaded from, by key. */
  readonly fileDtypes: ReadonlyMap<string, FloatDtype>
  /** All that is to be saved, under the names PEFT gives them, in the order of `trainable`. */
  tensors(): Iterable<[key: string, parameter: Parameter]>
  /**
   * The object of `adapter_config.json`; undefined for a method that is saved as a whole model. `baseModel` is where
   * the base was loaded from, if not from `host.path`.
   */
  config(baseModel?: string): PyObject | undefined
  /** Switches it off (the model computes as before, its own head included) and on again. */
  setActive(active: boolean): void
  /** The change of a layer's weight, [out, in], to be freed by the caller or its scope. */
  deltaWeight(path: string): Tensor
  /** Adds every change to its weight and switches the factors off. The original weights are kept beside. */
  merge(): void
  /** Puts the original weights back, byte for byte. */
  unmerge(): void
  /**
   * Frees it; the model is as it was before, byte for byte. With `keep`, what is merged or trained whole stays in the
   * model. Throws ERR_OPTION while an optimizer holds its parameters: dispose the arena first.
   */
  detach(options?: { keep?: boolean }): void
}
