// Tensors of a model to files, and files checked against what was meant.

import { createHash } from 'node:crypto'
import { check } from '../errors.ts'
import {
  type Checkpoint,
  decodeF32,
  encodeF32,
  type FloatDtype,
  isFiniteData,
  openSafetensors,
  type TensorInMemory,
  type TensorToWrite,
  writeSafetensors,
} from '../io/safetensors.ts'
import { transposedBytes } from '../io/transpose.ts'
import type { Parameter } from '../nn/module.ts'
import type { Tensor } from '../tensor.ts'
import { must } from '../tuple.ts'

/** safetensors' name of a tensor's own dtype. */
export function dtypeOf(tensor: Tensor): FloatDtype {
  const { dtype } = tensor
  return dtype === 'f64' ? 'F64' : dtype === 'bf16' ? 'BF16' : dtype === 'f16' ? 'F16' : 'F32'
}

/** The name PEFT and transformers give the metadata of their files. */
const metadata = { format: 'pt' }

/** A parameter's shape in files. */
export function storedShape({ shape, isTransposed }: Parameter): readonly number[] {
  return isTransposed ? [...shape].reverse() : shape
}

/**
 * Tensors as they are at this moment, whatever is enqueued later. A tensor keeps the dtype of the file it came from
 * where that loses nothing, else it is written as it is in memory.
 */
export async function snapshot(
  entries: Iterable<[string, Parameter]>,
  fileDtypes: ReadonlyMap<string, FloatDtype>,
): Promise<TensorInMemory[]> {
  // Every read is enqueued before the first is awaited.
  const reads = [...entries].map(async ([name, parameter]) => {
    const { tensor } = parameter
    const shape = storedShape(parameter)
    const own = dtypeOf(tensor)
    const read = new Uint8Array(await tensor.bytes())
    const bytes = parameter.isTransposed ? turned(read, tensor.shape) : read
    const wanted = fileDtypes.get(name) ?? own
    const narrow = wanted === own ? undefined : losslessly(bytes, own, wanted)
    return { name, shape, dtype: narrow ? wanted : own, data: narrow ?? bytes }
  })
  return Promise.all(reads)
}

/** Tensors with those that hold once more, or transposed, what another holds. */
export function withCopies(tensors: readonly TensorInMemory[], copies: Copies): TensorInMemory[] {
  const byName = new Map(tensors.map(each => [each.name, each]))
  const made = [...copies].map(([name, { of, isTransposed }]) => {
    const { shape, dtype, data } = must(byName.get(of), of)
    return isTransposed
      ? { name, dtype, shape: [...shape].reverse(), data: turned(data, shape) }
      : { name, dtype, shape, data }
  })
  return [...tensors, ...made]
}

/** Whether a file holds as `key` what it holds as the key that it copies. */
export function isCopy(file: Checkpoint, key: string, copies: Copies): boolean {
  const copy = copies.get(key)
  if (!copy || !file.has(copy.of)) return false
  const { shape } = file.info(copy.of)
  const [own, other] = [file.read(key), file.read(copy.of)]
  return Buffer.from(own).equals(copy.isTransposed ? turned(other, shape) : other)
}

type Copies = ReadonlyMap<string, { readonly of: string; readonly isTransposed: boolean }>

/** The rows of a stored matrix as its columns. */
export function turned(data: ArrayBufferView, [rows = 1, columns = 1]: readonly number[]): Uint8Array {
  return transposedBytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), rows, columns)
}

function losslessly(bytes: Uint8Array, own: FloatDtype, wanted: FloatDtype): Uint8Array | undefined {
  const f32 = decodeF32(bytes, own)
  const other = encodeF32(f32, wanted)
  const isSame = [encodeF32(f32, own), encodeF32(decodeF32(other, wanted), own)].every(
    back => Buffer.compare(back, bytes) === 0,
  )
  return isSame ? other : undefined
}

function isZero(data: ArrayBufferView): boolean {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).every(byte => byte === 0)
}

/**
 * Checks an adapter's tensors before they replace what is on disk: NaN or infinity, and a matrix of zeros where none
 * belongs, are ERR_CHECKPOINT. `zeros`: names of those that may be zero, as B at the start.
 */
export function checkValues(tensors: readonly TensorInMemory[], zeros: ReadonlySet<string>): void {
  for (const { name, dtype, shape, data } of tensors) {
    check(isFiniteData(data, dtype), 'ERR_CHECKPOINT', () => {
      return `saveAdapter: ${name} holds NaN or infinity, the training diverged; lower the learning rate`
    })
    const mayBeZero = shape.length < 2 || data.byteLength === 0 || zeros.has(name)
    check(mayBeZero || !isZero(data), 'ERR_CHECKPOINT', () => `saveAdapter: ${name} is all zeros; it was never set`)
  }
}

/** Writes tensors and reads the file back: count, names, shapes, dtypes and every byte must be the same. */
export async function writeChecked(path: string, tensors: readonly TensorToWrite[]): Promise<void> {
  const sums = new Map<string, string>()
  const watched = tensors.map(tensor => ({
    ...tensor,
    data: async () => {
      const view = typeof tensor.data === 'function' ? await tensor.data() : tensor.data
      sums.set(tensor.name, sumOf(view))
      return view
    },
  }))
  await writeSafetensors(path, watched, metadata)
  const file = openSafetensors(path)
  try {
    const count = file.names().length
    check(count === tensors.length, 'ERR_CHECKPOINT', () => {
      return `${path}: ${count} tensors were written of ${tensors.length}; save again, to another disk`
    })
    for (const { name, dtype, shape } of tensors) {
      const info = file.has(name) ? file.info(name) : undefined
      const isSame =
        info?.dtype === dtype && `${info.shape}` === `${shape}` && sumOf(file.read(name)) === sums.get(name)
      check(isSame, 'ERR_CHECKPOINT', () => `${path}: ${name} reads back otherwise; save again, to another disk`)
    }
  } finally {
    file.close()
  }
}

function sumOf(view: ArrayBufferView): string {
  return createHash('sha256')
    .update(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    .digest('hex')
}
