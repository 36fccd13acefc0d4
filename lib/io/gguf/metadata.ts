// The metadata of a model that comes from a Hugging Face folder, as llama.cpp's converter writes them.

import { check, fail } from '../../errors.ts'
import { under } from '../../tuple.ts'
import { bool, count, float, type ModelConfig } from '../config.ts'
import { isJsonObject, type JsonObject } from '../json.ts'
import { ARCHITECTURES, type Architecture } from './architectures.ts'
import type { GgufEntry } from './write.ts'

/** The architecture that models of a `model_type` are written as; Mistral's are Llama's. @throws ERR_UNSUPPORTED */
export function architectureFor(modelType: string): readonly [name: string, architecture: Architecture] {
  const wanted = modelType === 'mistral' ? 'llama' : modelType
  const found = Object.entries(ARCHITECTURES).find(([, each]) => each.modelType === wanted)
  return (
    found ??
    fail(
      'ERR_UNSUPPORTED',
      `gguf: models of the type "${modelType}" are not written; those of ${Object.keys(ARCHITECTURES).join(', ')} are`,
    )
  )
}

/** Sizes and constants of a config. @throws ERR_UNSUPPORTED for ropes that GGUF files have no words for */
export function configEntries(config: ModelConfig, name: string): GgufEntry[] {
  const entries: GgufEntry[] = []
  const put = (key: string, value: GgufEntry[1]) => entries.push([`${name}.${key}`, value])
  const size = (key: string, value: number) => put(key, { u32: value })
  if (under(ARCHITECTURES, name).isGpt2) {
    const hidden = count(config, 'n_embd', 768)
    size('context_length', count(config, 'n_positions', 1024))
    size('embedding_length', hidden)
    size('block_count', count(config, 'n_layer', 12))
    size('feed_forward_length', count(config, 'n_inner', 4 * hidden))
    size('attention.head_count', count(config, 'n_head', 12))
    put('attention.layer_norm_epsilon', { f32: float(config, 'layer_norm_epsilon', 1e-5) })
    return entries
  }
  const [hidden, heads] = [count(config, 'hidden_size', 4096), count(config, 'num_attention_heads', 32)]
  const headDim = count(config, 'head_dim', name.startsWith('gemma') ? 256 : name === 'qwen3' ? 128 : hidden / heads)
  size('context_length', count(config, 'max_position_embeddings', 2048))
  size('embedding_length', hidden)
  size('block_count', count(config, 'num_hidden_layers', 32))
  size('vocab_size', count(config, 'vocab_size', 32000))
  size('feed_forward_length', count(config, 'intermediate_size', 11008))
  size('attention.head_count', heads)
  size('attention.head_count_kv', count(config, 'num_key_value_heads', heads))
  put('attention.layer_norm_rms_epsilon', { f32: float(config, 'rms_norm_eps', 1e-6) })
  size('attention.key_length', headDim)
  size('attention.value_length', headDim)
  size('rope.dimension_count', Math.trunc(headDim * float(config, 'partial_rotary_factor', 1)))
  familyEntries(config, name, headDim, put)
  ropeEntries(config, put)
  return entries
}

type Put = (key: string, value: GgufEntry[1]) => void

function familyEntries(config: ModelConfig, name: string, headDim: number, put: Put): void {
  const { values } = config
  const window = typeof values.sliding_window === 'number' ? values.sliding_window : undefined
  const hasWindows = name.startsWith('gemma') || name === 'phi3' || config.modelType === 'mistral'
  if (hasWindows && window !== undefined) put('attention.sliding_window', { u32: window })
  check(!name.startsWith('qwen') || !bool(config, 'use_sliding_window', false), 'ERR_UNSUPPORTED', () => {
    return `gguf: ${config.path} has windows in some layers of Qwen, which GGUF files cannot say`
  })
  if (name !== 'gemma2' && name !== 'gemma3') return
  const scale = count(config, 'query_pre_attn_scalar', 256)
  check(scale === headDim, 'ERR_UNSUPPORTED', () => {
    return `gguf: query_pre_attn_scalar is ${scale} and a head has ${headDim} columns; GGUF files cannot tell the two apart`
  })
  const bounds = { attn_logit_softcapping: 50, final_logit_softcapping: 30 }
  for (const [key, usual] of Object.entries(bounds)) {
    const bound = values[key] === undefined && name === 'gemma2' ? usual : values[key]
    if (typeof bound === 'number') put(key, { f32: bound })
  }
}

function ropeEntries(config: ModelConfig, put: Put): void {
  const rope = ropeOf(config)
  put('rope.freq_base', { f32: typeof rope.rope_theta === 'number' ? rope.rope_theta : 10_000 })
  const type = rope.rope_type ?? rope.type ?? 'default'
  if (type === 'default' || type === 'llama3') return
  const original = rope.original_max_position_embeddings ?? config.values.original_max_position_embeddings
  if (typeof original === 'number') put('rope.scaling.original_context_length', { u32: original })
  if (type === 'longrope' || type === 'su') {
    const positions = count(config, 'max_position_embeddings', 2048)
    const [known, given] = [typeof original === 'number' ? original : positions, rope.attention_factor]
    const usual = positions > known ? Math.sqrt(1 + Math.log(positions / known) / Math.log(known)) : 1
    put('rope.scaling.attn_factor', { f32: typeof given === 'number' ? given : usual })
    return
  }
  check(type === 'linear' || type === 'yarn', 'ERR_UNSUPPORTED', () => {
    return `gguf: ${config.path} has a rope of the type "${type}"; default, linear, yarn, llama3 and longrope are written`
  })
  put('rope.scaling.type', { text: type })
  if (typeof rope.factor === 'number') put('rope.scaling.factor', { f32: rope.factor })
}

/** The parameters of the rope: of the layers without a window, where there are two kinds. */
export function ropeOf({ values }: ModelConfig): JsonObject {
  const { rope_parameters: current, rope_scaling: older, rope_theta: theta } = values
  const found = isJsonObject(current) ? current : isJsonObject(older) ? older : {}
  const own = isJsonObject(found.full_attention) ? found.full_attention : found
  return theta === undefined ? own : { rope_theta: theta, ...own }
}
