// Qwen3 (Yang et al. 2025): Llama whose heads of queries and keys are normed before they are turned.

import { bool } from '../io/config.ts'
import { qwenWindows } from './layerTypes.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const qwen3 = rotaryDecoder({
  modelType: 'qwen3',
  className: 'Qwen3',
  isTied: false,
  headDim: 128,
  defaults: { max_position_embeddings: 32768 },
  variant: config => {
    const bias = bool(config, 'attention_bias', false)
    return { biases: { qkv: bias, output: bias }, normsHeads: true, windowOf: qwenWindows(config) }
  },
})
