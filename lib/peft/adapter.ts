// A method on a model: switched, merged, saved and taken off, the same way for all methods.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check, fail, nearest } from '../errors.ts'
import { hubOrigin, portableName } from '../hub/id.ts'
import { recoverFolder, writeFolderAtomic } from '../io/atomic.ts'
import { type PyObject, writeJson } from '../io/json.ts'
import type { Checkpoint, FloatDtype } from '../io/safetensors.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import type { VirtualTokens } from '../nn/virtual.ts'
import { checkOptions } from '../options.ts'
import { copyOf, scope, type Tensor } from '../tensor.ts'
import { must } from '../tuple.ts'
import { type AdapterConfig, adapterRecord } from './config.ts'
import { checkValues, snapshot, withCopies, writeChecked } from './files.ts'
import { infoFile, infoRecord } from './info.ts'
import { checkFree, checkPartable, type Layer, layerAt, staysTied, tiedLayers } from './layers.ts'
import { copyTokenizer, saveMerged } from './merged.ts'
import { changeOf, mergedLayer, trainedDType } from './merging.ts'
import type { Host, Matched, Method, Passes, Placement, TrainingHooks } from './method.ts'
import { checkSaveOptions, type SaveOptions } from './saveOptions.ts'
import { taskTypeOf, transformersModule } from './task.ts'
import type { TaskType } from './taskType.ts'
import { moduleOf } from './wholeModules.ts'

/** A folder that is being loaded; its tensors wait for their values. */
export interface Source {
  readonly config: AdapterConfig
  readonly taskType: TaskType | undefined
  readonly file: Checkpoint
  readonly fileDtypes: ReadonlyMap<string, FloatDtype>
  readonly trainable: boolean
}

/** A method on a model, `H`. Nothing trains until an optimizer's arena takes `trainable` in. */
export class Adapter<H extends Host = Host> implements Disposable {
  /** The model that it is attached to. */
  readonly host: H
  readonly method: Method
  readonly name: string
  /**
   * What an optimizer is to train, always in this order: the adapter's own by module as the model lists its linear
   * layers (of LoRA A, then B), parameters trained whole as the model lists them, then biases alike. Empty where it
   * was loaded frozen.
   */
  readonly trainable: readonly Parameter[]
  /** What training does for it beside its gradients. */
  readonly training: TrainingHooks
  /** Dtypes that its tensors had in the file it was loaded from, by key. */
  readonly fileDtypes: ReadonlyMap<string, FloatDtype>
  readonly #placement: Placement
  readonly #made: readonly Parameter[]
  readonly #source: Source | undefined
  readonly #layers: readonly (readonly [Layer, LinearAdapter])[]
  /** What it lays over the model's parameters. */
  readonly #whole: Parameter[] = []
  /** What merging put aside. */
  #merged: { parameter: Parameter; original: Tensor }[] | undefined
  #tie: (() => void) | undefined
  #isActive = true
  #isPrepared: boolean
  /** Numbers of the whole model with what the adapter brings; not what it notes while it trains. */
  readonly totalSize: number

  /** Use {@link attach} or `loadAdapter`. `made`: parameters that it owns. */
  constructor(
    host: H,
    method: Method,
    name: string,
    placement: Placement,
    made: readonly Parameter[],
    source?: Source,
  ) {
    this.host = host
    this.method = method
    this.name = name
    this.#placement = placement
    this.#made = made
    this.#source = source
    this.totalSize = [...host.parameters.values(), ...made].reduce((sum, { size }) => sum + size, 0)
    this.fileDtypes = source?.fileDtypes ?? new Map()
    this.#isPrepared = placement.prepare === undefined
    this.#layers = [...placement.linear].map(([path, adapter]) => [must(layerAt(host, path), path), adapter] as const)
    this.#layWhole()
    for (const [layer, adapter] of this.#layers) layer.adapters.push(adapter)
    const isFrozen = source && !source.trainable
    this.trainable = isFrozen ? [] : [...this.#own, ...this.#whole]
    this.training = (!isFrozen && placement.training) || {}
    host.adapters.set(name, this)
  }

  #layWhole(): void {
    const dtype = trainedDType(this.host.storage)
    const { whole, inPlace } = this.#placement
    if (inPlace) {
      for (const each of whole) {
        if (each.tensor.dtype !== dtype) each.replace(copyOf(each.tensor, dtype))
        this.#whole.push(each)
      }
      return
    }
    try {
      for (const each of whole) this.#whole.push(each.lay(this.name, copyOf(each.own, dtype)))
    } catch (error) {
      for (const each of this.#whole) must(each.base, 'base').lift(this.name)
      throw error
    }
  }

  /** What the method did, module by module. */
  get matched(): readonly Matched[] {
    return this.#placement.matched
  }

  /** Whether {@link prepare} has nothing to do. */
  get isPrepared(): boolean {
    return this.#isPrepared
  }

  /**
   * Finds where training begins, for the few methods that cannot tell on attaching (LoRA that begins in the weights, or
   * along the data): until then nothing can be computed with them. `train` and `loadAdapter` do it, and a loop of one's
   * own does it before its arena is made. `passes`: forward passes over training data, where the method asks for them;
   * 'filled': what trains gets its values from elsewhere.
   * @throws ERR_OPTION where data are needed and there are none
   */
  async prepare(passes?: Passes | 'filled'): Promise<void> {
    if (this.#isPrepared || this.host.device.kind === 'meta') return
    const isFilled = passes === 'filled'
    await this.#placement.prepare!(isFilled ? undefined : passes, isFilled)
    this.#isPrepared = true
  }

  /** Whether it counts for rows that have no route. */
  get isActive(): boolean {
    return this.#isActive
  }

  /** Whether it trains the model's own weights, with nothing laid over them. */
  get isInPlace(): boolean {
    return this.#placement.inPlace ?? false
  }

  get isMerged(): boolean {
    return this.#merged !== undefined
  }

  /** What it puts before each sequence. */
  get virtual(): VirtualTokens | undefined {
    return this.#placement.virtual
  }

  /** Keys of a file that hold what others hold. */
  get copies(): NonNullable<Placement['copies']> {
    return this.#placement.copies ?? new Map()
  }

  /** Whether it has put something on a layer. */
  carries(path: string): boolean {
    return this.#placement.linear.has(path)
  }

  /** All that is to be saved, under the names PEFT gives them, in the order of `trainable`. */
  *tensors(): Iterable<[key: string, parameter: Parameter]> {
    if (!this.method.kind.peftType) return yield* this.host.parameters
    yield* this.#entries(this.#placement.own ?? [])
  }

  *#entries(own: readonly Parameter[]): Iterable<[key: string, parameter: Parameter]> {
    for (const parameter of [...own, ...this.#onLayers, ...(this.#placement.frozen ?? []), ...this.#whole])
      yield [this.#keyOf(parameter), parameter]
  }

  /** What trains beside parameters of the model. */
  get #own(): Parameter[] {
    return [...(this.#placement.own ?? []), ...this.#onLayers]
  }

  get #onLayers(): Parameter[] {
    return this.#layers.flatMap(([, { params }]) => params)
  }

  #keyOf(parameter: Parameter): string {
    const { name, base } = parameter
    const key = this.#placement.keyOf?.(parameter)
    if (key !== undefined) return key
    const isWrapped = base !== undefined && this.carries(moduleOf(name))
    return `base_model.model.${isWrapped ? name.replace(/\.bias$/, '.base_layer.bias') : name}`
  }

  /**
   * The object of `adapter_config.json`; undefined for a method that is saved as a whole model. `baseModel` is where
   * the base was loaded from, if not from `host.path`.
   */
  config(baseModel?: string): PyObject | undefined {
    const { host, method } = this
    if (!method.kind.peftType) return undefined
    const preserved = this.#source?.config
    const base = baseModel ?? (preserved ? undefined : host.path)
    const context = {
      modelType: host.config.modelType,
      targets: this.matched.map(({ path }) => path),
      // PEFT sets it anew at each linear layer it meets.
      fanInFanOut: this.matched.flatMap(({ path }) => host.linears.get(path) ?? []).at(-1)?.fanInFanOut ?? false,
      taskType: this.#source ? this.#source.taskType : taskTypeOf(host.task),
      baseModelNameOrPath: base && portableName(base),
      revision: base && hubOrigin(base)?.revision,
      autoMapping: preserved ? undefined : { baseModelClass: host.className, parentLibrary: transformersModule(host) },
    }
    const options = { ...method.options, ...this.#placement.settings?.() }
    return adapterRecord(method.kind, options, context, preserved)
  }

  /**
   * Switches it off (the model computes as before, its own head included) and on again. Of several adapters with a
   * head of their own, that of the last one switched on counts.
   */
  setActive(active: boolean): void {
    check(!this.#merged, 'ERR_OPTION', () => `setActive: adapter "${this.name}" is merged; unmerge it first`)
    check(active || !this.#placement.inPlace, 'ERR_OPTION', () => {
      return `setActive: ${this.method.kind.title} changed the weights themselves; attach it with keepOriginal to switch it off`
    })
    for (const { base } of this.#whole) base?.show(this.name, active)
    for (const [, adapter] of this.#layers) adapter.active = active
    this.#isActive = active
  }

  /**
   * The change of a layer's weight, [out, in], to be freed by the caller or its scope.
   * @throws ERR_OPTION for a layer without adapter, ERR_UNSUPPORTED for a method that changes no weight
   */
  deltaWeight(path: string): Tensor {
    this.#checkMergeable('deltaWeight')
    const found = this.#layers.find(([linear]) => linear.path === path)
    const paths = [...this.#placement.linear.keys()]
    const [linear, adapter] =
      found ??
      fail('ERR_OPTION', `deltaWeight: "${path}" carries no factors${nearest(path, paths)}; see attached.matched`)
    return scope(() => {
      const weight = copyOf(linear.weight.tensor, trainedDType(this.host.storage))
      const bias = linear.bias && copyOf(linear.bias.tensor, weight.dtype)
      return changeOf(adapter, weight, bias, linear).weight
    })
  }

  /** Adds every change to its weight and switches the adapter's own off. The original weights are kept beside. */
  merge(): void {
    this.#checkMergeable('merge')
    check(!this.#merged, 'ERR_OPTION', () => `merge: adapter "${this.name}" is merged already; unmerge it first`)
    check(this.#isActive, 'ERR_OPTION', () => `merge: adapter "${this.name}" is switched off; switch it on first`)
    checkFree(this.host, this.name, this.#placement.linear.keys())
    const own = (layer: Layer) => this.#layers.flatMap(([at, adapter]) => (at === layer ? [adapter] : []))
    checkPartable('merge', this.host, own)
    this.#merged = []
    try {
      if (!staysTied(tiedLayers(this.host), own)) this.#tie = this.host.untie()
      for (const [linear, adapter] of this.#layers) this.#mergeInto(linear, adapter)
    } catch (error) {
      this.unmerge()
      throw error
    }
  }

  #mergeInto(layer: Layer, adapter: LinearAdapter): void {
    const { weight, bias } = mergedLayer(layer, [adapter])
    const put = (parameter: Parameter, tensor: Tensor) => {
      const original = parameter.exchange(tensor)
      must(this.#merged, 'merged').push({ parameter, original })
    }
    if (weight) put(layer.weight.top, weight)
    if (bias) put(must(layer.bias, 'bias').top, bias)
    adapter.active = false
  }

  #checkMergeable(what: string): void {
    check(!this.virtual, 'ERR_UNSUPPORTED', () => {
      return `${what}: ${this.method.kind.title} changes no weight; its virtual tokens stay before the input`
    })
    const { kind } = this.method
    const isWhole = kind.peftType === undefined
    check(!isWhole, 'ERR_UNSUPPORTED', () => {
      return `${what}: ${kind.title} trains the weights themselves; ${what === 'merge' ? 'there is nothing to merge' : 'it has no low-rank change; compare the weights'}`
    })
  }

  /** Puts the original weights back, byte for byte. */
  unmerge(): void {
    check(this.#merged, 'ERR_OPTION', () => `unmerge: adapter "${this.name}" is not merged`)
    for (const { parameter, original } of this.#merged.splice(0).reverse()) parameter.replace(original)
    this.#merged = undefined
    this.#tie?.()
    this.#tie = undefined
    for (const [, adapter] of this.#layers) adapter.active = true
  }

  /**
   * Frees it; the model is as it was before, byte for byte. With `keep`, what is merged or trained whole stays in the
   * model. Throws ERR_OPTION while an optimizer holds its parameters: dispose the arena first.
   */
  detach(options: { keep?: boolean } = {}): void {
    checkOptions('detach', options, { keep: true })
    const held = [...this.#made, ...this.#whole].find(parameter => parameter.trains)
    check(
      !held,
      'ERR_OPTION',
      () => `detach: an optimizer still trains ${must(held, 'held').name}; dispose its arena first`,
    )
    this.#end(options.keep ?? false)
  }

  #end(keep: boolean): void {
    if (this.host.adapters.get(this.name) !== this) return // detached before
    if (keep) for (const { original } of this.#merged?.splice(0) ?? []) original.dispose()
    else if (this.#merged) this.unmerge()
    this.#merged = undefined
    for (const { base } of this.#whole) base?.lift(this.name, keep)
    for (const [linear, adapter] of this.#layers) linear.adapters.splice(linear.adapters.indexOf(adapter), 1)
    for (const parameter of this.#made) parameter.dispose()
    this.host.adapters.delete(this.name)
    this.#isActive = false
  }

  /** Frees it whatever holds it, as the model does with itself. */
  dispose(): void {
    this.#end(false)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /**
   * Writes it as PEFT does, adapter_config.json and adapter_model.safetensors, with lowrank.json beside them
   * (task, labels, base). A name other than 'default' goes to a sub-folder of that name, as in PEFT. A method that
   * trains the model itself is written as a model folder. Returns the folder written. The tensors are those of the
   * moment of the call. The folder appears whole; into one that is there each file is written atomically, the config
   * last. Then the file is read back and compared. Errors: ERR_CHECKPOINT for values that are not finite, matrices
   * never set, a disk that is full or gives other bytes; ERR_OPTION where it cannot be written.
   */
  async save(dir: string, options: SaveOptions = {}): Promise<string> {
    checkSaveOptions(options)
    const [{ host }, name] = [this, options.name ?? this.name]
    check(this.#isPrepared, 'ERR_OPTION', () => `save: adapter "${name}" has not begun; await adapter.prepare() first`)
    const config = this.config(options.baseModel)
    const folder = config && name !== 'default' ? join(dir, name) : dir
    const base = options.baseModel ?? baseOf(config) ?? host.path
    const info = () => infoRecord(host, this.method.type, base, options.extra ?? {})
    if (!config) {
      await saveMerged(host, folder, { info, tokenizer: options.tokenizer })
      return folder
    }
    const written = this.#placement.written?.()
    const entries = [...(written ? this.#entries(written) : this.tensors())]
    const zeros = new Set(entries.flatMap(([key, p]) => (this.#placement.mayBeZero?.(p) ? [key] : [])))
    const found = await snapshot(entries, this.fileDtypes)
    for (const each of written ?? []) each.dispose()
    checkValues(found, zeros)
    const tensors = withCopies(this.#placement.pack?.(found) ?? found, this.copies)
    const fill = async (into: string) => {
      await writeChecked(join(into, 'adapter_model.safetensors'), tensors)
      await writeJson(join(into, infoFile), await info())
      if (options.tokenizer !== undefined) await copyTokenizer(options.tokenizer, into)
      await writeJson(join(into, 'adapter_config.json'), config)
    }
    if (existsSync(folder)) {
      await recoverFolder(folder)
      await fill(folder)
    } else await writeFolderAtomic(folder, fill)
    return folder
  }
}

function baseOf(config: PyObject | undefined): string | undefined {
  const base = config?.base_model_name_or_path
  return typeof base === 'string' ? base : undefined
}

/** {@link Adapter.save}. */
export async function saveAdapter(adapter: Adapter, dir: string, options: SaveOptions = {}): Promise<string> {
  checkSaveOptions(options)
  check(adapter instanceof Adapter && typeof dir === 'string', 'ERR_OPTION', () => {
    return 'saveAdapter: expected an adapter and a folder; call saveAdapter(attach(model, method), folder)'
  })
  return adapter.save(dir, options)
}

/** Merges an adapter for good: its changes become the model's weights, its head the model's, and it is freed. */
export function mergeAdapter(adapter: Adapter): void {
  if (!adapter.isMerged) adapter.merge()
  adapter.detach({ keep: true })
}
