// A model with all that is attached to it, as a Hugging Face folder.

import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { check } from '../errors.ts'
import { HEADS } from '../heads/index.ts'
import { writeFileAtomic, writeFolderAtomic } from '../io/atomic.ts'
import { type ConfigDtype, savedDtype } from '../io/config.ts'
import { isGguf } from '../io/gguf/file.ts'
import { openWeights } from '../io/gguf/weights.ts'
import { isObject, type PyJson, type PyObject, readExactJson, writeJson } from '../io/json.ts'
import { decodeF32, encodeF32, type FloatDtype, isFiniteData, type TensorToWrite } from '../io/safetensors.ts'
import { isTokenizerFile, TEMPLATES } from '../io/tokenizerFiles.ts'
import { transposedBytes } from '../io/transpose.ts'
import { isQuantized, type Parameter } from '../nn/module.ts'
import { checkOptions } from '../options.ts'
import type { Tensor } from '../tensor.ts'
import { ggufTokenizer } from '../tokenizer/gguf.ts'
import { writeTokenizer } from '../tokenizer/write.ts'
import { must } from '../tuple.ts'
import { type CodeOptions, codedTensors } from './codes.ts'
import { dtypeOf, writeChecked } from './files.ts'
import { infoFile } from './info.ts'
import { checkPartable, type Layer, layersOf, staysTied, tiedLayers } from './layers.ts'
import { mergedLayer } from './merging.ts'
import type { Host } from './method.ts'

const ownFiles = ['config.json', 'model.safetensors', 'README.md', infoFile, TEMPLATES]

const fileDtypes: Readonly<Record<ConfigDtype, FloatDtype>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
}

/** What {@link saveMerged} writes beside the model. */
export interface SaveMergedOptions {
  /** Written as lowrank.json beside the model. */
  info?: () => Promise<PyObject>
  /** Folder of the tokenizer that was trained with. Default: the base's. */
  tokenizer?: string | undefined
  /** Matrices as codes of bitsandbytes, that transformers loads with it. Default: floats. */
  codes?: CodeOptions | undefined
  /** Looks at the folder when all is written and nothing in its place yet; what it throws leaves nothing behind. */
  verify?: ((written: string) => Promise<void>) | undefined
}

/**
 * Writes the model with every active adapter merged in, as a folder that transformers loads: config.json (class, labels
 * and problem of this head), model.safetensors in the dtype of the checkpoint it came from, tokenizer files. The model
 * itself stays as it is; at most one merged weight is in memory at a time. Await it before training on.
 *
 * `codes`: the linear layers, but for the output layer and the task's head, as codes; what the folder that the model
 * was loaded from holds in the same codes, and nothing changed, stays byte for byte.
 *
 * Errors: ERR_UNSUPPORTED for an adapter that has no weight change to merge, or a quantised base; ERR_CHECKPOINT for
 * values that are not finite, or pass the range of F16; ERR_OPTION where `dir` holds files that are not a model's, or
 * cannot be written.
 */
export async function saveMerged(model: Host, dir: string, options: SaveMergedOptions = {}): Promise<void> {
  checkOptions('saveMerged', options, { info: true, tokenizer: true, codes: true, verify: true })
  const { info, tokenizer = model.path, codes, verify } = options
  checkMergeable(model, 'saveMerged')
  const dtype = checkpointDtype(model)
  const floats = tensorsOf(model, dtype)
  const coded = codes && (await codedTensors(model, floats, dtype, codes))
  const tensors = coded?.tensors ?? floats
  const config = { ...configOf(model, dtype, floats), ...(coded && { quantization_config: coded.config }) }
  await writeFolderAtomic(
    dir,
    async into => {
      await writeChecked(join(into, 'model.safetensors'), tensors)
      await writeJson(join(into, 'config.json'), config, { trailingNewline: true })
      if (info) await writeJson(join(into, infoFile), await info())
      if (tokenizer !== undefined) await copyTokenizer(tokenizer, into)
      await verify?.(into)
    },
    { owns: name => ownFiles.includes(name) || isTokenizerFile(name) },
  )
}

/** @throws ERR_UNSUPPORTED for a quantised base, and for what no weight can hold */
export function checkMergeable(model: Host, what: string): void {
  check(!isQuantized(model.storage), 'ERR_UNSUPPORTED', () => {
    const cure = 'load the base with storage f32 or bf16, the adapter onto it, and merge there'
    return `${what}: the base is stored as ${model.storage}, and the file would keep its error; ${cure}`
  })
  for (const [name, { isActive, virtual }] of model.adapters)
    check(!(isActive && virtual), 'ERR_UNSUPPORTED', () => {
      return `${what}: "${name}" puts virtual tokens before the input, which no weight can hold; keep it as an adapter`
    })
  checkPartable(what, model, layer => layer.current)
}

/** Copies the files of a tokenizer; of a GGUF file, writes what it says of its own. */
export async function copyTokenizer(from: string, into: string): Promise<void> {
  if (isGguf(from)) return await writeTokenizer(ggufTokenizer(from), into)
  const names = [from, join(from, TEMPLATES)].map(folder => readdir(folder).catch((): string[] => []))
  const [own = [], templates = []] = await Promise.all(names)
  if (templates.length > 0) await mkdir(join(into, TEMPLATES), { recursive: true })
  for (const name of [...own, ...templates.map(each => `${TEMPLATES}/${each}`)].filter(isTokenizerFile))
    await writeFileAtomic(join(into, name), await readFile(join(from, name)))
}

/** The dtype of the files the model was loaded from; of its matrices in memory where it was not. */
function checkpointDtype(model: Host): FloatDtype {
  const named = savedDtype(model.config)
  if (named) return fileDtypes[named]
  const inMemory: FloatDtype = model.storage === 'f64' ? 'F64' : model.storage === 'bf16' ? 'BF16' : 'F32'
  if (model.path === undefined) return inMemory
  const file = openWeights(model.path)
  try {
    const first = [...model.parameters.keys()].find(name => file.has(name))
    const found = first === undefined ? undefined : file.info(first).dtype
    return Object.values(fileDtypes).find(dtype => dtype === found) ?? inMemory
  } finally {
    file.close()
  }
}

/** Every weight with what is attached merged into it, one in memory at a time. */
export function tensorsOf(model: Host, dtype: FloatDtype): TensorToWrite[] {
  const merged = new Map<Parameter, () => Tensor | undefined>()
  const tied = tiedLayers(model)
  const isTied = staysTied(tied, layer => layer.current)
  const part = (layer: Layer, name: 'weight' | 'bias') => () => {
    const { weight, bias } = mergedLayer(layer, layer.current, true)
    const [wanted, other] = name === 'weight' ? [weight, bias] : [bias, weight]
    other?.dispose()
    return wanted?.keep()
  }
  for (const layer of layersOf(model)) {
    // Of those with one weight, the one that changes it.
    const changes = layer.current.some(({ follows }) => !follows)
    if (changes && (isTied || layer !== model.output || !tied.includes(layer)))
      merged.set(layer.weight, part(layer, 'weight'))
    if (layer.bias) merged.set(layer.bias, part(layer, 'bias'))
  }
  const found = [...model.parameters.values()].map(p => toWrite(p, merged.get(p), dtype))
  if (isTied || !model.output) return found
  const { path, weight } = model.output
  return [...found, { ...toWrite(weight, part(model.output, 'weight'), dtype), name: `${path}.weight` }]
}

function toWrite(parameter: Parameter, merge: (() => Tensor | undefined) | undefined, dtype: FloatDtype) {
  const { name, shape, tensor } = parameter
  const data = async () => {
    const merged = merge?.()
    const bytes = new Uint8Array(await (merged ?? tensor).bytes())
    const from = dtypeOf(merged ?? tensor)
    merged?.dispose()
    const values = from === dtype ? bytes : encodeF32(decodeF32(bytes, from), dtype)
    check(isFiniteData(values, dtype), 'ERR_CHECKPOINT', () => {
      return `saveMerged: ${name} is not finite in ${dtype}; the training diverged, or the values pass the dtype's range`
    })
    const [rows = 1, columns = 1] = shape
    return parameter.isTransposed ? transposedBytes(values, rows, columns) : values
  }
  return { name, shape: parameter.isTransposed ? [...shape].reverse() : shape, dtype, data }
}

function configOf(model: Host, dtype: FloatDtype, tensors: readonly TensorToWrite[]): PyObject {
  const { path, config, task, labels, head } = model
  const kind = HEADS.find(one => one.task === task)
  const stored = path === undefined || isGguf(path) ? undefined : readExactJson(join(path, 'config.json'))
  const values = isObject(stored) ? stored : config.values
  // Codes of a quantised base were decoded.
  const { num_labels: _, quantization_config: __, ...kept } = values
  const record: Record<string, PyJson> = { ...kept, model_type: config.modelType }
  record.architectures = [model.className]
  record.dtype = must(
    Object.entries(fileDtypes).find(([, value]) => value === dtype),
    'match',
  )[0]
  // Readers before transformers 4.57 know only this name.
  if (kept.torch_dtype !== undefined) record.torch_dtype = record.dtype
  const { output } = model
  if (output && tensors.some(({ name }) => name === `${output.path}.weight`))
    Object.assign(record, { ...model.family.untied?.(config), tie_word_embeddings: false })
  if (labels.length > 0) {
    record.id2label = Object.fromEntries(labels.map((label, i) => [String(i), label]))
    record.label2id = Object.fromEntries(labels.map((label, i) => [label, i]))
  }
  const types: Readonly<Record<string, string>> = kind && 'problemTypes' in kind ? kind.problemTypes : {}
  const problemType = types[head.problem]
  if (problemType !== undefined) record.problem_type = problemType
  return record
}
