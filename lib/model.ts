import { existsSync } from 'node:fs'
import { check } from './errors.ts'
import type { Head, Labels, LossOptions, Problem, Task } from './heads/head.ts'
import { maskedLm } from './heads/maskedLm.ts'
import { sequenceClassification } from './heads/sequenceClassification.ts'
import { tokenClassification } from './heads/tokenClassification.ts'
import { labelsOf as configLabels, float, type ModelConfig, problemType, readModelConfig } from './io/config.ts'
import { openCheckpoint } from './io/safetensors.ts'
import type { Backbone, Family } from './models/family.ts'
import { familyOf, MODEL_TYPES } from './models/index.ts'
import { type LoadSettings, Weights } from './models/weights.ts'
import { type PackedBatch, upload } from './nn/batch.ts'
import type { Linear } from './nn/linear.ts'
import type { Parameter, Storage } from './nn/module.ts'
import { cast } from './ops/copy.ts'
import { embedding } from './ops/embedding.ts'
import type { Compute } from './ops/matmul.ts'
import { countingSelected } from './ops/random.ts'
import { Device, Tensor } from './tensor.ts'

/** Builds a head of one's own in place of a task's: see examples/custom-head.ts. */
export type HeadBuilder = (parts: {
  weights: Weights
  backbone: Backbone
  config: ModelConfig
  labels: readonly string[]
}) => Head

export interface ModelOptions {
  task: Task
  /** What the classes are called, in the order of their ids. Default: the config's id2label. */
  labels?: readonly string[] | undefined
  /** Default: the config's problem_type, else `regression` for one label and `single` for more. */
  problem?: Problem | undefined
  head?: HeadBuilder | undefined
  /** Default `cpu`. */
  device?: string | undefined
  /** On the meta device: which kind of device is planned for. Default `cpu`. */
  planFor?: 'cpu' | 'cuda' | undefined
  /** How the frozen base is stored. Default `f32`; on CUDA `bf16` where products are. */
  storage?: Storage | undefined
  /** Precision of products. Default `f32`, on CUDA `bf16`, where activations are bf16 too. */
  compute?: Compute | undefined
  /** Keys newly initialised weights. Default 0. */
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
  readonly #weights: Weights

  constructor(config: ModelConfig, settings: LoadSettings, options: ModelOptions, path: string | undefined) {
    this.family = familyOf(config.modelType)
    this.config = config
    this.labels = labelsOf(config, options, holdsHead(this.family, settings, options.task))
    this.device = settings.device
    this.storage = settings.storage
    this.compute = settings.compute
    this.path = path
    this.#weights = Weights.open(settings)
    try {
      this.backbone = this.family.build(config, this.#weights)
      this.head = this.#headOf(options)
    } catch (error) {
      this.dispose()
      throw error
    }
    this.#weights.finish()
  }

  get task(): Task {
    return this.head.task
  }

  /** By Hugging Face tensor name. */
  get parameters(): ReadonlyMap<string, Parameter> {
    return this.#weights.parameters
  }

  /** By Hugging Face module path. */
  get linears(): ReadonlyMap<string, Linear> {
    return this.#weights.linears
  }

  /** Tensors that the checkpoint lacked: they hold initial values until they are trained. */
  get newTensors(): string[] {
    return [...this.parameters.values()].filter(p => p.isNew).map(p => p.name)
  }

  /** Parameters that two layers use: the word embeddings of a tied decoder. */
  get shared(): ReadonlySet<Parameter> {
    return this.#weights.shared
  }

  /** Modules that PEFT trains whole for this task. */
  get headModules(): readonly string[] {
    const { sequence, token } = this.family.headModules
    return this.task === 'sequence-classification' ? sequence : this.task === 'token-classification' ? token : []
  }

  /** Logits of the rows the head selects; inside a scope or tape. */
  logits(batch: PackedBatch, labels?: Labels): Tensor {
    const on = upload(batch, this.device, this.backbone.limits)
    const hidden = this.backbone.forward(on)
    const rows = this.head.select(batch, labels)
    if (rows === 'all') return this.#logitsOf(hidden)
    const index = rows === 'first' ? on.first : Tensor.from(rows, [rows.length], { device: this.device })
    const selected = embedding(hidden, index, hidden.dtype)
    return countingSelected(() => this.#logitsOf(selected))
  }

  /** Losses and metrics read logits in f32 at least. */
  #logitsOf(rows: Tensor): Tensor {
    const logits = this.head.logits(rows)
    return cast(logits, logits.dtype === 'f64' ? 'f64' : 'f32')
  }

  /** The loss of a micro-batch, shape [1]; `total` is the supervised weight of its whole optimizer step. */
  loss(batch: PackedBatch, labels: Labels, options: LossOptions): { loss: Tensor; logits: Tensor } {
    const targets = this.head.targets(batch, labels, this.device)
    const logits = this.logits(batch, labels)
    return { loss: this.head.loss(logits, targets, options), logits }
  }

  /** Memory of all weights, in bytes. */
  get bytes(): number {
    let sum = 0
    for (const { tensor } of this.parameters.values()) sum += tensor.byteLength
    return sum
  }

  dispose(): void {
    for (const parameter of this.parameters.values()) parameter.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #headOf(options: ModelOptions): Head {
    const { config, family, backbone, labels } = this
    const weights = this.#weights
    if (options.head) return options.head({ weights, backbone, config, labels })
    const count = labels.length
    if (options.task === 'masked-lm')
      return maskedLm(family.maskedLmHead(config, weights, backbone), backbone.limits.vocabSize)
    if (options.task === 'token-classification')
      return tokenClassification(family.tokenHead(config, weights, count), count)
    const problem = options.problem ?? problemOf(config, count)
    return sequenceClassification(family.sequenceHead(config, weights, count), count, problem)
  }
}

/** Names that transformers leaves out of config.json. */
const TWO_LABELS = ['LABEL_0', 'LABEL_1']

function holdsHead(family: Family, { source }: LoadSettings, task: Task): boolean {
  const { sequence, token } = family.headModules
  const modules = task === 'sequence-classification' ? sequence : token
  return [...(source?.names() ?? [])].some(name => modules.some(module => name.startsWith(`${module}.`)))
}

function labelsOf(config: ModelConfig, options: ModelOptions, isTrained: boolean): readonly string[] {
  if (options.task === 'masked-lm') return []
  const labels = options.labels ?? configLabels(config)?.id2label ?? (isTrained ? TWO_LABELS : undefined)
  check(
    labels && labels.length > 0,
    'ERR_OPTION',
    () => 'labels: none given, and config.json has no id2label; pass labels',
  )
  check(new Set(labels).size === labels.length, 'ERR_OPTION', () => `labels: [${labels.join(', ')}] repeats a label`)
  return labels
}

/** As transformers: a single output without a problem_type is a number. */
function problemOf(config: ModelConfig, outputs: number): Problem {
  const type = problemType(config) ?? (outputs === 1 ? 'regression' : undefined)
  return type === 'regression' ? 'regression' : type === 'multi_label_classification' ? 'multi' : 'single'
}

/**
 * Loads a Hugging Face folder (config.json, model.safetensors or shards). Heads and poolers that it lacks start newly
 * initialised: `model.newTensors` names them. Throws ERR_CONFIG and ERR_CHECKPOINT with every problem at once.
 */
export function loadModel(dir: string, options: ModelOptions): Model {
  check(
    existsSync(dir),
    'ERR_CONFIG',
    () => `loadModel: there is no folder ${dir}; give the path of a Hugging Face model folder`,
  )
  const config = readModelConfig(dir, MODEL_TYPES)
  const checkpoint = openCheckpoint(dir)
  try {
    return new Model(config, { ...settingsOf(config, options), source: checkpoint, origin: dir }, options, dir)
  } finally {
    checkpoint.close()
  }
}

/** A model of a config with every weight newly initialised, for pretraining and benchmarks. */
export function createModel(config: ModelConfig, options: ModelOptions): Model {
  return new Model(config, { ...settingsOf(config, options), origin: 'the config' }, options, undefined)
}

/** On CUDA everything is bf16 unless asked otherwise; on the CPU f32. */
function precisionOf(options: ModelOptions, device: Device): Pick<LoadSettings, 'storage' | 'compute' | 'activations'> {
  const onCuda = device.name === 'meta' ? options.planFor === 'cuda' : device.name.startsWith('cuda')
  const wide = options.storage === 'f64'
  const compute = options.compute ?? (onCuda && !wide ? 'bf16' : 'f32')
  const isHalf = onCuda && !wide && compute === 'bf16'
  const storage = options.storage ?? (isHalf ? 'bf16' : 'f32')
  return { storage, compute, activations: wide ? 'f64' : isHalf ? 'bf16' : 'f32' }
}

function settingsOf(config: ModelConfig, options: ModelOptions): Omit<LoadSettings, 'origin'> {
  const family = familyOf(config.modelType)
  const device = Device.get(options.device ?? 'cpu')
  return {
    device,
    ...precisionOf(options, device),
    seed: options.seed ?? 0,
    basePrefix: family.basePrefix,
    otherHeads: family.headTensors,
    initStd: float(config, 'initializer_range', 0.02),
  }
}
