// Phi-3 (Abdin et al. 2024): Llama with fused layers, and LongRoPE for long contexts.

import { probability } from '../io/config.ts'
import { orNone } from './layerTypes.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const phi3 = rotaryDecoder({
  modelType: 'phi3',
  className: 'Phi3',
  isTied: false,
  defaults: { max_position_embeddings: 4096, rms_norm_eps: 1e-5 },
  variant: config => {
    const window = orNone(config, 'sliding_window', 0)
    return {
      isFused: true,
      windowOf: () => window,
      dropout: {
        embeddings: probability(config, 'embd_pdrop', 0),
        sublayers: probability(config, 'resid_pdrop', 0),
      },
    }
  },
})
