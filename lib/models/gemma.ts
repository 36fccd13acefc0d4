// Gemma (Gemma Team 2024): scaled embeddings, norms about 1, tanh-GELU, wide heads.

import { bool, count, string } from '../io/config.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const gemma = rotaryDecoder({
  modelType: 'gemma',
  className: 'Gemma',
  isTied: true,
  headDim: 256,
  defaults: { max_position_embeddings: 8192 },
  variant: config => {
    const bias = bool(config, 'attention_bias', false)
    return {
      biases: { qkv: bias, output: bias },
      normOffset: 1,
      act: string(config, 'hidden_act', 'gelu_pytorch_tanh'),
      embeddingScale: Math.sqrt(count(config, 'hidden_size', 3072)),
    }
  },
})
