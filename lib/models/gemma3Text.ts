// Gemma 3, text (Gemma Team 2025): Gemma 2 with normed heads in place of bounds, five layers with a window for each
// without, and a rope of its own for either kind.

import { count } from '../io/config.ts'
import { gemma2Variant } from './gemma2.ts'
import { layerTypes, orNone } from './layerTypes.ts'
import { rotaryDecoder } from './rotaryDecoder.ts'

export const gemma3Text = rotaryDecoder({
  modelType: 'gemma3_text',
  className: 'Gemma3Text',
  lmClassName: 'Gemma3ForCausalLM',
  isTied: true,
  headDim: 256,
  defaults: { max_position_embeddings: 131072, rope_theta: 1e6, rope_local_base_freq: 1e4 },
  variant: config => {
    const pattern = count(config, 'sliding_window_pattern', count(config, '_sliding_window_pattern', 6))
    const isLocal = (layer: number) => (layer + 1) % pattern !== 0
    return {
      ...gemma2Variant(config, isLocal),
      normsHeads: true,
      ropeOf: layerTypes(config, isLocal),
      // transformers reads attn_logit_softcapping here too, and bounds no score by it.
      softcap: { logits: orNone(config, 'final_logit_softcapping', 0) },
    }
  },
})
