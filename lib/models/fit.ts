// What a checkpoint is held against before anything is made of it.

import { check } from '../errors.ts'
import type { ModelConfig } from '../io/config.ts'
import { BLOCKS } from '../native.ts'
import type { Storage } from '../nn/module.ts'
import type { Compute } from '../ops/matmul.ts'
import type { Device } from '../tensor.ts'
import { isOneOf, must } from '../tuple.ts'
import type { Family } from './family.ts'
import type { LoadSettings, TensorSource } from './weights.ts'

/** Every layer has tensors: what a config claims is held against the file before anything is made of it. */
export function checkLayers({ path, values }: ModelConfig, { source }: LoadSettings): void {
  if (!source) return
  const most = [...source.names()].length
  for (const key of ['num_hidden_layers', 'num_layers', 'num_decoder_layers', 'n_layer', 'n_layers']) {
    const claimed = values[key]
    check(typeof claimed !== 'number' || claimed <= most, 'ERR_CONFIG', () => {
      return `${path}: ${key} is ${claimed}, but the checkpoint has ${most} tensors in all; they belong to another config`
    })
  }
}

/** What is said of the weights: codes that were decoded, and f16 in a wider type where the family takes that. */
export function weightNotices(family: Family, settings: LoadSettings): string[] {
  const { note } = settings.source ?? {}
  return [...(note === undefined ? [] : [note]), ...widened(family, settings)]
}

function widened({ wideOnly }: Family, { source, activations, compute }: LoadSettings): string[] {
  const isNarrow = (name: string) => must(source, 'source').info(name).dtype === 'F16'
  if (!wideOnly || !source || ![...source.names()].some(isNarrow)) return []
  const types = activations === compute ? compute : `${activations} and ${compute}`
  return [`the checkpoint is in f16 and runs in ${types}: ${wideOnly}`]
}

/** As asked for; else of a file of blocks these, and undefined for others. @throws ERR_OPTION for blocks of none */
export function storageOf(dir: string, source: TensorSource, asked: Storage | undefined): Storage | undefined {
  const hasBlocks = [...source.names()].some(name => isOneOf(BLOCKS, source.info(name).dtype.toLowerCase()))
  check(asked !== 'blocks' || hasBlocks, 'ERR_OPTION', () => {
    return `storage: blocks are those of a GGUF file, and ${dir} has none; take f32, bf16, int8 or nf4`
  })
  return asked ?? (hasBlocks ? 'blocks' : undefined)
}

/** On CUDA everything is bf16 unless asked otherwise; on the CPU f32. Activations are bf16 where products are. */
export function precisionOf(
  options: { readonly storage?: Storage | undefined; readonly compute?: Compute | undefined },
  { isCuda }: Device,
): Pick<LoadSettings, 'storage' | 'compute' | 'activations'> {
  const wide = options.storage === 'f64'
  const compute = options.compute ?? (isCuda && !wide ? 'bf16' : 'f32')
  const isHalf = !wide && compute === 'bf16'
  const storage = options.storage ?? (isCuda && isHalf ? 'bf16' : 'f32')
  return { storage, compute, activations: wide ? 'f64' : isHalf ? 'bf16' : 'f32' }
}
