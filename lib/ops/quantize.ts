import { native } from '../native.ts'
import { dtypeCode, Tensor } from '../tensor.ts'

/**
 * Dtypes of quantised frozen weights [out, in], with the codes of bitsandbytes. int8: one scale a row (Dettmers et al.
 * 2022). nf4: 4-bit codes, doubly quantised scales of blocks of 64, 0.516 bytes a weight (QLoRA, Dettmers et al. 2023).
 */
export const QUANTIZED = ['int8', 'nf4'] as const

/** Formats of quantised weights: int8 by row, NF4 by block (Dettmers et al. 2023). */
export type Quantized = (typeof QUANTIZED)[number]

/** x[out, in], f32, in fewer bits. It has no gradient: what trains is never quantised. */
export function quantize(x: Tensor, dtype: Quantized): Tensor {
  return new Tensor(native.quantize(x.handle, dtypeCode(dtype)))
}

/** A quantised weight as floats, rounded once. */
export function dequantize(w: Tensor, dtype: 'f32' | 'f64' | 'bf16' | 'f16' = 'f32'): Tensor {
  return new Tensor(native.dequantize(w.handle, dtypeCode(dtype)))
}
