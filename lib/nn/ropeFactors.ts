import { count, type ModelConfig } from '../io/config.ts'
import { ropeOf } from '../io/gguf/metadata.ts'
import { nth } from '../tuple.ts'
import { ropeFrequencies } from './rope.ts'

/** What each frequency of a config's rope is divided by, beside a rope of theta alone. */
export function ropeFactors(config: ModelConfig): Float32Array {
  const { rope_theta: theta = 10_000 } = ropeOf(config)
  const headDim = count(config, 'head_dim', count(config, 'hidden_size') / count(config, 'num_attention_heads'))
  const values = { ...config.values, rope_scaling: null, rope_parameters: null, rope_theta: theta }
  const plain = ropeFrequencies({ ...config, values }, { headDim }).perPosition
  const own = ropeFrequencies(config, { headDim }).perPosition
  return Float32Array.from(plain, (frequency, i) => frequency / nth(own, i))
}
