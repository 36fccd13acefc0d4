// Models that a training step is measured with: shapes alone, the weights are random. bench/peers/train_step.py has the
// same ones.

/** A model, and the batch it is trained with. */
export interface StepCase {
  readonly task: 'sequence-classification' | 'causal-lm'
  /** Sequences, tokens of each, rank. */
  readonly B: number
  readonly S: number
  readonly r: number
  readonly config: {
    readonly model_type: string
    readonly vocab_size: number
    readonly [key: string]: string | number | boolean
  }
  /** Switches every dropout of the model off. */
  readonly noDropout: Readonly<Record<string, number>>
  /** Layers that an adapter is put on, by the name of the choice. */
  readonly targets: Readonly<Record<string, readonly string[] | 'all-linear'>>
}

const BERT = {
  task: 'sequence-classification',
  noDropout: { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
  targets: { qv: ['query', 'value'], all: ['query', 'key', 'value', 'dense'] },
} as const
const LARGE = { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 }
const LLAMA = {
  task: 'causal-lm',
  noDropout: {},
  targets: { qv: ['q_proj', 'v_proj'], all: 'all-linear' },
} as const

export const CASES: Readonly<Record<string, StepCase>> = {
  bert: { ...BERT, B: 16, S: 128, r: 8, config: { model_type: 'bert', vocab_size: 28996 } },
  // For GPUs.
  'bert-base': { ...BERT, B: 64, S: 512, r: 16, config: { model_type: 'bert', vocab_size: 30522 } },
  'bert-large': { ...BERT, B: 16, S: 512, r: 16, config: { model_type: 'bert', vocab_size: 30522, ...LARGE } },
  gpt2: {
    task: 'causal-lm',
    noDropout: { resid_pdrop: 0, embd_pdrop: 0, attn_pdrop: 0 },
    targets: { qv: ['c_attn'], all: 'all-linear' },
    B: 4,
    S: 256,
    r: 8,
    config: { model_type: 'gpt2', vocab_size: 50257 },
  },
  'tiny-llama': {
    ...LLAMA,
    B: 8,
    S: 256,
    r: 8,
    config: {
      model_type: 'llama',
      vocab_size: 32000,
      hidden_size: 288,
      num_hidden_layers: 6,
      num_attention_heads: 6,
      num_key_value_heads: 6,
      intermediate_size: 768,
      max_position_embeddings: 512,
    },
  },
  'qwen2.5-0.5b': {
    ...LLAMA,
    B: 1,
    S: 512,
    r: 16,
    config: {
      model_type: 'qwen2',
      vocab_size: 151936,
      hidden_size: 896,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      intermediate_size: 4864,
      tie_word_embeddings: true,
      rms_norm_eps: 1e-6,
      rope_theta: 1e6,
    },
  },
  smollm2: {
    ...LLAMA,
    B: 2,
    S: 512,
    r: 16,
    config: {
      model_type: 'llama',
      vocab_size: 49152,
      hidden_size: 576,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      intermediate_size: 1536,
      max_position_embeddings: 8192,
      tie_word_embeddings: true,
      rms_norm_eps: 1e-5,
      rope_theta: 1e5,
    },
  },
}

/**
 * Operations of a forward pass, GFLOP: those of all linear layers, a language model's output among them, and what its
 * causal attention multiplies.
 * @param linear weights of the linear layers
 */
export function forwardGflop({ task, B, S }: StepCase, linear: number, layers: number, hidden: number): number {
  const attention = task === 'causal-lm' ? 4 * layers * hidden * ((S * (S + 1)) / 2) * B : 0
  return (2 * linear * B * S + attention) / 1e9
}
