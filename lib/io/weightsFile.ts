import type { FileRange } from './safetensors.ts'

/** Named tensors on disk, of whatever format; dtypes in safetensors' spelling, blocks in ggml's (`Q4_K`). */
export interface WeightsFile {
  /** The file or folder, for messages. */
  readonly path: string
  names(): string[]
  has(name: string): boolean
  info(name: string): { readonly dtype: string; readonly shape: readonly number[] }
  /** Little-endian elements or blocks, in memory of their own. */
  read(name: string): Uint8Array
  /** Where the bytes lie as they are to be read; undefined where reading changes them. */
  locate(name: string): FileRange | undefined
  /** Matrices that Hugging Face files hold as [in, out] lie here as [out, in]. */
  readonly isUpright?: boolean
  /** What became of tensors that are not read as they lie there, for the user. */
  readonly note?: string
  close(): void
}
