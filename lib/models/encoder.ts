import { check, fail } from '../errors.ts'
import { bool, int, type ModelConfig, probability, string } from '../io/config.ts'

/** Throws ERR_CONFIG for what the encoders here do not compute, or where `heads` does not divide `hidden`. */
export function checkEncoder(config: ModelConfig, hidden: number, heads: number): void {
  const { path } = config
  check(
    hidden % heads === 0,
    'ERR_CONFIG',
    () => `${path}: ${heads} attention heads do not divide the hidden size ${hidden}`,
  )
  for (const key of ['is_decoder', 'add_cross_attention'])
    check(!bool(config, key, false), 'ERR_CONFIG', () => {
      return `${path}: ${key} is true, but only encoders run here; load a model trained as one`
    })
  const positions = string(config, 'position_embedding_type', 'absolute')
  check(positions === 'absolute', 'ERR_CONFIG', () => {
    return `${path}: position_embedding_type is "${positions}", but only "absolute" runs here`
  })
}

/** `pad_token_id`, an id of the vocabulary; absent: the fallback of the family; null: none, undefined. */
export function padIdOf(config: ModelConfig, fallback: number, vocabSize: number): number | undefined {
  if (config.values.pad_token_id === null) return undefined
  const id = int(config, 'pad_token_id', fallback)
  if (id >= 0 && id < vocabSize) return id
  fail('ERR_CONFIG', `${config.path}: pad_token_id is ${id}, outside 0 to ${vocabSize - 1}; null stands for none`)
}

/** Dropout before a classifier. */
export function headDropout(config: ModelConfig): number {
  return probability(config, 'classifier_dropout', probability(config, 'hidden_dropout_prob', 0.1))
}
