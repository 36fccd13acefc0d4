// A model's matrices as codes of bitsandbytes, as transformers writes and reads them.

import { check } from '../errors.ts'
import { type CodeType, eightBitTensors, fourBitTensors, torchDtype } from '../io/bitsandbytesWrite.ts'
import { openWeights } from '../io/gguf/weights.ts'
import { type PyObject, pyFloat } from '../io/json.ts'
import { decodeF32, encodeF32, type FloatDtype, type TensorInMemory, type TensorToWrite } from '../io/safetensors.ts'
import { transposedBytes } from '../io/transpose.ts'
import type { WeightsFile } from '../io/weightsFile.ts'
import { must } from '../tuple.ts'
import type { Host } from './method.ts'

/** How matrices become codes. */
export interface CodeOptions {
  readonly type: CodeType
  /** Scales of 4-bit codes are codes of 8 bits too. Default false. */
  readonly doubleQuant?: boolean | undefined
}

/** Tensors with codes in place of floats, and the `quantization_config` that says so. Codes are kept in memory. */
export async function codedTensors(
  model: Host,
  floats: readonly TensorToWrite[],
  dtype: FloatDtype,
  { type, doubleQuant = false }: CodeOptions,
): Promise<{ tensors: TensorToWrite[]; config: PyObject }> {
  check(dtype !== 'F64', 'ERR_UNSUPPORTED', () => `saveMerged: bitsandbytes has no ${type} of float64; load it as f32`)
  check(type !== 'int8' || !doubleQuant, 'ERR_OPTION', () => {
    return 'doubleQuant: int8 has a scale a row, which stays a float; leave it out, or take nf4'
  })
  const skipped = keptAsFloats(model)
  const source = model.path === undefined ? undefined : openWeights(model.path)
  try {
    const asked = { type, doubleQuant: doubleQuant === true }
    const tensors: TensorToWrite[] = []
    for (const each of floats) {
      const path = each.name.replace(/\.weight$/, '')
      const isCoded = each.name !== path && model.linears.has(path) && !skipped.has(path)
      if (!isCoded) tensors.push(each)
      else tensors.push(...(await codesOf(model, each, dtype, asked, source)))
    }
    return { tensors, config: quantizationConfig(type, doubleQuant, dtype, [...skipped]) }
  } finally {
    source?.close()
  }
}

/** Paths of linear layers that transformers leaves as they are: the output layer, heads, what has to be wide. */
function keptAsFloats({ linears, output, family }: Host): ReadonlySet<string> {
  const { headTensors, wideOnly, sublayerEnds } = family
  const isWide = (path: string) => wideOnly !== undefined && path.endsWith(`.${sublayerEnds?.feedforward}`)
  return new Set(
    [...linears.keys()].filter(path => path === output?.path || headTensors.test(`${path}.weight`) || isWide(path)),
  )
}

async function codesOf(
  model: Host,
  { name, shape, data }: TensorToWrite,
  dtype: FloatDtype,
  { type, doubleQuant }: { type: CodeType; doubleQuant: boolean },
  source: WeightsFile | undefined,
): Promise<readonly TensorInMemory[]> {
  const given = typeof data === 'function' ? await data() : data
  const bytes = new Uint8Array(given.buffer, given.byteOffset, given.byteLength)
  // As [out, in], as transformers turns such layers.
  const isTurned = model.parameters.get(name)?.isTransposed === true
  const [rows = 1, columns = 1] = shape
  const upright = isTurned ? transposedBytes(bytes, rows, columns) : bytes
  const kept = source && storedCodes(source, model, name, upright, dtype)
  if (kept?.type === type && kept.isNested === doubleQuant) return kept.tensors
  const matrix = { name, shape: isTurned ? [columns, rows] : shape, values: decodeF32(upright, dtype), dtype }
  return type === 'int8' ? eightBitTensors(matrix) : fourBitTensors(matrix, type, doubleQuant)
}

/** The codes of a matrix in the file that the model came from, where they still stand for its values. */
function storedCodes(file: WeightsFile, model: Host, name: string, bytes: Uint8Array, dtype: FloatDtype) {
  const { basePrefix } = model.family
  const bare = basePrefix !== '' && name.startsWith(`${basePrefix}.`) ? name.slice(basePrefix.length + 1) : name
  const stored = [name, bare].find(each => file.has(each))
  const found = stored === undefined ? undefined : file.codesOf?.(stored)
  if (stored === undefined || !found) return undefined
  const state = file.info(stored).dtype
  check(state === 'F32' || state === 'F16' || state === 'BF16', 'ERR_CHECKPOINT', () => {
    return `${file.path}: "${stored}" stands for ${state}; fetch it again`
  })
  const values = encodeF32(decodeF32(file.read(stored), state), dtype)
  if (!Buffer.from(values.buffer, values.byteOffset, values.byteLength).equals(bytes)) return undefined
  const [from, to] = [stored, name].map(each => each.replace(/\.weight$/, ''))
  const renamed = (part: string) => must(to, 'to') + part.slice(must(from, 'from').length)
  return { ...found, tensors: found.tensors.map(part => ({ ...part, name: renamed(part.name) })) }
}

/** As transformers 5 writes its BitsAndBytesConfig. */
function quantizationConfig(type: CodeType, isNested: boolean, dtype: FloatDtype, skipped: string[]): PyObject {
  const isEight = type === 'int8'
  return {
    _load_in_4bit: !isEight,
    _load_in_8bit: isEight,
    bnb_4bit_compute_dtype: torchDtype(dtype),
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: isEight ? 'fp4' : type,
    bnb_4bit_use_double_quant: isNested,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: skipped,
    llm_int8_threshold: pyFloat(6),
    load_in_4bit: !isEight,
    load_in_8bit: isEight,
    quant_method: 'bitsandbytes',
  }
}
