// Gemma 2 (Gemma Team 2024): norms on both sides of the sublayers, bounded scores and logits, every second layer with a
// window.

import { bool, count, type ModelConfig, string } from '../io/config.ts'
import { layerTypes, orNone } from './layerTypes.ts'
import { rotaryDecoder, type Variant } from './rotaryDecoder.ts'

/** What Gemma 2 and Gemma 3 share. `isLocal`: layers that have a window where the config does not list them. */
export function gemma2Variant(config: ModelConfig, isLocal: (layer: number) => boolean): Variant {
  const bias = bool(config, 'attention_bias', false)
  const window = orNone(config, 'sliding_window', 4096)
  const typeOf = layerTypes(config, isLocal)
  return {
    biases: { qkv: bias, output: bias },
    isSandwich: true,
    normOffset: 1,
    act: string(config, 'hidden_activation', string(config, 'hidden_act', 'gelu_pytorch_tanh')),
    embeddingScale: Math.sqrt(count(config, 'hidden_size', 2304)),
    scoreScale: 1 / Math.sqrt(count(config, 'query_pre_attn_scalar', 256)),
    windowOf: layer => (typeOf(layer) === 'sliding_attention' ? window : 0),
  }
}

export const gemma2 = rotaryDecoder({
  modelType: 'gemma2',
  className: 'Gemma2',
  isTied: true,
  headDim: 256,
  defaults: { max_position_embeddings: 8192 },
  variant: config => ({
    ...gemma2Variant(config, layer => layer % 2 === 0),
    softcap: {
      scores: orNone(config, 'attn_logit_softcapping', 50),
      logits: orNone(config, 'final_logit_softcapping', 30),
    },
  }),
})
