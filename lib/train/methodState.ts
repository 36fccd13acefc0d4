// What a method remembers between steps (AdaLoRA's importance), in a checkpoint.

import { existsSync } from 'node:fs'
import { check } from '../errors.ts'
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../io/safetensors.ts'
import type { TrainingHooks } from '../peft/method.ts'
import { nth } from '../tuple.ts'

/** As it is at this moment; undefined for a method that remembers nothing. */
export async function methodState({ state }: TrainingHooks): Promise<TensorToWrite[] | undefined> {
  const entries = [...(state?.() ?? [])]
  if (entries.length === 0) return undefined
  const values = await Promise.all(entries.map(([, entry]) => entry.read()))
  return entries.map(([name, { shape }], i) => {
    const data = nth(values, i)
    return { name, shape: [...shape], dtype: data instanceof Float64Array ? 'F64' : 'F32', data }
  })
}

export async function writeMethodState(path: string, tensors: readonly TensorToWrite[] | undefined): Promise<void> {
  if (tensors) await writeSafetensors(path, tensors, { format: 'pt' })
}

/** Puts it back. @throws ERR_CHECKPOINT where it is not there, or is of other shapes */
export function readMethodState(path: string, { state }: TrainingHooks): void {
  const entries = [...(state?.() ?? [])]
  if (entries.length === 0) return
  check(existsSync(path), 'ERR_CHECKPOINT', () => `${path}: is missing; use another checkpoint`)
  const file = openSafetensors(path)
  try {
    for (const [name, entry] of entries) {
      const { shape, dtype } = file.info(name)
      check(shape.join() === entry.shape.join(), 'ERR_CHECKPOINT', () => {
        return `${path}: ${name} is [${shape}], the method has [${entry.shape}]; use another checkpoint`
      })
      entry.write(dtype === 'F64' ? new Float64Array(file.read(name).slice().buffer) : file.readF32(name))
    }
  } finally {
    file.close()
  }
}
