// What a method of fine-tuning is: a description of what it puts where. One class, `Adapter`, does the rest for all.

import type { ModelConfig } from '../io/config.ts'
import type { PyObject } from '../io/json.ts'
import type { Checkpoint, TensorInMemory } from '../io/safetensors.ts'
import type { Embedding } from '../nn/embedding.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import type { Parameter, Storage } from '../nn/module.ts'
import type { VirtualTokens } from '../nn/virtual.ts'
import type { ArenaGroup } from '../optim/arena.ts'
import type { Device, Tensor } from '../tensor.ts'
import { isTexts } from '../tuple.ts'
import { type Field, type Resolved, resolveFields } from './fields.ts'
import type { TaskType } from './taskType.ts'

/** An adapter as its model sees it. */
export interface Attachment {
  readonly isActive: boolean
  readonly isMerged: boolean
  readonly virtual: VirtualTokens | undefined
  /** Whether it has put something on a linear layer. */
  carries(path: string): boolean
  dispose(): void
}

/** A model as methods see it; `Model` is one. */
export interface Host {
  readonly config: ModelConfig
  /** Of what its family says: how the path of each sublayer's last linear layer ends. */
  readonly family: {
    readonly inAdapterHub?: true
    readonly basePrefix: string
    readonly headTensors: RegExp
    readonly wideOnly?: string
    untied?(config: ModelConfig): PyObject
    readonly sublayerEnds?: {
      readonly attention: string
      readonly feedforward: string
      readonly normedAfter?: { readonly reads: string; readonly norm: string }
    }
  }
  /** Name of the head's task. */
  readonly task: string
  /** The class of transformers for it: BertForTokenClassification. */
  readonly className: string
  readonly head: { readonly problem: string }
  readonly labels: readonly string[]
  readonly device: Device
  readonly storage: Storage
  /** The folder it was loaded from; undefined for a model made from a config. */
  readonly path: string | undefined
  /** By Hugging Face module path. */
  readonly linears: ReadonlyMap<string, Linear>
  /** Tables of vectors, by Hugging Face module path. */
  readonly embeddings: ReadonlyMap<string, Embedding>
  /** From rows to the vocabulary, of a language model. */
  readonly output: Linear | undefined
  /** By Hugging Face tensor name. */
  readonly parameters: ReadonlyMap<string, Parameter>
  /** Modules of the task's head. */
  readonly headModules: readonly string[]
  /** Tensors that the checkpoint lacked. */
  readonly newTensors: readonly string[]
  /** Its sizes: of its hidden state, of keys and values, and how many layers; encoder-decoders have a `startId`. */
  readonly backbone: {
    readonly hiddenSize: number
    readonly layers: number
    readonly kvHeads: number
    readonly headDim: number
    readonly startId?: number
    readonly wordEmbeddings: Embedding
  }
  /** Parameters that two layers use: tied embeddings. */
  readonly shared: ReadonlySet<Parameter>
  /** Gives a tied output layer a weight of its own, of the same values; returns what ties it again. */
  untie(): () => void
  /** What is attached, by name; a model frees them with itself. */
  readonly adapters: Map<string, Attachment>
}

/** What a method did to a module. */
export interface Matched {
  readonly path: string
  /** In a few words: 'r 8, scale 2'. */
  readonly text: string
  /** Rank, and what B A is multiplied by, where there are factors. */
  readonly r?: number
  readonly scale?: number
}

/** Numbers that a method remembers between steps. */
export interface StateEntry {
  readonly shape: readonly number[]
  read(): Promise<Float32Array | Float64Array>
  write(values: Float32Array | Float64Array): void
}

/** What training does for a method beside its gradients. */
export interface TrainingHooks {
  /** Shape [1], added to the loss of every optimizer step; computed on a tape. */
  penalty?(): Tensor
  /** After update `step` of `total`, counted from 1; gradients are still there. */
  afterUpdate?(step: number, total: number): void | Promise<void>
  /** Learning rate and decay of a parameter, relative to the run's. */
  group?(parameter: Parameter): ArenaGroup
  /** Singular values that train, by layer, shape [r, 1]: those that a budget has cut are 0. Trackers follow them. */
  singularValues?(): ReadonlyMap<string, Tensor>
  /** What `afterUpdate` remembers between steps, by name: checkpoints keep it. */
  state?(): ReadonlyMap<string, StateEntry>
}

/** Forward passes over some of the training data, one a call; inside a scope, unrecorded. */
export type Passes = Iterable<() => void>

/** What a method puts on a model, not yet attached. */
export interface Placement {
  /** On linear layers and tables, by module path, in the model's order. */
  readonly linear: ReadonlyMap<string, LinearAdapter>
  /** What is saved with it and never trains. */
  readonly frozen?: readonly Parameter[]
  /** What it puts before each sequence. */
  readonly virtual?: VirtualTokens
  /** What trains beside the layers and parameters of the model. */
  readonly own?: readonly Parameter[]
  /** What a file holds in place of `own`, computed as it is now; freed by whoever asks. */
  written?(): Parameter[]
  /** Parameters of the model that train whole, in the order they are saved in. */
  readonly whole: readonly Parameter[]
  /** The model's own weights train: nothing is laid over them, so that they cannot be switched off. */
  readonly inPlace?: boolean
  /** What it did, module by module. */
  readonly matched: readonly Matched[]
  readonly training?: TrainingHooks
  /** Which matrices may be all zeros in a file, as B is at the start; any other was never set. */
  mayBeZero?(parameter: Parameter): boolean
  /**
   * Finds where training begins, for a method that cannot tell on attaching. `isFilled`: what trains has its values
   * from elsewhere. Runs once, before anything is computed.
   */
  prepare?(passes: Passes | undefined, isFilled: boolean): Promise<void>
  /** Options that training has found, for the config of a file. */
  settings?(): object
  /** Tensors as they are written, where that is not as they are in memory. */
  pack?(tensors: readonly TensorInMemory[]): TensorInMemory[]
  /** Keys of PEFT's file that hold once more what another holds, or that transposed. */
  readonly copies?: ReadonlyMap<string, { readonly of: string; readonly isTransposed: boolean }>
  /** Key of a parameter in PEFT's file, where it is not `base_model.model.` and its name. */
  keyOf?(parameter: Parameter): string | undefined
}

/** What a method needs to know to place itself. */
export interface PlaceContext {
  /** The adapter's. */
  readonly name: string
  readonly taskType: TaskType | undefined
  /** Every name of the options must match something; false for a file of PEFT's, where one may not. */
  readonly isStrict: boolean
  /** The file that the values will come from. */
  readonly file?: Checkpoint
  /**
   * A new parameter in the dtype that trains. `start` gives its values from the run's seed and its name, or as a
   * tensor of the same shape; where they come from a file, or there is no memory to fill, it is not asked.
   */
  parameter(
    name: string,
    shape: readonly number[],
    start: (seed: number, name: string) => Float32Array | Tensor,
  ): Parameter
  /** Something that neither trains nor is saved, in the dtype that trains; freed with the adapter. */
  constant(shape: readonly number[], start: () => Float32Array | Tensor): Parameter
}

/** One kind of method: what its file in this folder exports, and the registry lists. */
export interface MethodKind<O extends object = Resolved> {
  /** Its name here: 'lora'. */
  readonly type: string
  /** `peft_type` of adapter_config.json; undefined for a method that is saved as a whole model. */
  readonly peftType?: string
  readonly title: string
  /** One line of --help. */
  readonly help: string
  /** Default learning rate. */
  readonly lr: number
  readonly fields: readonly Field<keyof O & string>[]
  /** What serves better than PEFT's defaults, given the rest: the command line takes it. docs/defaults.md says why. */
  recommended?(given: Partial<O>): Partial<O>
  /** What --help says of these, by option. */
  readonly recommendedAs?: Readonly<Record<string, string>>
  /** Keys of PEFT's file that no field stands for, with their values. */
  readonly keys?: PyObject
  /** Keys of PEFT's file that follow from several options. */
  extraKeys?(options: Required<O>): PyObject
  /** Keys of settings that are not built, each with the value that leaves it out. */
  readonly notBuilt?: PyObject
  /** What no single field can tell. Throws ERR_OPTION. */
  check?(options: Required<O>): void
  /** Throws ERR_OPTION where targets match nothing, or nothing would train. */
  place(host: Host, options: Required<O>, context: PlaceContext): Placement
}

/** A way of fine-tuning, with its settings: `lora({ r: 8 })`, `fullFineTuning()`. */
export interface Method {
  /** Its name here: 'lora', 'full'. */
  readonly type: string
  readonly kind: MethodKind
  /** All of them, defaults filled in. */
  readonly options: Resolved
}

/** What a method is told to train whole; undefined where it finds that out, or takes no such option. */
export function modulesOf({ options: { modulesToSave } }: Method): string[] | undefined {
  return isTexts(modulesToSave) ? modulesToSave : undefined
}

/** A kind among others: what its options are was checked where they were given. */
export function anyKind<O extends object>(kind: MethodKind<O>): MethodKind {
  return kind as MethodKind
}

/** A method of a kind with its options checked. Throws ERR_OPTION. */
export function methodOfKind<O extends object>(kind: MethodKind<O>, options: O): Method {
  const resolved = resolveFields(kind.type, kind.fields, options) as Required<O>
  kind.check?.(resolved)
  return { type: kind.type, kind: anyKind(kind), options: { ...resolved } }
}
