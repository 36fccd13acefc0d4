import { fail } from '../errors.ts'
import type { FileRange } from '../io/safetensors.ts'
import { turn } from '../io/turn.ts'
import type { DType } from '../native.ts'
import { Embedding } from '../nn/embedding.ts'
import { normal } from '../nn/init.ts'
import { Linear } from '../nn/linear.ts'
import { isQuantized, Parameter, type Storage, storedDType } from '../nn/module.ts'
import { LayerNorm, RmsNorm } from '../nn/norm.ts'
import type { Compute } from '../ops/matmul.ts'
import { checkOptions } from '../options.ts'
import { copyOf, type Device, Tensor } from '../tensor.ts'
import { must, under } from '../tuple.ts'
import { STORED, type StoredDtype, uploadFinite } from './stored.ts'

/** Where tensors come from: a checkpoint on disk, usually. dtype in safetensors' spelling. */
export interface TensorSource {
  names(): Iterable<string>
  info(name: string): { dtype: string; shape: readonly number[]; isUpright?: boolean }
  read(name: string): Uint8Array
  /** Where it lies in a file, so that large tensors are read past JavaScript's memory. */
  locate?(name: string): FileRange | undefined
  /** Matrices that Hugging Face files hold as [in, out] lie here as [out, in]. */
  readonly isUpright?: boolean
  /** What became of tensors that are not read as they lie there, for the user. */
  readonly note?: string
  /** Whether it was made of a stored tensor and is to be saved with what trains. */
  remade?(name: string): boolean
}

/** Where weights come from, and how they are stored. */
export interface LoadSettings {
  /** Absent: every tensor is newly initialised. */
  source?: TensorSource | undefined
  /** What errors call the source: usually a folder. */
  origin: string
  device: Device
  storage: Storage
  compute: Compute
  /** Of what flows between the layers. */
  activations: DType
  /** Keys the initial values of tensors that the source lacks. */
  seed: number
  /** First part of the backbone's names ("bert"), which a checkpoint of the bare backbone leaves out; '' has none. */
  basePrefix: string
  /** Tensors of other heads: left alone. */
  otherHeads: RegExp
  /** `initializer_range` of the config. */
  initStd: number
}

/** Buffers that old versions of transformers wrote. */
const OLD_BUFFERS = /(^|\.)(position_ids|token_type_ids|(attn|attention)\.(masked_)?bias|rotary_emb\.inv_freq)$/

/** Memory of a model beside its parameters. */
export interface ModelBuffer {
  readonly byteLength: number
  dispose(): void
}

/** A tensor whose values are still in the source. */
interface Waiting {
  readonly tensor: Tensor
  /** Name in the source. */
  readonly stored: string
  readonly host: StoredDtype
  readonly isTransposed: boolean
}

/** What one loading collects; shared by all its cursors. */
class Loading {
  readonly settings: LoadSettings
  readonly parameters = new Map<string, Parameter>()
  readonly linears = new Map<string, Linear>()
  readonly embeddings = new Map<string, Embedding>()
  /** From rows to the vocabulary. */
  output: Linear | undefined
  /** Canonical name → name in the source. */
  readonly available = new Map<string, string>()
  readonly buffers: ModelBuffer[] = []
  /** Parameters with a second use, as tied embeddings have. */
  readonly shared = new Set<Parameter>()
  readonly problems: string[] = []
  readonly waiting: Waiting[] = []

  constructor(settings: LoadSettings) {
    this.settings = settings
    const names = [...(settings.source?.names() ?? [])]
    const prefix = `${settings.basePrefix}.`
    const isBare = settings.basePrefix !== '' && !names.some(name => name.startsWith(prefix))
    for (const name of names) {
      const modern = name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias')
      const canonical = isBare && !settings.otherHeads.test(modern) ? prefix + modern : modern
      if (!OLD_BUFFERS.test(canonical)) this.available.set(canonical, name)
    }
  }
}

/** A cursor into a checkpoint: asks for a tensor by name with the shape it must have. */
export class Weights {
  readonly prefix: string
  readonly #loading: Loading
  readonly #fresh: boolean

  private constructor(loading: Loading, prefix: string, fresh: boolean) {
    this.#loading = loading
    this.prefix = prefix
    this.#fresh = fresh
  }

  static open(settings: LoadSettings): Weights {
    return new Weights(new Loading(settings), '', false)
  }

  at(name: string): Weights {
    return new Weights(this.#loading, this.#join(name), this.#fresh)
  }

  /** Where the backbone's names begin. */
  get base(): Weights {
    const { basePrefix } = this.#loading.settings
    return new Weights(this.#loading, basePrefix, this.#fresh)
  }

  /** Below this cursor, what the source lacks is newly initialised: a head, a pooler. */
  fresh(): Weights {
    return new Weights(this.#loading, this.prefix, true)
  }

  has(name: string): boolean {
    return this.#loading.available.has(this.#join(name))
  }

  /** Reads the source's tensor `from` as `to`. */
  rename(from: string, to: string): void {
    const { available } = this.#loading
    available.set(this.#join(to), under(available, this.#join(from)))
    available.delete(this.#join(from))
  }

  /** Leaves the source's tensor alone: nothing reads it. */
  skip(name: string): void {
    this.#loading.available.delete(this.#join(name))
  }

  /** Leaves all tensors of the source below this cursor alone. */
  skipAll(): void {
    const { available } = this.#loading
    for (const name of [...available.keys()]) if (name.startsWith(`${this.prefix}.`)) available.delete(name)
  }

  /** Whether the source holds both this tensor and the one of the full name `other`, with other values. */
  differs(name: string, other: string): boolean {
    const { available, settings } = this.#loading
    const [mine, its] = [available.get(this.#join(name)), available.get(other)]
    const { source } = settings
    if (!source || mine === undefined || its === undefined) return false
    return (
      source.info(mine).dtype !== source.info(its).dtype || Buffer.compare(source.read(mine), source.read(its)) !== 0
    )
  }

  get parameters(): Map<string, Parameter> {
    return this.#loading.parameters
  }

  get linears(): Map<string, Linear> {
    return this.#loading.linears
  }

  get embeddings(): Map<string, Embedding> {
    return this.#loading.embeddings
  }

  /** The layer from rows to the vocabulary. */
  get output(): Linear | undefined {
    return this.#loading.output
  }

  set output(layer: Linear) {
    this.#loading.output = layer
    this.#loading.linears.set(layer.path, layer)
  }

  get buffers(): readonly ModelBuffer[] {
    return this.#loading.buffers
  }

  /** Parameters that two layers use. */
  get shared(): Set<Parameter> {
    return this.#loading.shared
  }

  /** Matrices start normal with the config's standard deviation, vectors as `start` (default 0). */
  parameter(name: string, shape: readonly number[], start = 0): Parameter {
    return this.#parameter(name, shape, shape.length > 1 ? 'matrix' : 'vector', { start })
  }

  #parameter(
    name: string,
    shape: readonly number[],
    kind: 'vector' | 'matrix' | 'linear',
    { start = 0, isTransposed = false }: { start?: number; isTransposed?: boolean } = {},
  ): Parameter {
    const full = this.#join(name)
    const { parameters, available, settings, problems } = this.#loading
    const known = parameters.get(full)
    if (known) return known
    const stored = available.get(full)
    const isMissing = stored === undefined
    const isNew = isMissing || settings.source?.remade?.(stored) === true
    if (isMissing && settings.source && !this.#fresh) problems.push(`missing ${full} [${shape.join(', ')}]`)
    const held = stored === undefined ? undefined : STORED[settings.source?.info(stored).dtype ?? '']?.dtype
    const dtype = storedDType(settings.storage, kind, held)
    const tensor = Tensor.empty(shape, { device: settings.device, dtype })
    if (stored !== undefined) this.#load(tensor, full, stored, isTransposed)
    else if (settings.device.kind !== 'meta') this.#initialise(tensor, full, start)
    const parameter = new Parameter(full, tensor, isNew && settings.source !== undefined, { isTransposed })
    parameters.set(full, parameter)
    return parameter
  }

  linear(name: string, inFeatures: number, outFeatures: number, bias = true): Linear {
    return this.#linear(name, [outFeatures, inFeatures], bias, false)
  }

  /** A linear layer with a bias, whose weight files hold as [in, out]. */
  conv1d(name: string, inFeatures: number, outFeatures: number): Linear {
    return this.#linear(name, [outFeatures, inFeatures], true, true)
  }

  #linear(name: string, shape: readonly [number, number], bias: boolean, isTransposed: boolean): Linear {
    const at = this.at(name)
    const weight = at.#parameter('weight', shape, this.#fresh ? 'matrix' : 'linear', { isTransposed })
    const layer = new Linear(
      at.prefix,
      weight,
      bias ? at.parameter('bias', [shape[0]]) : undefined,
      this.#loading.settings.compute,
    )
    this.#loading.linears.set(at.prefix, layer)
    return layer
  }

  embedding(name: string, rows: number, dim: number, paddingIdx?: number, factor?: number): Embedding {
    return this.table(name, this.at(name).parameter('weight', [rows, dim]), paddingIdx, factor)
  }

  /** A module that looks up rows of a table, which others may look up too. */
  table(name: string, weight: Parameter, paddingIdx?: number, factor?: number): Embedding {
    const { settings, embeddings } = this.#loading
    const path = this.#join(name)
    const made = new Embedding(path, weight, settings.activations, paddingIdx, factor)
    embeddings.set(path, made)
    return made
  }

  /**
   * Gives an output layer that is tied to the word embeddings a weight of its own, of the same values, and returns what
   * ties it again.
   */
  untie(): () => void {
    const { parameters, shared } = this.#loading
    const output = must(this.output, 'output')
    const tied = output.weight
    const { own } = tied
    const dtype = isQuantized(own.dtype) ? 'f32' : own.dtype
    const weight = new Parameter(`${output.path}.weight`, copyOf(own, dtype))
    output.weight = weight
    parameters.set(weight.name, weight)
    shared.delete(tied)
    return () => {
      output.weight = tied
      parameters.delete(weight.name)
      shared.add(tied)
      weight.dispose()
    }
  }

  /** `bias`: whether it has one. Default true. */
  norm(name: string, dim: number, eps: number, options: { bias?: boolean } = {}): LayerNorm {
    checkOptions('norm', options, { bias: true })
    const { bias = true } = options
    const at = this.at(name)
    return new LayerNorm(at.parameter('weight', [dim], 1), bias ? at.parameter('bias', [dim]) : undefined, eps)
  }

  /** `offset` is added to the weight: 1 for Gemma, whose files hold the weight less 1. */
  rmsNorm(name: string, dim: number, eps: number, offset = 0): RmsNorm {
    return new RmsNorm(this.at(name).parameter('weight', [dim], 1 - offset), eps, offset)
  }

  /** What is no parameter and takes memory, such as the table of a rope: freed with the model. */
  buffer<B extends ModelBuffer>(buffer: B): B {
    this.#loading.buffers.push(buffer)
    return buffer
  }

  /** What flows between the layers, and where. */
  get activations(): { dtype: DType; device: Device } {
    const { activations: dtype, device } = this.#loading.settings
    return { dtype, device }
  }

  get compute(): Compute {
    return this.#loading.settings.compute
  }

  /** Throws one error that lists every missing, unexpected and misshapen tensor. */
  finish(): void {
    const { available, parameters, problems, settings } = this.#loading
    for (const [canonical, stored] of available)
      if (!parameters.has(canonical) && !settings.otherHeads.test(canonical))
        problems.push(`unexpected ${stored} [${must(settings.source, 'source').info(stored).shape.join(', ')}]`)
    if (problems.length === 0) return
    const shown = problems.slice(0, 40).join('\n  ')
    const more = problems.length > 40 ? `\n  and ${problems.length - 40} more` : ''
    fail(
      'ERR_CHECKPOINT',
      `loadModel: ${problems.length} tensors of ${settings.origin} do not fit its config.json:\n  ${shown}${more}\n` +
        'check that config.json and the weights belong together, and the number of labels',
    )
  }

  /** Reads what the source has of the tensors asked for, in that order. @throws ERR_CHECKPOINT for NaN and infinity */
  async read(): Promise<void> {
    const { waiting, settings } = this.#loading
    const { source, origin } = settings
    let bytes = 0
    for (const { tensor, stored, host, isTransposed } of waiting.splice(0)) {
      if (!uploadFinite(tensor, must(source, 'source'), stored, host, isTransposed))
        fail(
          'ERR_CHECKPOINT',
          `loadModel: ${stored} of ${origin} holds NaN or infinity; the file is damaged, fetch it again`,
        )
      bytes += tensor.byteLength
      if (bytes < BYTES_OF_A_TURN) continue
      bytes = 0
      await turn()
    }
  }

  #join(name: string): string {
    return this.prefix ? `${this.prefix}.${name}` : name
  }

  #initialise(tensor: Tensor, name: string, start: number): void {
    const { initStd, seed } = this.#loading.settings
    const isMatrix = tensor.shape.length > 1
    tensor.upload(isMatrix ? normal(tensor.size, initStd, seed, name) : new Float32Array(tensor.size).fill(start))
  }

  #load(tensor: Tensor, name: string, stored: string, isConv: boolean): void {
    const { source, device } = this.#loading.settings
    const { dtype, shape, isUpright = source?.isUpright } = must(source, 'source').info(stored)
    const isTransposed = isConv && !isUpright
    const expected = `[${(isTransposed ? [...tensor.shape].reverse() : tensor.shape).join(', ')}]`
    if (`[${shape.join(', ')}]` !== expected) {
      this.#loading.problems.push(`misshapen ${name}: [${shape.join(', ')}], expected ${expected}`)
      return
    }
    const host = STORED[dtype]
    if (!host) {
      this.#loading.problems.push(`${name}: dtype ${dtype}, expected F32, F16, BF16, F64 or blocks of GGUF`)
      return
    }
    if (device.kind !== 'meta') this.#loading.waiting.push({ tensor, stored, host, isTransposed })
  }
}

/** Bytes that are read before the event loop has its turn: a few milliseconds. */
const BYTES_OF_A_TURN = 4 << 20
