// DoRA by its name: LoRA with a magnitude (magnitude.ts), as PEFT's file has it.

import { LORA, type LoraOptions } from './lora.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'

/** Options of {@link dora}. */
export interface DoraOptions extends LoraOptions {
  /** A magnitude a row beside the direction W + s B A (docs/methods.md). Default true. */
  useDora?: boolean
}

export const DORA: MethodKind<DoraOptions> = {
  ...LORA,
  type: 'dora',
  title: 'DoRA',
  help: 'low-rank factors of the direction, and the length of each row of the weight',
  fields: LORA.fields.map(field => (field.name === 'useDora' ? { ...field, default: true } : field)),
}

/** {@link lora} with `useDora`. */
export function dora(options: DoraOptions = {}): Method {
  return methodOfKind(DORA, options)
}
