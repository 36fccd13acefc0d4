// What llama.cpp calls the models, layers and hyperparameters that Hugging Face files name otherwise. Source: its
// gguf-py, constants.py and tensor_mapping.py, and convert_hf_to_gguf.py, checked against files that they wrote.

/** How a file of one architecture becomes a Hugging Face model. */
export interface Architecture {
  /** `model_type`, and class of the language model. */
  readonly modelType: string
  readonly className: string
  /** Names of tensors without `.weight` and `.bias`; of a layer below `blk.N.`. */
  readonly outer: Readonly<Record<string, string>>
  readonly layers: readonly [prefix: string, names: Readonly<Record<string, string>>]
  /** Rows of queries and keys lie with the two halves of a head interleaved: ggml turns neighbours, we turn halves. */
  readonly interleaved?: boolean
  /** Norms hold their weight plus 1. */
  readonly normOffset?: boolean
  /** GPT-2's spellings of config.json; else Llama's. */
  readonly isGpt2?: boolean
}

const decoder: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
}
const llamaLayer: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}
const headNorms = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' }
const sandwich = {
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
}

const llamaKind = (
  modelType: string,
  className: string,
  more: Readonly<Record<string, string>> = {},
  traits: Pick<Architecture, 'interleaved' | 'normOffset'> = {},
): Architecture => ({
  modelType,
  className,
  outer: decoder,
  layers: ['model.layers', { ...llamaLayer, ...more }],
  ...traits,
})

/** By `general.architecture`. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: llamaKind('llama', 'LlamaForCausalLM', {}, { interleaved: true }),
  qwen2: llamaKind('qwen2', 'Qwen2ForCausalLM'),
  qwen3: llamaKind('qwen3', 'Qwen3ForCausalLM', headNorms),
  gemma: llamaKind('gemma', 'GemmaForCausalLM', {}, { normOffset: true }),
  gemma2: llamaKind('gemma2', 'Gemma2ForCausalLM', sandwich, { normOffset: true }),
  gemma3: llamaKind('gemma3_text', 'Gemma3ForCausalLM', { ...sandwich, ...headNorms }, { normOffset: true }),
  phi3: llamaKind('phi3', 'Phi3ForCausalLM', { attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' }),
  gpt2: {
    modelType: 'gpt2',
    className: 'GPT2LMHeadModel',
    isGpt2: true,
    outer: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
    },
    layers: [
      'transformer.h',
      {
        attn_norm: 'ln_1',
        attn_qkv: 'attn.c_attn',
        attn_output: 'attn.c_proj',
        ffn_norm: 'ln_2',
        ffn_up: 'mlp.c_fc',
        ffn_down: 'mlp.c_proj',
      },
    ],
  },
}

/** Tensors that are parameters of ropes, which the config holds here. */
export const ROPE_TENSORS = /^(rope_freqs|rope_factors_(long|short))\.weight$|\.attn_rot_embd\.weight$/

/** The Hugging Face name of a tensor; undefined for one that its architecture does not have. */
export function huggingFaceName({ outer, layers: [prefix, names] }: Architecture, name: string): string | undefined {
  const [, layer, module, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? []
  if (module === undefined) return undefined
  const known = layer === undefined ? outer[module] : names[module]
  if (known === undefined) return undefined
  return layer === undefined ? `${known}.${kind}` : `${prefix}.${layer}.${known}.${kind}`
}

/** The name of a Hugging Face tensor in a GGUF file; undefined for one that its architecture does not have. */
export function ggufName({ outer, layers: [prefix, names] }: Architecture, name: string): string | undefined {
  const [, module, kind] = /^(.*)\.(weight|bias)$/.exec(name) ?? []
  if (module === undefined) return undefined
  const found = (map: Readonly<Record<string, string>>, wanted: string) =>
    Object.keys(map).find(key => map[key] === wanted)
  const [, layer, within] = module.startsWith(`${prefix}.`)
    ? (/^(\d+)\.(.*)$/.exec(module.slice(prefix.length + 1)) ?? [])
    : []
  const known = within === undefined ? found(outer, module) : found(names, within)
  if (known === undefined) return undefined
  return layer === undefined ? `${known}.${kind}` : `blk.${layer}.${known}.${kind}`
}
