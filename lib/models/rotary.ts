import type { ModelConfig } from '../io/config.ts'
import { Rotary } from '../nn/rope.ts'
import type { Weights } from './weights.ts'

/** The rotary embedding of a model's layers, of those of `layerType` where there are several; freed with the model. */
export function rotaryOf(weights: Weights, config: ModelConfig, headDim: number, layerType?: string): Rotary {
  const { device, dtype } = weights.activations
  const options = { headDim, device, dtype: dtype === 'f64' ? dtype : 'f32' } as const
  return weights.buffer(new Rotary(config, layerType === undefined ? options : { ...options, layerType }))
}
