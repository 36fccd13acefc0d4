// The tensors of a GGUF file under their Hugging Face names, and as Hugging Face files order and offset them.

import { check } from '../../errors.ts'
import { under } from '../../tuple.ts'
import { withoutCodes } from '../bitsandbytes.ts'
import { interleave } from '../rows.ts'
import { openCheckpoint } from '../safetensors.ts'
import type { WeightsFile } from '../weightsFile.ts'
import { type Architecture, huggingFaceName, ROPE_TENSORS } from './architectures.ts'
import { architectureOf } from './config.ts'
import { type GgufFile, isGguf, openGguf } from './file.ts'
import type { GgufTensor } from './read.ts'

/** Opens the weights of a model folder, or of a GGUF file. @throws ERR_CHECKPOINT, ERR_UNSUPPORTED */
export function openWeights(path: string): WeightsFile {
  return isGguf(path) ? openGgufWeights(path) : withoutCodes(openCheckpoint(path))
}

interface Part {
  readonly tensor: GgufTensor
  /** Of what is read from the file; absent: it is taken as it is. */
  readonly change: ((bytes: Uint8Array) => Uint8Array) | undefined
}

function openGgufWeights(path: string): WeightsFile {
  const file = openGguf(path)
  const parts = partsOf(file)
  const part = (name: string): Part => {
    const found = parts.get(name)
    check(found, 'ERR_CHECKPOINT', () => `${path}: has no tensor "${name}" among its ${parts.size}`)
    return found
  }
  return {
    path,
    isUpright: true,
    names: () => [...parts.keys()],
    has: name => parts.has(name),
    info: name => ({ dtype: part(name).tensor.type.name, shape: part(name).tensor.shape }),
    read(name) {
      const { tensor, change } = part(name)
      const bytes = file.read(tensor.name)
      return change ? change(bytes) : bytes
    },
    locate(name) {
      const { tensor, change } = part(name)
      return change ? undefined : file.locate(tensor.name)
    },
    close: () => file.close(),
  }
}

/** By Hugging Face name. What has no name there keeps its own, and the model says that it is not expected. */
function partsOf(file: GgufFile): ReadonlyMap<string, Part> {
  try {
    const architecture = architectureOf(file)
    const prefix = `${file.metadata.get('general.architecture')}.attention`
    const count = Number(file.metadata.get(`${prefix}.head_count`))
    const heads = { attn_q: count, attn_k: Number(file.metadata.get(`${prefix}.head_count_kv`) ?? count) }
    const parts = new Map<string, Part>()
    for (const tensor of file.tensors.values()) {
      if (ROPE_TENSORS.test(tensor.name)) continue
      const name = huggingFaceName(architecture, tensor.name) ?? tensor.name
      parts.set(name, { tensor, change: changeOf(file.path, architecture, tensor, heads) })
    }
    return parts
  } catch (error) {
    file.close()
    throw error
  }
}

function changeOf(
  path: string,
  { interleaved, normOffset }: Architecture,
  { name, shape, type }: GgufTensor,
  heads: Readonly<Record<string, number>>,
): Part['change'] {
  const module = /^blk\.\d+\.(attn_q|attn_k)\.(weight|bias)$/.exec(name)?.[1]
  if (interleaved && module !== undefined) {
    const count = under(heads, module)
    const rows = shape[0] ?? 0
    check(count > 0 && rows % (2 * count) === 0, 'ERR_CHECKPOINT', () => {
      return `${path}: tensor "${name}" has ${rows} rows, which ${count} heads do not share evenly`
    })
    return bytes => interleave(bytes, count, rows, 'apart')
  }
  if (!normOffset || !/norm\.weight$/.test(name)) return undefined
  check(
    type.name === 'F32',
    'ERR_UNSUPPORTED',
    () => `${path}: tensor "${name}" is ${type.name}, norms are read as F32`,
  )
  return bytes => new Uint8Array(new Float32Array(bytes.slice().buffer).map(weight => weight - 1).buffer)
}
