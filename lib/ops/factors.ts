import type { Tensor } from '../tensor.ts'

/** Low-rank factors a[r, in] and b[out, r] beside a frozen weight; `site` keys the dropout of their input. */
export interface LowRankFactors {
  a: Tensor
  b: Tensor
  scale: number
  dropout: number
  site: number
  /**
   * Beside bf16 and f16 activations, keep the adapter's products at f32 accuracy, as PEFT's f32 adapters have it.
   * Default true; false rounds factors and intermediate products. Activations of f32 are exact anyway.
   */
  exact?: boolean
}

/** Whether kernels can serve several layers in one pass over x: a GPU's can, in half precision. */
export const sharesPasses = ({ device, dtype }: Tensor): boolean =>
  device.isCuda && (dtype === 'bf16' || dtype === 'f16')
