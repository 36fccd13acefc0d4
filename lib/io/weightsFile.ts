import type { CodeType } from './bitsandbytesWrite.ts'
import type { FileRange, TensorInMemory } from './safetensors.ts'

/** What a file says of a tensor. */
interface StoredInfo {
  readonly dtype: string
  readonly shape: readonly number[]
  /** As [out, in], though files hold others of the kind as [in, out]. */
  readonly isUpright?: boolean
}

/** A matrix in codes of bitsandbytes. */
interface StoredCodes {
  readonly type: CodeType
  /** Whether its scales are codes too. */
  readonly isNested: boolean
  readonly tensors: readonly TensorInMemory[]
}

/** Named tensors on disk, of whatever format; dtypes in safetensors' spelling, blocks in ggml's (`Q4_K`). */
export interface WeightsFile {
  /** The file or folder, for messages. */
  readonly path: string
  names(): string[]
  has(name: string): boolean
  info(name: string): StoredInfo
  /** Little-endian elements or blocks, in memory of their own. */
  read(name: string): Uint8Array
  /** Where the bytes lie as they are to be read; undefined where reading changes them. */
  locate(name: string): FileRange | undefined
  /** Matrices that Hugging Face files hold as [in, out] lie here as [out, in]. */
  readonly isUpright?: boolean
  /** Of a matrix that is in codes: these as they lie there; undefined for others. */
  codesOf?(name: string): StoredCodes | undefined
  /** What became of tensors that are not read as they lie there, for the user. */
  readonly note?: string
  close(): void
}
