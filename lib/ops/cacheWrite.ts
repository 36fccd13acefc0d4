import { native } from '../native.ts'
import type { Tensor } from '../tensor.ts'

/** Where keys and values of earlier tokens lie: [pages, page, kvHeads · dim], of the activations' type or bf16. */
export interface Caches {
  readonly keys: Tensor
  readonly values: Tensor
}

/** Row n of k and v [N, kvHeads · dim] becomes row slots[n] (i32[N]) of the caches, counted through all pages. */
export function cacheWrite({ keys, values }: Caches, k: Tensor, v: Tensor, slots: Tensor): void {
  native.cacheWrite(keys.handle, values.handle, k.handle, v.handle, slots.handle)
}
