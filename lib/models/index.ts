import { fail, nearest } from '../errors.ts'
import { bert } from './bert.ts'
import { distilbert } from './distilbert.ts'
import type { Family } from './family.ts'
import { roberta } from './roberta.ts'

const FAMILIES: readonly Family[] = [bert, roberta, distilbert]

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
