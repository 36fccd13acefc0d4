import { type Targets, uploadTargets } from './data/targets.ts'
import { check, fail } from './errors.ts'
import { onLearned } from './heads/aside.ts'
import { answersOf, type DeviceAnswers, type Head, type LossOptions, type Problem, rowsRead } from './heads/head.ts'
import { checkedHead, checkModelOptions, headLabels, headSource, holdsHead, problemOf } from './heads/headSource.ts'
import { HEADS, headOf, type TaskName } from './heads/index.ts'
import { localFolder } from './hub/folder.ts'
import { float, type ModelConfig, readModelConfig } from './io/config.ts'
import { openWeights } from './io/gguf/weights.ts'
import type { Backbone, Family, HeadSpec } from './models/family.ts'
import { checkLayers, precisionOf, storageOf, weightNotices } from './models/fit.ts'
import { familyOf, MODEL_TYPES } from './models/index.ts'
import { type LoadSettings, Weights } from './models/weights.ts'
import type { EncoderMemory } from './nn/attention.ts'
import { type PackedBatch, shiftedRight, upload } from './nn/batch.ts'
import type { Embedding } from './nn/embedding.ts'
import type { Linear } from './nn/linear.ts'
import type { Parameter, Storage } from './nn/module.ts'
import { withDecoderRoutes, withSelectedRoutes } from './nn/routes.ts'
import { FORWARD_OPTIONS, type ForwardOptions, type StackCache } from './nn/stack.ts'
import { prefixOf, shiftedRules, type VirtualTokens, withPrompt, withVirtual } from './nn/virtual.ts'
import { embedding } from './ops/embedding.ts'
import type { Compute } from './ops/matmul.ts'
import { countingDecoder, countingSelected, countingVirtual } from './ops/random.ts'
import { checkOptions, SEED } from './options.ts'
import type { Adapter } from './peft/adapter.ts'
import { Device, Tensor } from './tensor.ts'
import { must, nth } from './tuple.ts'

/** Builds a head of one's own in place of a task's: see examples/custom-head.ts. */
export type HeadBuilder = (parts: {
  weights: Weights
  backbone: Backbone
  config: ModelConfig
  labels: readonly string[]
}) => Head

/** What a model is loaded for, where, and in which precision. */
export interface ModelOptions {
  task: TaskName
  /** What the classes are called, in the order of their ids. Default: the config's id2label. */
  labels?: readonly string[] | undefined
  /** Default: the config's problem_type, else `regression` for one label and `single` for more. */
  problem?: Problem | undefined
  head?: HeadBuilder | undefined
  /**
   * What becomes of a classifier that the checkpoint has: `byName` takes its rows for labels of the same names, or all
   * in their order where none is the same; `inOrder` takes all under new names; `anew` takes none. Default `byName`.
   */
  headRows?: 'byName' | 'inOrder' | 'anew' | undefined
  /** Default `cpu`. */
  device?: string | undefined
  /** On the meta device: which kind of device is planned for. Default `cpu`. */
  planFor?: 'cpu' | 'cuda' | undefined
  /** How the frozen base is stored. Default `f32`, of a GGUF file its blocks; on CUDA `bf16` where products are. */
  storage?: Storage | undefined
  /** Precision of products; with `bf16` activations are bf16 too. Default `f32`, on CUDA `bf16`. */
  compute?: Compute | undefined
  /** Keys newly initialised weights. Default {@link SEED}. */
  seed?: number | undefined
}

/** A transformer with a task's head, on a device. Dispose it to free its memory. */
export class Model implements Disposable {
  readonly family: Family
  readonly config: ModelConfig
  readonly backbone: Backbone
  readonly head: Head
  readonly labels: readonly string[]
  readonly device: Device
  readonly storage: Storage
  readonly compute: Compute
  /** Where it was loaded from; undefined for a model made from a config. */
  readonly path: string | undefined
  /** What is attached, by name. */
  readonly adapters = new Map<string, Adapter>()
  /** Sentences for the user: what became of a classifier that the checkpoint has, or of weights that are too narrow. */
  readonly notices: readonly string[]
  readonly #weights: Weights
  readonly #options: ModelOptions

  /** Use {@link loadModel} or {@link createModel}: what a source has is allocated here, and read by {@link read}. */
  constructor(config: ModelConfig, settings: LoadSettings, options: ModelOptions, path: string | undefined) {
    this.family = familyOf(config.modelType)
    checkLayers(config, settings)
    this.config = config
    this.labels = headLabels(config, options, holdsHead(this.family, settings, options.task))
    this.device = settings.device
    this.storage = settings.storage
    this.compute = settings.compute
    this.path = path
    this.#options = options
    const { source, notices } = headSource(this, settings, options)
    this.notices = [...notices, ...weightNotices(this.family, settings)]
    this.#weights = Weights.open({ ...settings, source })
    try {
      this.backbone = this.family.build(config, this.#weights, this.family.heads[headOf(options.task).sits])
      this.head = this.#headOf(options)
      this.#weights.finish()
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** A model of a config with its tensors read from the source, between turns of the event loop. */
  static async read(...of: ConstructorParameters<typeof Model>): Promise<Model> {
    const model = new Model(...of)
    try {
      await model.#weights.read()
      return model
    } catch (error) {
      model.dispose()
      throw error
    }
  }

  /** The same model on the meta device, for plans: shapes without numbers. Dispose it too. Rejects as `loadModel`. */
  async onMeta(): Promise<Model> {
    const { config, storage, compute, device, path } = this
    const planFor = device.kind === 'cuda' ? ('cuda' as const) : ('cpu' as const)
    const options = { ...this.#options, storage, compute, device: 'meta', planFor }
    return path === undefined ? createModel(config, options) : await loadModel(path, options)
  }

  get task(): TaskName {
    return this.head.task as TaskName
  }

  /** By Hugging Face tensor name. */
  get parameters(): ReadonlyMap<string, Parameter> {
    return this.#weights.parameters
  }

  /** By Hugging Face module path. */
  get linears(): ReadonlyMap<string, Linear> {
    return this.#weights.linears
  }

  /** Tables of vectors, by Hugging Face module path. */
  get embeddings(): ReadonlyMap<string, Embedding> {
    return this.#weights.embeddings
  }

  /** The layer from rows to the vocabulary, of a language model. */
  get output(): Linear | undefined {
    return this.#weights.output
  }

  /** Gives a tied output layer a weight of its own, of the same values; returns what ties it again. */
  untie(): () => void {
    return this.#weights.untie()
  }

  /** Tensors that the checkpoint lacked: they hold initial values until they are trained. */
  get newTensors(): string[] {
    return [...this.parameters.values()].filter(p => p.isNew).map(p => p.name)
  }

  /** Parameters that two layers use: the word embeddings of a tied decoder. */
  get shared(): ReadonlySet<Parameter> {
    return this.#weights.shared
  }

  /** Its class in transformers. */
  get className(): string {
    return this.#spec?.className ?? this.family.className + headOf(this.task).classSuffix
  }

  get #spec(): HeadSpec<unknown> | undefined {
    return this.family.heads[headOf(this.task).sits]
  }

  /** Modules that PEFT trains whole for this task. */
  get headModules(): readonly string[] {
    return this.#spec?.modules ?? []
  }

  /** Logits of the rows that the head reads; inside a scope or tape. */
  logits(batch: PackedBatch, targets?: Targets): Tensor {
    return this.onRows(batch, targets, hidden => this.head.logits(hidden))
  }

  /** The loss of a micro-batch, shape [1]; `total` is the supervised weight of its whole optimizer step. */
  loss(given: PackedBatch, wanted: Targets, options: LossOptions & Pick<ForwardOptions, 'checkpoint'>): Tensor {
    checkOptions('loss', options, { total: true, classWeights: true, labelSmoothing: true, checkpoint: true })
    const { checkpoint, ...others } = options
    return onLearned(this, given, wanted, ({ batch, targets }) => {
      const loss = (hidden: Tensor) => this.head.loss(hidden, this.#upload(targets, hidden), others, batch, targets)
      return this.onRows(batch, targets, loss, { checkpoint })
    })
  }

  /**
   * One forward pass for evaluation: logits, or of a vocabulary the likeliest ids, and where there are targets the sum
   * of their losses, or what is known of sequences that are compared; inside a scope, unrecorded.
   */
  answers(batch: PackedBatch, targets: Targets | undefined): DeviceAnswers {
    return this.onRows(batch, targets, hidden => {
      return answersOf(this.head, hidden, batch, targets, targets && this.#upload(targets, hidden))
    })
  }

  /** How many virtual tokens the prompt of an adapter puts before what each sequence reads. */
  get promptTokens(): number {
    return this.#virtual?.prompt ? this.#virtual.count : 0
  }

  /** How many virtual tokens are there as keys and values alone, before those of each sequence of a decoder. */
  get prefixTokens(): number {
    return this.#virtual?.prefix ? this.#virtual.count : 0
  }

  /** Those of the last adapter switched on that has some. */
  get #virtual(): VirtualTokens | undefined {
    return [...this.adapters.values()].filter(({ isActive, virtual }) => isActive && virtual).at(-1)?.virtual
  }

  /**
   * Logits of what follows each sequence, [B, outputs]; their keys and values go into the cache, and positions count on
   * from those in it; inside a scope, unrecorded. New sequences begin with {@link promptTokens} tokens of any id, but
   * where an encoder has read them; the cache has room for these and for {@link prefixTokens}.
   */
  next(batch: PackedBatch, cache: StackCache): Tensor {
    const { backbone, device } = this
    const { prompt, prefix, count = 0 } = this.#virtual ?? {}
    const before = prefix && cache.isPrompt ? prefixOf(count, prefix, batch, device) : undefined
    const options = { cache, memory: cache.memory, prefix: before }
    const forward = () => backbone.forward(upload(batch, device, backbone), options)
    const isRead = prompt && cache.isPrompt && !backbone.encode
    const hidden = isRead ? withPrompt(backbone.wordEmbeddings, prompt, batch, forward) : forward()
    const last = must(rowsRead('last', batch), 'last rows')
    return this.head.logits(embedding(hidden, Tensor.from(last, [last.length], { device }), hidden.dtype))
  }

  /** What the encoder of an encoder-decoder makes of a batch; inside a scope or tape. */
  encode(batch: PackedBatch, options?: ForwardOptions): EncoderMemory {
    checkOptions('encode', options, FORWARD_OPTIONS)
    const { backbone, family } = this
    const encode = backbone.encode ?? fail('ERR_UNSUPPORTED', `encode: ${family.modelType} has no encoder of its own`)
    const { prompt, count = 0 } = this.#virtual ?? {}
    const read = (given: PackedBatch) => encode(upload(given, this.device, backbone), options)
    if (!prompt) return read(batch)
    const { batch: longer } = withVirtual(batch, count)
    return countingVirtual(count, () => withPrompt(backbone.wordEmbeddings, prompt, longer, () => read(longer)))
  }

  /** Runs the backbone, then `body` on the rows [N, D] of its last hidden state that the head reads; in a scope. */
  onRows<T>(
    batch: PackedBatch,
    targets: Targets | undefined,
    body: (hidden: Tensor) => T,
    options: ForwardOptions = {},
  ): T {
    checkOptions('onRows', options, FORWARD_OPTIONS)
    const { hidden, rows, sequences } = this.#hidden(batch, targets, options)
    const read = () => {
      if (!rows) return body(hidden)
      const index = Tensor.from(rows, [rows.length], { device: this.device })
      const selected = embedding(hidden, index, hidden.dtype)
      return withSelectedRoutes(rows, () => countingSelected(() => body(selected)))
    }
    return sequences ? withDecoderRoutes(batch.cuSeqlens, sequences, read) : read()
  }

  /** The last hidden state, the rows of it that the head reads (undefined: all), and its sequences where others. */
  #hidden(batch: PackedBatch, targets: Targets | undefined, options: ForwardOptions) {
    const { backbone } = this
    if (backbone.encode) return this.#decoded(batch, targets, options)
    const { prompt, count = 0 } = this.#virtual ?? {}
    const forward = (given: PackedBatch) => this.#behindPrefix(given, options)
    if (!prompt) return { hidden: forward(batch), rows: this.head.rows(batch, targets), sequences: undefined }
    const { batch: longer, moved } = withVirtual(batch, count)
    const { wordEmbeddings } = backbone
    const hidden = countingVirtual(count, () => withPrompt(wordEmbeddings, prompt, longer, () => forward(longer)))
    const places = targets?.rows && { ...targets, rows: targets.rows.map(t => nth(moved, t)) }
    return { hidden, rows: this.head.rows(longer, places ?? targets) ?? moved, sequences: undefined }
  }

  /** The last hidden state of the backbone, in which tokens come after a prefix where there is one. */
  #behindPrefix(batch: PackedBatch, options: ForwardOptions): Tensor {
    const { backbone, device } = this
    const { prefix, count = 0 } = this.#virtual ?? {}
    if (!prefix) return backbone.forward(upload(batch, device, backbone), options)
    const before = { prefix: prefixOf(count, prefix, batch, device) }
    return backbone.forward(upload(batch, device, shiftedRules(backbone, count)), { ...options, ...before })
  }

  /** The last hidden state of the decoder, while it is to say `batch.decoder`. */
  #decoded(batch: PackedBatch, targets: Targets | undefined, options: ForwardOptions) {
    const { backbone } = this
    const echo = this.#spec?.echoes ? batch : undefined
    const said =
      batch.decoder ?? echo ?? fail('ERR_DATA', 'batch: it does not say what the decoder is to say; give its targets')
    const { observe: _, ...others } = options
    const memory = this.encode(batch, others)
    const given = shiftedRight(said, must(backbone.startId, 'startId'))
    const forward = () => this.#behindPrefix(given, { ...options, memory })
    // Rows of an echo are counted as those of the encoder, and those of the encoder with its virtual ones.
    const hidden = withDecoderRoutes(batch.cuSeqlens, given.cuSeqlens, () => {
      return said === echo ? forward() : countingVirtual(this.promptTokens, () => countingDecoder(forward))
    })
    const rows = this.head.rows(said === echo ? batch : given, targets)
    return { hidden, rows, sequences: given.cuSeqlens }
  }

  #upload(targets: Targets, hidden: Tensor): Tensor {
    return uploadTargets(targets, hidden.rows, this.head.outputs, this.device)
  }

  /** Memory of all weights and tables, in bytes. */
  get bytes(): number {
    let sum = 0
    for (const { tensor } of this.parameters.values()) sum += tensor.byteLength
    for (const { byteLength } of this.#weights.buffers) sum += byteLength
    return sum
  }

  /** Frees it, with what is attached to it. */
  dispose(): void {
    for (const adapter of [...this.adapters.values()]) adapter.dispose()
    for (const parameter of this.parameters.values()) parameter.dispose()
    for (const buffer of this.#weights.buffers) buffer.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #headOf(options: ModelOptions): Head {
    const { config, backbone, labels } = this
    const weights = this.#weights
    if (options.head) return options.head({ weights, backbone, config, labels })
    const { heads, modelType } = this.family
    const kind = headOf(options.task)
    const spec = heads[kind.sits]
    check(spec, 'ERR_UNSUPPORTED', () => {
      const has = HEADS.filter(({ sits }) => heads[sits]).map(({ task }) => task)
      return `task: ${modelType} has no head for ${options.task}; it has them for ${has.join(', ')}`
    })
    const outputs = kind.outputs ?? labels.length
    const layers = spec.build(config, weights, backbone, outputs)
    const reads = typeof spec.reads === 'function' ? spec.reads(config) : spec.reads
    return checkedHead(kind.make(layers, outputs, options.problem ?? problemOf(config, outputs), reads), options)
  }
}

/**
 * Loads a Hugging Face folder (config.json, model.safetensors or shards), a GGUF file, or a model of the hub:
 * `owner/name`, with `@revision` where it is not main. Heads and poolers that it lacks start newly initialised:
 * `model.newTensors` names them. The event loop has its turn between tensors. Rejects with ERR_CONFIG and
 * ERR_CHECKPOINT, or ERR_HUB, with every problem at once.
 */
export async function loadModel(name: string, options: ModelOptions): Promise<Model> {
  checkModelOptions('loadModel', options)
  const cure = 'give the path of a Hugging Face model folder or of a GGUF file, or a model of the hub (owner/name)'
  const dir = await localFolder(name, { option: 'loadModel', purpose: 'model', cure })
  const config = readModelConfig(dir, MODEL_TYPES)
  const checkpoint = openWeights(dir)
  try {
    const storage = storageOf(dir, checkpoint, options.storage)
    const settings = { ...settingsOf(config, { ...options, storage }), source: checkpoint, origin: dir }
    return await Model.read(config, settings, options, dir)
  } finally {
    checkpoint.close()
  }
}

/** A model of a config with every weight newly initialised, for pretraining and benchmarks. */
export function createModel(config: ModelConfig, options: ModelOptions): Model {
  checkModelOptions('createModel', options)
  return new Model(config, { ...settingsOf(config, options), origin: 'the config' }, options, undefined)
}

/** Standard deviation of the initial values of new matrices. */
export function initStdOf(config: ModelConfig): number {
  return float(config, 'initializer_range', 0.02)
}

function settingsOf(config: ModelConfig, options: ModelOptions): Omit<LoadSettings, 'origin'> {
  const family = familyOf(config.modelType)
  const device = Device.get(options.device ?? 'cpu')
  if (device.kind === 'meta') device.planFor(options.planFor ?? 'cpu')
  return {
    device,
    ...precisionOf(options, device),
    seed: options.seed ?? SEED,
    basePrefix: family.heads[headOf(options.task).sits]?.basePrefix ?? family.basePrefix,
    otherHeads: family.headTensors,
    initStd: initStdOf(config),
  }
}
