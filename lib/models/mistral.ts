// Mistral (Jiang et al. 2023): Llama with a window of tokens.

import { orNone } from './layerTypes.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const mistral = rotaryDecoder({
  modelType: 'mistral',
  className: 'Mistral',
  isTied: false,
  inAdapterHub: true,
  defaults: { max_position_embeddings: 131072 },
  variant: config => {
    const window = orNone(config, 'sliding_window', 4096)
    return { windowOf: () => window }
  },
})
