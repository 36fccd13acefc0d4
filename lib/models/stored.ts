// Tensors of files as they come to a device.

import { type FileRange, isFiniteData } from '../io/safetensors.ts'
import { transposedBytes } from '../io/transpose.ts'
import { BLOCKS, type DType } from '../native.ts'
import type { Tensor, TensorData } from '../tensor.ts'

/** What is read of where tensors come from. */
interface Stored {
  info(name: string): { dtype: string; shape: readonly number[] }
  read(name: string): Uint8Array
  locate?(name: string): FileRange | undefined
}

/** A dtype of files, as the host holds it. */
export interface StoredDtype {
  dtype: DType
  view: (b: ArrayBuffer) => TensorData
}
/** By safetensors' names, and those of blocks. */
export const STORED: Record<string, StoredDtype> = {
  F32: { dtype: 'f32', view: b => new Float32Array(b) },
  F64: { dtype: 'f64', view: b => new Float64Array(b) },
  F16: { dtype: 'f16', view: b => new Uint16Array(b) },
  BF16: { dtype: 'bf16', view: b => new Uint16Array(b) },
  ...Object.fromEntries(
    BLOCKS.map(dtype => [dtype.toUpperCase(), { dtype, view: (b: ArrayBuffer) => new Uint8Array(b) }]),
  ),
}

/** From this many bytes on a tensor is read by the addon, piece by piece. */
const MAPPED_BYTES = 1 << 20
/** Copies a stored tensor to the device; false, with nothing copied, where a number is not finite. */
export function uploadFinite(
  tensor: Tensor,
  source: Stored,
  name: string,
  { dtype, view }: StoredDtype,
  isTransposed: boolean,
): boolean {
  const range = isTransposed ? undefined : source.locate?.(name)
  if (range && range.bytes >= MAPPED_BYTES) return tensor.uploadFile(range, dtype)
  const bytes = source.read(name)
  if (!isFiniteData(bytes, source.info(name).dtype)) return false
  const [rows = 1, columns = 1] = source.info(name).shape
  tensor.upload(view(aligned(isTransposed ? transposedBytes(bytes, rows, columns) : bytes)), dtype)
  return true
}

function aligned({ buffer, byteOffset, byteLength }: Uint8Array): ArrayBuffer {
  const isWhole = byteOffset === 0 && byteLength === buffer.byteLength
  return isWhole && buffer instanceof ArrayBuffer
    ? buffer
    : new Uint8Array(buffer, byteOffset, byteLength).slice().buffer
}
