// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases of query, key and value.

import { qwenWindows } from './layerTypes.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const qwen2 = rotaryDecoder({
  modelType: 'qwen2',
  className: 'Qwen2',
  isTied: false,
  defaults: { max_position_embeddings: 32768 },
  variant: config => ({ biases: { qkv: true }, windowOf: qwenWindows(config) }),
})
