import type { DType } from '../native.ts'
import { QUANTIZED, type Quantized } from '../ops/quantize.ts'
import type { Tensor } from '../tensor.ts'

/** A named tensor of a model or adapter: it stays the same object while its memory moves (cast, arena slice, merge). */
export class Parameter {
  /** Hugging Face tensor name, or the adapter's own. */
  readonly name: string
  /** Not in the checkpoint: it starts newly initialised, and is saved with the adapter. */
  readonly isNew: boolean
  #tensor: Tensor

  constructor(name: string, tensor: Tensor, isNew = false) {
    this.name = name
    this.isNew = isNew
    this.#tensor = tensor.keep()
  }

  get tensor(): Tensor {
    return this.#tensor
  }

  /** Puts another tensor in place and frees the old one. */
  replace(tensor: Tensor): void {
    const old = this.#tensor
    this.#tensor = tensor.keep()
    old.dispose()
  }

  get shape(): readonly number[] {
    return this.#tensor.shape
  }

  get size(): number {
    return this.#tensor.size
  }

  /** Whether it is trained: set when an optimizer's arena takes it in. */
  get trains(): boolean {
    return this.#tensor.requiresGrad
  }

  /** Where its gradient is added up, while it trains. */
  get gradient(): Tensor | undefined {
    return this.#tensor.grad
  }

  dispose(): void {
    this.#tensor.dispose()
  }
}

/**
 * How the frozen base is kept in memory. int8 and nf4 are for the linear layers of the backbone: embeddings and heads
 * are then bf16. Norms, biases and all that trains are f32 (f64 under f64) whatever it says.
 */
export type Storage = 'f32' | 'bf16' | 'f64' | Quantized

/** The dtype of a parameter under `storage`: `linear` is the weight of a linear layer of the backbone. */
export function storedDType(storage: Storage, kind: 'vector' | 'matrix' | 'linear'): DType {
  if (storage === 'f32' || storage === 'f64') return storage
  if (kind === 'vector') return 'f32'
  return kind === 'linear' ? storage : 'bf16'
}

export function isQuantized(storage: Storage | DType): storage is Quantized {
  return (QUANTIZED as readonly string[]).includes(storage)
}
