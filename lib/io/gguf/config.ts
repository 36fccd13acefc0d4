// The config.json that a GGUF file stands for.

import { check, fail, nearest } from '../../errors.ts'
import { nth, under } from '../../tuple.ts'
import type { JsonObject } from '../json.ts'
import { ARCHITECTURES, type Architecture } from './architectures.ts'
import type { GgufFile } from './file.ts'
import type { GgufValue } from './read.ts'

/** The architecture of a file. @throws ERR_UNSUPPORTED for one that this package does not run */
export function architectureOf({ path, metadata }: Pick<GgufFile, 'path' | 'metadata'>): Architecture {
  const name = metadata.get('general.architecture')
  if (typeof name !== 'string') fail('ERR_CHECKPOINT', `${path}: has no general.architecture; is it a model?`)
  const type = metadata.get('general.type') ?? 'model'
  check(type === 'model', 'ERR_UNSUPPORTED', () => {
    return `${path}: is of the type "${type}", not a model; name the file of the base model`
  })
  const known = Object.keys(ARCHITECTURES)
  const found = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined
  return (
    found ??
    fail(
      'ERR_UNSUPPORTED',
      `${path}: its architecture "${name}" is not run here${nearest(name, known)}; known are ${known.join(', ')}`,
    )
  )
}

/** Reads values of the metadata by their last names, each checked. */
class Metadata {
  readonly file: GgufFile
  readonly #prefix: string

  constructor(file: GgufFile, prefix: string) {
    this.file = file
    this.#prefix = prefix
  }

  get(key: string): GgufValue | undefined {
    return this.file.metadata.get(`${this.#prefix}.${key}`)
  }

  number(key: string): number | undefined {
    const value = this.get(key)
    if (value === undefined) return undefined
    check(typeof value === 'number' && Number.isFinite(value), 'ERR_UNSUPPORTED', () => {
      const what = Array.isArray(value) ? 'differs from layer to layer' : `is ${String(value)}, not a number`
      return `${this.file.path}: ${this.#prefix}.${key} ${what}; such models are not run here`
    })
    return isWhole(value) ? value : shortest(value)
  }

  needed(key: string): number {
    const { path } = this.file
    return this.number(key) ?? fail('ERR_CHECKPOINT', `${path}: has no ${this.#prefix}.${key}; convert the model again`)
  }
}

const isWhole = (value: number) => Number.isSafeInteger(value)

/** 1e-5 for the f32 nearest to it: files hold f32, configs what people wrote. */
function shortest(value: number): number {
  for (let digits = 1; digits < 10; digits++) {
    const rounded = Number(value.toPrecision(digits))
    if (Math.fround(rounded) === Math.fround(value)) return rounded
  }
  return value
}

/** The values of config.json. @throws ERR_UNSUPPORTED, ERR_CHECKPOINT for what is missing */
export function ggufConfig(file: GgufFile): JsonObject {
  const architecture = architectureOf(file)
  const name = String(file.metadata.get('general.architecture'))
  const of = new Metadata(file, name)
  check((of.number('expert_count') ?? 0) === 0, 'ERR_UNSUPPORTED', () => {
    return `${file.path}: is a mixture of ${of.number('expert_count')} experts, and such models are not run here`
  })
  const values = architecture.isGpt2 ? gpt2Values(of) : llamaValues(of, name)
  const origin = file.metadata.get('general.name')
  return {
    model_type: architecture.modelType,
    architectures: [architecture.className],
    vocab_size: rowsOf(file, 'token_embd.weight'),
    tie_word_embeddings: !file.tensors.has('output.weight'),
    ...(typeof origin === 'string' ? { _name_or_path: origin } : {}),
    ...values,
    ...specialIds(file),
  }
}

function rowsOf({ path, tensors }: GgufFile, name: string): number {
  const rows = tensors.get(name)?.shape[0]
  return rows ?? fail('ERR_CHECKPOINT', `${path}: has no tensor "${name}"; the file is not whole`)
}

function gpt2Values(of: Metadata): JsonObject {
  return {
    n_positions: of.needed('context_length'),
    n_embd: of.needed('embedding_length'),
    n_layer: of.needed('block_count'),
    n_head: of.needed('attention.head_count'),
    n_inner: of.needed('feed_forward_length'),
    layer_norm_epsilon: of.needed('attention.layer_norm_epsilon'),
  }
}

function llamaValues(of: Metadata, name: string): JsonObject {
  const [hidden, heads] = [of.needed('embedding_length'), of.needed('attention.head_count')]
  const headDim = of.number('attention.key_length') ?? hidden / heads
  const valueDim = of.number('attention.value_length') ?? headDim
  check(headDim === valueDim, 'ERR_UNSUPPORTED', () => {
    return `${of.file.path}: keys have ${headDim} columns a head and values ${valueDim}; such models are not run here`
  })
  const has = (tensor: string) => of.file.tensors.has(`blk.0.${tensor}.bias`)
  return {
    hidden_size: hidden,
    intermediate_size: of.needed('feed_forward_length'),
    num_hidden_layers: of.needed('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: of.number('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    max_position_embeddings: of.needed('context_length'),
    rms_norm_eps: of.needed('attention.layer_norm_rms_epsilon'),
    ...(has('attn_q') && name !== 'qwen2' ? { attention_bias: true } : {}),
    ...(has('ffn_up') ? { mlp_bias: true } : {}),
    ...ropeValues(of, headDim),
    ...familyValues(of, name, headDim, hidden / heads),
  }
}

/** Of the model with so many layers, the score scale is that of hidden / heads. */
const WIDE_SCORES: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 }

function familyValues(of: Metadata, name: string, headDim: number, perHead: number): JsonObject {
  const window = of.number('attention.sliding_window')
  if (name === 'gemma') return { hidden_act: 'gelu_pytorch_tanh' }
  if (name === 'gemma2' || name === 'gemma3') {
    const bounds = ['attn_logit_softcapping', 'final_logit_softcapping'].map(key => [key, of.number(key) ?? null])
    return {
      hidden_activation: 'gelu_pytorch_tanh',
      query_pre_attn_scalar: of.needed('block_count') === WIDE_SCORES[name] ? perHead : headDim,
      sliding_window: window ?? 4096,
      ...Object.fromEntries(name === 'gemma3' || bounds.some(([, bound]) => bound !== null) ? bounds : []),
      ...(name === 'gemma3' ? { rope_local_base_freq: of.number('rope.freq_base_swa') ?? 10_000 } : {}),
    }
  }
  if (name === 'phi3') return { sliding_window: window ?? null }
  return {}
}

function ropeValues(of: Metadata, headDim: number): JsonObject {
  const turned = of.number('rope.dimension_count') ?? headDim
  const original = of.number('rope.scaling.original_context_length')
  const values: JsonObject = { rope_theta: of.number('rope.freq_base') ?? 10_000 }
  if (turned !== headDim) values.partial_rotary_factor = turned / headDim
  if (original !== undefined) values.original_max_position_embeddings = original
  const scaling = factorsOf(of) ?? scalingOf(of, original)
  return scaling ? { ...values, rope_scaling: scaling } : values
}

/** A factor for each pair, as tensors: of Llama 3 one list, of Phi-3 one for short and one for long sequences. */
function factorsOf(of: Metadata): JsonObject | undefined {
  const { tensors } = of.file
  const list = (name: string) => (tensors.has(name) ? [...floats(of.file, name)] : undefined)
  const all = list('rope_freqs.weight')
  const [long, short] = [list('rope_factors_long.weight') ?? all, list('rope_factors_short.weight') ?? all]
  if (!long || !short) return undefined
  const attention = of.number('rope.scaling.attn_factor') ?? (all ? 1 : undefined)
  return {
    rope_type: 'longrope',
    long_factor: long,
    short_factor: short,
    ...(all ? { factor: 1 } : {}),
    ...(attention === undefined ? {} : { attention_factor: attention }),
  }
}

function floats(file: GgufFile, name: string): Float32Array {
  const { type } = under(file.tensors, name)
  check(type.name === 'F32', 'ERR_UNSUPPORTED', () => `${file.path}: ${name} is ${type.name}, expected F32`)
  return new Float32Array(file.read(name).buffer)
}

function scalingOf(of: Metadata, original: number | undefined): JsonObject | undefined {
  const type = of.get('rope.scaling.type') ?? (of.number('rope.scale_linear') ? 'linear' : 'none')
  const factor = of.number('rope.scaling.factor') ?? of.number('rope.scale_linear') ?? 1
  if (type === 'none' || (type === 'linear' && factor === 1)) return undefined
  check(type === 'linear' || type === 'yarn', 'ERR_UNSUPPORTED', () => {
    return `${of.file.path}: rope.scaling.type is "${type}"; known are none, linear, yarn and factors as tensors`
  })
  const from = original === undefined ? {} : { original_max_position_embeddings: original }
  return { rope_type: type, factor, ...(type === 'yarn' ? from : {}) }
}

/** Ids of special tokens; texts end with any of several. */
function specialIds({ metadata }: GgufFile): JsonObject {
  const id = (kind: string) => {
    const value = metadata.get(`tokenizer.ggml.${kind}_token_id`)
    return typeof value === 'number' ? value : undefined
  }
  const ends = [...new Set(['eos', 'eot', 'eom'].flatMap(kind => id(kind) ?? []))]
  const [bos, pad] = [id('bos'), id('padding')]
  return {
    ...(bos === undefined ? {} : { bos_token_id: bos }),
    ...(ends.length === 0 ? {} : { eos_token_id: ends.length === 1 ? nth(ends, 0) : ends }),
    ...(pad === undefined ? {} : { pad_token_id: pad }),
  }
}
