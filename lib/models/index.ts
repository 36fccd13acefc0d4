import { fail, nearest } from '../errors.ts'
import { bert } from './bert.ts'
import { distilbert } from './distilbert.ts'
import { electra } from './electra.ts'
import type { Family } from './family.ts'
import { gemma } from './gemma.ts'
import { gemma2 } from './gemma2.ts'
import { gemma3Text } from './gemma3Text.ts'
import { gpt2 } from './gpt2.ts'
import { gptNeox } from './gptNeox.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { modernBert } from './modernBert.ts'
import { opt } from './opt.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'
import { roberta, xlmRoberta } from './roberta.ts'
import { mt5, t5 } from './t5.ts'

const FAMILIES: readonly Family[] = [
  bert,
  roberta,
  xlmRoberta,
  distilbert,
  electra,
  modernBert,
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  gemma3Text,
  phi3,
  gpt2,
  opt,
  gptNeox,
  t5,
  mt5,
]

/** `model_type`s this package can run. */
export const MODEL_TYPES: readonly string[] = FAMILIES.map(family => family.modelType)

/** The family of a `model_type`. Throws ERR_CONFIG naming the known ones. */
export function familyOf(modelType: string): Family {
  const family = FAMILIES.find(f => f.modelType === modelType)
  const known = MODEL_TYPES.join(', ')
  return (
    family ??
    fail(
      'ERR_CONFIG',
      `config.json: model_type "${modelType}" is unknown${nearest(modelType, MODEL_TYPES)}; known: ${known}`,
    )
  )
}
