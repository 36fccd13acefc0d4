import { check } from '../errors.ts'
import { BLOCKS, type DType } from '../native.ts'
import { QUANTIZED, type Quantized } from '../ops/quantize.ts'
import type { Tensor } from '../tensor.ts'
import { isOneOf } from '../tuple.ts'
import { isUndecided, routedAdapter } from './routes.ts'

/**
 * A named tensor of a model or adapter: it stays the same object while its memory moves (cast, arena slice, merge).
 * Adapters that train a parameter of the model whole lay a parameter of their own over it: the base stays as it is,
 * and each adapter has its own head.
 */
export class Parameter {
  /** Hugging Face tensor name, or the adapter's own. */
  readonly name: string
  /** Not in the checkpoint: it starts newly initialised, and is saved with the adapter. */
  readonly isNew: boolean
  /** What this one lies over, where it is an adapter's. */
  readonly base: Parameter | undefined
  /** Files hold the matrix transposed, as [in, out]: GPT-2's Conv1D. */
  readonly isTransposed: boolean
  #tensor: Tensor
  readonly #over = new Map<string, Parameter>()
  /** Names of the adapters whose parameter counts, in the order they were switched on: the last one does. */
  #shown: readonly string[] = []

  constructor(
    name: string,
    tensor: Tensor,
    isNew = false,
    { base, isTransposed = base?.isTransposed ?? false }: { base?: Parameter; isTransposed?: boolean } = {},
  ) {
    this.name = name
    this.isNew = isNew
    this.base = base
    this.isTransposed = isTransposed
    this.#tensor = tensor.keep()
  }

  /** The parameter in effect: what the adapter of these rows has laid over this one, or the last one switched on. */
  get top(): Parameter {
    if (this.#over.size === 0) return this
    check(!isUndecided(), 'ERR_UNSUPPORTED', () => {
      const names = [...this.#over.keys()].join(', ')
      return `withRoutes: ${this.name} is trained by ${names}, and its layer cannot go by rows; merge or detach them`
    })
    const routed = routedAdapter()
    const name = routed === undefined ? this.#shown.at(-1) : routed
    return (name !== undefined && name !== null && this.#over.get(name)) || this
  }

  get tensor(): Tensor {
    return this.top.#tensor
  }

  /** Its own tensor, whatever lies over it. */
  get own(): Tensor {
    return this.#tensor
  }

  /** Lays a tensor over this one for an adapter, and switches it on. */
  lay(adapter: string, tensor: Tensor): Parameter {
    const own = new Parameter(this.name, tensor, this.isNew, { base: this })
    this.#over.set(adapter, own)
    this.show(adapter, true)
    return own
  }

  /** Whether what an adapter laid over this counts where no route decides. */
  show(adapter: string, on: boolean): void {
    const others = this.#shown.filter(name => name !== adapter)
    this.#shown = on ? [...others, adapter] : others
  }

  /** Takes an adapter's parameter off and frees it; with `keep` its values become this one's own. */
  lift(adapter: string, keep = false): void {
    const own = this.#over.get(adapter)
    this.show(adapter, false)
    this.#over.delete(adapter)
    if (own && keep) this.replace(own.#tensor)
    else own?.dispose()
  }

  /** Whether any adapter has laid something over this. */
  get isCovered(): boolean {
    return this.#over.size > 0
  }

  /** Puts another tensor in place of this one's own and frees the old one. */
  replace(tensor: Tensor): void {
    const old = this.#tensor
    this.#tensor = tensor.keep()
    old.dispose()
  }

  /** Puts another tensor in place and returns the old one, alive, which still trains if it did. */
  exchange(tensor: Tensor): Tensor {
    const old = this.#tensor
    this.#tensor = tensor.keep()
    return old
  }

  /** Length of the first axis. */
  get rows(): number {
    return this.#tensor.rows
  }

  /** Length of the second axis. */
  get columns(): number {
    return this.#tensor.columns
  }

  get shape(): readonly number[] {
    return this.#tensor.shape
  }

  get size(): number {
    return this.#tensor.size
  }

  /** Whether it is trained: set when an optimizer's arena takes it in. */
  get trains(): boolean {
    return this.tensor.requiresGrad
  }

  /** Where its gradient is added up, while it trains. */
  get gradient(): Tensor | undefined {
    return this.tensor.grad
  }

  dispose(): void {
    this.#tensor.dispose()
  }
}

/**
 * How the frozen base is kept in memory. int8 and nf4 are for the linear layers of the backbone: embeddings and heads
 * are then bf16. blocks are for all matrices that a GGUF file holds as such; others are as wide as in the file, f16 as
 * f32. Norms, biases and all that trains are f32 (f64 under f64) whatever it says.
 */
export type Storage = 'f32' | 'bf16' | 'f64' | 'blocks' | Quantized

/**
 * The dtype of a parameter under `storage`: `linear` is the weight of a linear layer of the backbone. `held`: its dtype
 * in the file.
 */
export function storedDType(storage: Storage, kind: 'vector' | 'matrix' | 'linear', held?: DType): DType {
  if (storage === 'f32' || storage === 'f64') return storage
  if (kind === 'vector') return 'f32'
  if (storage === 'blocks') return held === 'bf16' || isOneOf(BLOCKS, held) ? held : 'f32'
  return kind === 'linear' ? storage : 'bf16'
}

/** Whether weights are codes with scales: no parts of them can be looked at, nor trained. */
export function isQuantized(storage: Storage | DType): boolean {
  return storage === 'blocks' || isOneOf(QUANTIZED, storage) || isOneOf(BLOCKS, storage)
}
