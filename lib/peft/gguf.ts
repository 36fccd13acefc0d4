// Merged models and adapters as GGUF files.

import { check } from '../errors.ts'
import { HEADS } from '../heads/index.ts'
import { ggufName, ROPE_TENSORS } from '../io/gguf/architectures.ts'
import { isGguf, openGguf } from '../io/gguf/file.ts'
import { architectureFor, configEntries, ropeOf } from '../io/gguf/metadata.ts'
import { encodeGguf, type GgufType } from '../io/gguf/quantize.ts'
import { type GgufEntry, type GgufTensorToWrite, writeGguf } from '../io/gguf/write.ts'
import { interleave } from '../io/rows.ts'
import { isFiniteData, type TensorToWrite } from '../io/safetensors.ts'
import { transposedBytes } from '../io/transpose.ts'
import { ropeFactors } from '../nn/ropeFactors.ts'
import { checkOptions } from '../options.ts'
import { tokenizerEntries } from '../tokenizer/toGguf.ts'
import { nth, under } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import type { Matrix } from './linearAlgebra.ts'
import { checkMergeable, tensorsOf } from './merged.ts'
import type { Host } from './method.ts'
import { alike, plainFactors } from './plainLora.ts'

/** How {@link saveGguf} writes a model. */
export interface SaveGgufOptions {
  /** Of matrices; norms and biases are f32. Default `f16`. */
  readonly type?: GgufType | undefined
  /** Folder or GGUF file of the tokenizer that was trained with. Default: the base's. */
  readonly tokenizer?: string | undefined
  /** Looks at the file when all is written and it is not in its place yet; what it throws leaves nothing behind. */
  readonly verify?: ((written: string) => Promise<void>) | undefined
}

const FILE_TYPES: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7 }

/**
 * Writes a decoder with every active adapter merged in as one GGUF file, with its tokenizer and chat template, as
 * llama.cpp reads it. Under q4_0 the embeddings are q8_0; rows that are no whole blocks are f16. One weight is in
 * memory at a time.
 * @throws ERR_UNSUPPORTED for families, tasks, tokenizers and adapters that a GGUF file cannot hold, and for a
 * quantised base
 */
export async function saveGguf(model: Host, path: string, options: SaveGgufOptions = {}): Promise<void> {
  checkOptions('saveGguf', options, { type: true, tokenizer: true, verify: true })
  const { type = 'f16', tokenizer = model.path, verify } = options
  checkMergeable(model, 'saveGguf')
  const [name, architecture] = architectureOf(model, 'saveGguf')
  check(tokenizer !== undefined, 'ERR_UNSUPPORTED', () => 'saveGguf: the model has no tokenizer; name one')
  const tensors = tensorsOf(model, 'F32').map(tensor => tensorFor(model, tensor, type))
  const rows = under(model.parameters, `${architecture.outer.token_embd}.weight`).rows
  const { entries, more } = await described(model, name)
  const metadata: GgufEntry[] = [
    ['general.architecture', { text: name }],
    ['general.type', { text: 'model' }],
    ...entries,
    ['general.file_type', { u32: FILE_TYPES[type] }],
    ['general.quantization_version', { u32: 2 }],
    ...(await tokenizerEntries(tokenizer, rows)),
  ]
  await writeGguf(path, metadata, [...more, ...tensors], verify)
}

/** @throws ERR_UNSUPPORTED for what is no decoder with a head over the vocabulary */
function architectureOf({ config, task }: Host, what: string) {
  const sits = HEADS.find(each => each.task === task)?.sits
  check(sits === 'causalLm', 'ERR_UNSUPPORTED', () => {
    return `${what}: GGUF files hold decoders that go on with a text, and this model does ${task}; keep it as a folder`
  })
  return architectureFor(config.modelType)
}

const WRITTEN_ANEW = /^general\.(architecture|type|file_type|quantization_version|alignment)$|^split\./

/** Sizes and constants, and tensors that are no weights: of a GGUF file as they are, else from the config. */
async function described(model: Host, name: string): Promise<{ entries: GgufEntry[]; more: GgufTensorToWrite[] }> {
  const { config, path } = model
  if (!isGguf(path)) return { entries: configEntries(config, name), more: ropeTensors(model) }
  const file = openGguf(path)
  try {
    const keys = [...file.metadata.keys()].filter(key => !key.startsWith('tokenizer.') && !WRITTEN_ANEW.test(key))
    const more = [...file.tensors.values()].flatMap(tensor => {
      if (!ROPE_TENSORS.test(tensor.name)) return []
      const bytes = file.read(tensor.name)
      return [{ name: tensor.name, type: tensor.type.name, shape: tensor.shape, data: async () => bytes }]
    })
    return { entries: keys.map(key => [key, { raw: file.entry(key) }]), more }
  } finally {
    file.close()
  }
}

/** Factors of the rope's frequencies: of Llama 3 one list, of LongRoPE one for short and one for long sequences. */
function ropeTensors({ config }: Host): GgufTensorToWrite[] {
  const { rope_type: type, type: older, long_factor: long, short_factor: short } = ropeOf(config)
  const kind = type ?? older
  const tensor = (name: string, values: Float32Array) => {
    return { name, type: 'F32', shape: [values.length], data: async () => encodeGguf(values, 'f32') }
  }
  const list = (value: unknown) => Float32Array.from(Array.isArray(value) ? value : [], Number)
  if (kind === 'longrope' || kind === 'su')
    return [tensor('rope_factors_long.weight', list(long)), tensor('rope_factors_short.weight', list(short))]
  return kind === 'llama3' ? [tensor('rope_freqs.weight', ropeFactors(config))] : []
}

/** A weight under its name there, in the order and with the offset it has there. */
function tensorFor(model: Host, tensor: TensorToWrite, type: GgufType): GgufTensorToWrite {
  const [, architecture] = architectureFor(model.config.modelType)
  const { isTransposed } = under(model.parameters, tensor.name)
  const name = ggufName(architecture, tensor.name)
  check(name !== undefined, 'ERR_UNSUPPORTED', () => {
    return `saveGguf: ${tensor.name} has no place in a GGUF file of this architecture; keep the model as a folder`
  })
  const [rows = 1, columns = 1] = tensor.shape
  const shape = isTransposed ? [columns, rows] : tensor.shape
  const written = typeOf(name, shape, type)
  const heads = headsOf(model, name)
  const data = async () => {
    const view = typeof tensor.data === 'function' ? await tensor.data() : tensor.data
    const stored = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    const upright = isTransposed ? transposedBytes(stored, rows, columns) : stored
    const ordered = heads === undefined ? upright : interleave(upright, heads, nth(shape, 0), 'together')
    const values = new Float32Array(ordered.slice().buffer)
    const isNorm = architecture.normOffset && /norm\.weight$/.test(name)
    const bytes = encodeGguf(isNorm ? values.map(value => value + 1) : values, written)
    check(isFiniteData(bytes, written.toUpperCase()), 'ERR_CHECKPOINT', () => {
      return `saveGguf: ${tensor.name} passes the range of ${written}; write it as f32`
    })
    return bytes
  }
  return { name, type: written.toUpperCase(), shape, data }
}

function typeOf(name: string, shape: readonly number[], type: GgufType): GgufType {
  if (shape.length < 2 || name.startsWith('position_embd')) return 'f32'
  if (type !== 'q8_0' && type !== 'q4_0') return type
  if (nth(shape, 1) % 32 !== 0) return 'f16'
  return /^(token_embd|output)\./.test(name) ? 'q8_0' : type
}

/** Heads whose rows ggml interleaves, where it does. */
function headsOf({ config }: Host, name: string): number | undefined {
  const [, architecture] = architectureFor(config.modelType)
  const which = /^blk\.\d+\.attn_([qk])\./.exec(name)?.[1]
  if (!architecture.interleaved || which === undefined) return undefined
  const { num_attention_heads: heads = 32, num_key_value_heads: shared } = config.values
  return Number(which === 'q' ? heads : (shared ?? heads))
}

/** How {@link saveAdapterGguf} writes an adapter. */
export interface SaveAdapterGgufOptions {
  /** Default `f32`. */
  readonly type?: 'f32' | 'f16' | undefined
}

/**
 * Writes a LoRA adapter as the GGUF file that llama.cpp takes beside a base (`--lora`). A file has one alpha for all
 * layers: where scales or ranks differ, B holds what alpha cannot say.
 * @throws ERR_UNSUPPORTED for what is no plain LoRA of linear layers (DoRA, heads, biases); `convert` makes it so
 */
export async function saveAdapterGguf(
  adapter: Adapter,
  path: string,
  options: SaveAdapterGgufOptions = {},
): Promise<void> {
  checkOptions('saveAdapterGguf', options, { type: true })
  const { type = 'f32' } = options
  const { host } = adapter
  const [name, architecture] = architectureOf(host, 'saveAdapterGguf')
  const { strength: alpha, factors } = alike(await plainFactors(adapter, 'saveAdapterGguf'))
  const tensors = factors.flatMap(({ path: key, a, b }) => {
    const to = ggufName(architecture, `${key}.weight`)
    check(to !== undefined, 'ERR_UNSUPPORTED', () => `saveAdapterGguf: ${key} has no place in a file of ${name}`)
    const [left, right] = [a, b].map(({ data }) => Float32Array.from(data))
    const heads = headsOf(host, to)
    const rows = heads === undefined ? right : turned(right, heads, b.rows)
    const tensor = (which: string, values: Float32Array | undefined, { rows: height, columns }: Matrix) => {
      const data = async () => encodeGguf(values ?? new Float32Array(), type)
      return { name: `${to}.lora_${which}`, type: type.toUpperCase(), shape: [height, columns], data }
    }
    return [tensor('a', left, a), tensor('b', rows, b)]
  })
  const metadata: GgufEntry[] = [
    ['general.architecture', { text: name }],
    ['general.type', { text: 'adapter' }],
    ['adapter.type', { text: 'lora' }],
    ['adapter.lora.alpha', { f32: alpha }],
    ['general.file_type', { u32: FILE_TYPES[type] }],
  ]
  await writeGguf(path, metadata, tensors)
}

function turned(values: Float32Array | undefined, heads: number, rows: number): Float32Array {
  const bytes = new Uint8Array(values?.buffer ?? new ArrayBuffer(0))
  return new Float32Array(interleave(bytes, heads, rows, 'together').buffer)
}
