// Llama (Touvron et al. 2023; Llama 3, 2024).

import { bool } from '../io/config.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const llama = rotaryDecoder({
  modelType: 'llama',
  className: 'Llama',
  isTied: false,
  inAdapterHub: true,
  variant: config => {
    const attention = bool(config, 'attention_bias', false)
    return { biases: { qkv: attention, output: attention, mlp: bool(config, 'mlp_bias', false) } }
  },
})
